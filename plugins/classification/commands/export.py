"""`toolkit export`: writes a trained classifier as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor

from plugins.classification.inference.onnx_export import check_export, export
from plugins.classification.interfaces import NOTE
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import list_run_files
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command

IMAGES = 8  # of the test data that are compared


@COMMANDS.register(name='export')
class Export(Command):
    """Write a trained classifier as ONNX, after comparing it with torch."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--run', dest='run_dir', type=Path, required=True, metavar='D', help='folder of a run'
        )
        parser.add_argument(
            '--checkpoint', help="'best', 'last' or a path (default: best if there is one)"
        )
        parser.add_argument('--output', type=Path, required=True, help='the .onnx file to write')
        parser.add_argument('--overwrite', action='store_true', help='replace an existing file')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.engine import checkpoint
        from toolkit.engine.components import build_system
        from toolkit.run.load_run import load_trained

        check_export(arguments.output)
        trained = load_trained(
            None, run_dir=arguments.run_dir, checkpoint_name=arguments.checkpoint
        )
        run, weights = trained.run, trained.weights
        inputs = [*list_run_files(arguments.run_dir), *filter(None, [weights])]
        check_outputs([arguments.output], inputs, overwrite=arguments.overwrite)
        if weights is None:
            raise ToolkitError(f'{arguments.run_dir} has no checkpoint; train it first')
        with trained.config.locate_errors():
            system = build_system(run)
            if not isinstance(system, Classifier):
                raise ToolkitError(
                    f'{arguments.run_dir} trains a {type(system).__name__}, and export writes a '
                    'Classifier'
                )
            checkpoint.load_weights(system, weights)
            loader = run.test_dataloader
            real = _read_images(None if loader is None else loader.dataset)
        fit = (trained.config.tree.get('test_dataloader') or {}).get('dataset', {}).get('fit')
        difference, compared = export(
            system, arguments.output, real, {'fit': fit or 'not stated', 'checkpoint': weights.name}
        )
        size = arguments.output.stat().st_size / 1e6
        print(NOTE)
        print(
            f'wrote {arguments.output} ({size:.1f} MB): onnxruntime differs from torch by '
            f'{difference:.1e} at most, on {compared}'
        )
        return 0


def _read_images(dataset: Any) -> list[Tensor]:
    """Read some images of the run's test data; none if the data are not there."""
    try:
        data = dataset() if dataset is not None else None
    except ToolkitError as error:
        print(f'the test data cannot be read, so only random images are compared: {error}')
        return []
    if data is None:
        return []
    step = max(1, len(data.positions) // IMAGES)
    return [data.pool_image(position, 0) for position in data.positions[::step][:IMAGES]]
