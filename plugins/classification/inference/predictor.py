"""`toolkit predict` and `toolkit export` for classifiers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from plugins.classification.data.manifests.manifest_options import add_columns_option, parse_columns
from plugins.classification.inference.ensemble import add_ensemble
from plugins.classification.inference.export.run_export import add_export_arguments, export_run
from plugins.classification.inference.file_prediction import (
    BATCH_SIZE,
    predict_images,
    require_dataset,
)
from plugins.classification.inference.in_memory import (
    ImagePrediction,
    ImageSource,
    collect_images,
    list_predictions,
    predict_all,
)
from plugins.classification.inference.input_images import ON_ERROR, load_images
from plugins.classification.interfaces import LabelledImages
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions, Predictor, System
from toolkit.registry import PREDICTORS


@PREDICTORS.register
class ImagePredictor(Predictor):
    """Classifies images and writes a table of them, and one of their patients.

    --input takes image files, folders, patterns such as 'scans/*.png', and manifests (.csv,
    .parquet). --output is a CSV file.
    """

    system = Classifier

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares `--patient`, `--columns`, `--on-error` and `--batch-size`."""
        parser.add_argument(
            '--patient',
            metavar='REGEX',
            help='the first group, found in the path of an image file, is the patient',
        )
        add_columns_option(parser)
        parser.add_argument(
            '--on-error',
            choices=ON_ERROR,
            default='stop',
            help='skip images that cannot be read, and name them, or write nothing (default: stop)',
        )
        parser.add_argument(
            '--batch-size',
            type=int,
            default=BATCH_SIZE,
            metavar='N',
            help='images that go through the network together (default: %(default)s)',
        )
        add_ensemble(
            parser, 'probabilities are means over all runs, and their spread is written too'
        )

    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        """Classifies images; see `predict_images`."""
        assert isinstance(system, Classifier)
        arguments = options.arguments
        return predict_images(
            system,
            inputs,
            output,
            patient=arguments.patient,
            columns=parse_columns(arguments.columns),
            on_error=arguments.on_error,
            batch_size=arguments.batch_size,
            dataset=options.dataset,
            metrics=options.metrics,
            device=options.device,
            autocast=options.autocast,
            overwrite=options.overwrite,
            report=options.report,
            ensemble=arguments.ensemble,
            run=getattr(arguments, 'run_dir', None),
        )

    add_export_arguments = staticmethod(add_export_arguments)

    def export(self, system: System, output: Path, options: PredictOptions) -> None:
        """Writes a classifier that decides as the run's test did; see `export_run`."""
        assert isinstance(system, Classifier)
        export_run(system, output, options)

    def predict_part(self, system: System, folder: Path, options: PredictOptions) -> list[Path]:
        """Classifies the first images of the test data, at most a batch."""
        assert isinstance(system, Classifier)

        def build_first() -> LabelledImages:
            data = require_dataset(options.dataset)()
            data.positions, data.records = data.positions[:BATCH_SIZE], data.records[:BATCH_SIZE]
            return data

        return predict_images(
            system,
            (),
            folder / 'predicted.csv',
            dataset=build_first,
            metrics=options.metrics,
            device=options.device,
            autocast=options.autocast,
        )

    def predict_in_memory(
        self,
        system: System,
        options: PredictOptions,
        images: ImageSource | Sequence[ImageSource] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
    ) -> list[ImagePrediction]:
        """Classifies images, for research only; they are prepared as the run's test data are.

        Args:
            images: one, or a list: arrays (H, W) or (H, W, 1 | 3 | 4) and tensors (C, H, W) or
                (H, W) of 8 or 16 bits or in [0, 1]; PIL images; paths of image files, folders,
                patterns and manifests. None for the run's own test data.
            batch_size: images that go through the network together.
        Returns:
            The predictions, in the order of the images. `toolkit predict` writes the same values.
        Raises:
            ToolkitError: other types, or no data that say how images are prepared.
            DataError: images that cannot be read, or probabilities that are not finite.
        """
        assert isinstance(system, Classifier)
        if batch_size < 1:
            raise ToolkitError(f'batch_size must be at least 1, found {batch_size}')
        dataset = require_dataset(options.dataset)
        if images is None:
            data = dataset()
            system.check_data(data)
        else:
            full_scale = getattr(dataset, 'arguments', {}).get('full_scale')
            data = load_images(collect_images(images, full_scale), system, dataset)
        predicted = predict_all(system, data, batch_size, options.device, options.autocast)
        return list_predictions(system.tasks, data.records, predicted)
