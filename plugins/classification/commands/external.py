"""`toolkit external`: tests a trained classifier on the images of another site."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugins.classification.audit.known_images import KnownImage, find_known_images
from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.manifests.manifest_options import (
    add_columns_option,
    add_patients_option,
    add_values_option,
    parse_columns,
    parse_values,
)
from plugins.classification.inference.input_images import PREPARATION
from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.functional.bootstrap import RESAMPLES, BootstrapSettings
from plugins.classification.reporting.comparison import TestedRun, read_tested_run
from plugins.classification.reporting.external_report import NAME, compare_sites, to_markdown
from toolkit.commands.arguments import add_trained_run
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.data_paths import find_data_file
from toolkit.io.json_values import format_json
from toolkit.io.run_layout import METRICS_FILE
from toolkit.registry import COMMANDS
from toolkit.registry.build import ComponentFactory
from toolkit.registry.command import Command

MARKED = 'images that the training knows are marked, and main values are given without them too'
KNOWN = ('refuse', 'mark', 'unchecked')
NAMED = 10  # known images that a message names


@COMMANDS.register(name='external')
class External(Command):
    """Test a trained classifier on images of another site, and compare with the internal test.

    OUTPUT becomes the folder of a test (metrics.json, clinical.md), with external.json and
    external.md: shift of case mix, values, calibration and threshold beside the internal test.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser, required=True)
        parser.add_argument(
            '--manifest', required=True, metavar='FILE', help='manifest of the external images'
        )
        parser.add_argument(
            '--output', type=Path, required=True, metavar='DIR', help='a new folder'
        )
        add_columns_option(parser)
        add_values_option(parser)
        add_patients_option(parser)
        parser.add_argument(
            '--outside', action='store_true', help="allow paths that leave the manifest's folder"
        )
        parser.add_argument(
            '--known',
            choices=KNOWN,
            default='refuse',
            help='images and patients of the training among the external ones: an error, marked in '
            'the results, or not looked for (default: %(default)s)',
        )
        parser.add_argument(
            '--resamples',
            type=int,
            default=RESAMPLES,
            metavar='N',
            help='of the bootstrap intervals (default: %(default)s)',
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.checks.check import fill_checked
        from toolkit.run import test, work_dir
        from toolkit.run.capsule import make_capsule_input
        from toolkit.run.load_run import load_trained

        output: Path = arguments.output
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise ToolkitError(f'--output {output} exists and is not empty; name a new folder')
        work_dir.check(output, resume=False)
        trained = load_trained(
            None, run_dir=arguments.run_dir, checkpoint_name=arguments.checkpoint
        )
        if trained.weights is None:
            raise ToolkitError(f'{arguments.run_dir} has no checkpoint; train it first')
        node = _make_dataset_node(trained.config.tree, trained.run, arguments)
        overrides = [f'test_dataloader.dataset={json.dumps(node)}']
        if arguments.known == 'mark':
            plus = '' if 'allow_overlap' in trained.config.tree else '+'
            reasons = [*(trained.config.tree.get('allow_overlap') or []), MARKED]
            overrides.append(f'{plus}allow_overlap={json.dumps(reasons)}')
        config = load(arguments.run_dir / 'config.yaml', overrides)
        run = fill_checked(config)
        tasks = _list_measured_tasks(config.tree)
        with config.locate_errors():
            assert run.test_dataloader is not None
            external = run.test_dataloader.dataset()
            known, gaps, compared = _compare_with_training(external, trained.run, arguments)
            internal = _read_internal(arguments.run_dir, tasks)
            with _discard_unmeasured(output):
                test.test(run, output, trained.weights, capsule_input=make_capsule_input(config))
        settings = BootstrapSettings(arguments.resamples)
        ids = [image.id for image in known]
        record = {
            'note': NOTE,
            'run': str(arguments.run_dir.absolute()),
            'checkpoint': trained.weights.name,
            'manifest': str(find_data_file(arguments.manifest).absolute()),
            'known': arguments.known,
            'compared_with': compared,
            'known_images': [image.to_json() for image in known],
            'not_compared': gaps,
            'tasks': {
                task: compare_sites(
                    internal.get(task), read_tested_run(output, task), ids, settings
                )
                for task in tasks
            },
        }
        text = to_markdown(record)
        atomic_write.write(output / f'{NAME}.json', format_json(record))
        atomic_write.write(output / f'{NAME}.md', text)
        print(text)
        print(f'written to {output / NAME}.md')
        return 0


@contextlib.contextmanager
def _discard_unmeasured(output: Path) -> Iterator[None]:
    """Removes a new folder if a failure leaves it without metrics, so that the command can be
    started again.
    """
    try:
        yield
    except BaseException:
        if not (output / METRICS_FILE).exists():
            shutil.rmtree(output, ignore_errors=True)
        raise


def _make_dataset_node(
    tree: Mapping[str, Any], run: Any, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Makes the config of the external dataset, prepared as the run's test data are.

    Raises:
        ToolkitError: the run's test data are no images, or an option is wrong.
    """
    slot = None if run.test_dataloader is None else run.test_dataloader.dataset
    if not (isinstance(slot, ComponentFactory) and issubclass(slot.cls, ImageSet)):
        raise ToolkitError(
            f'{arguments.run_dir}: the test data are not images of files or arrays, so that it is '
            'not known how external images are prepared'
        )
    own = tree['test_dataloader']['dataset']
    return {
        'type': 'ManifestImages',
        'manifest': str(find_data_file(arguments.manifest).absolute()),
        'tasks': tree['model']['tasks'],
        'columns': parse_columns(arguments.columns),
        'values': parse_values(arguments.values),
        'outside': arguments.outside,
        'patients': arguments.patients,
        **{name: own[name] for name in PREPARATION if own.get(name) is not None},
    }


def _list_measured_tasks(tree: Mapping[str, Any]) -> list[str]:
    nodes = ((tree.get('test_evaluator') or {}).get('metrics') or {}).values()
    measured = {node['task'] for node in nodes if node and node.get('type') == 'ClinicalMetrics'}
    tasks = [name for name in tree['model']['tasks'] if name in measured]
    if not tasks:
        raise ToolkitError(
            'test_evaluator of the run has no ClinicalMetrics, by which sites are compared'
        )
    return tasks


def _compare_with_training(
    external: ImageSet, run: Any, arguments: argparse.Namespace
) -> tuple[list[KnownImage], list[str], dict[str, int]]:
    """Returns the known images, what was not compared, and the number of images by subset.

    Raises:
        ToolkitError: images are known and not to be marked, or the training data are not there.
    """
    if arguments.known == 'unchecked':
        return [], [], {}
    training: dict[str, ImageSet] = {}
    gaps = []
    for subset, loader in (('train', run.train_dataloader), ('val', run.val_dataloader)):
        slot = None if loader is None else loader.dataset
        if not (isinstance(slot, ComponentFactory) and issubclass(slot.cls, ImageSet)):
            gaps.append(f'the run names no {subset} images')
            continue
        try:
            training[subset] = slot()
        except ToolkitError as error:
            raise ToolkitError(
                f'{error}\nthe {subset} images cannot be read, so that it is not known whether the '
                'external images are new; make them readable, or test without the comparison by '
                '--known unchecked'
            ) from error
    if not training:
        raise ToolkitError(
            f'{arguments.run_dir} names no images of its training to compare with; test without '
            'the comparison by --known unchecked'
        )
    known, more = find_known_images(external, training)
    if known and arguments.known == 'refuse':
        lines = [
            f'  {image.id}: {image.reason} of {image.other} ({image.subset})'
            for image in known[:NAMED]
        ]
        if len(known) > NAMED:
            lines.append(f'  and {len(known) - NAMED} more')
        raise ToolkitError(
            '\n'.join(
                [
                    f'{len(known)} of {len(external)} external images are known to the training; '
                    'leave them out of the manifest, or have them marked by --known mark:',
                    *lines,
                ]
            )
        )
    compared = {subset: len(data) for subset, data in training.items()}
    return known, [*gaps, *more], compared


def _read_internal(folder: Path, tasks: list[str]) -> dict[str, TestedRun]:
    """Reads the internal test of each task, if the run has one."""
    found = {}
    for task in tasks:
        try:
            found[task] = read_tested_run(folder, task)
        except ToolkitError as error:
            print(f'no internal test of {task} to compare with: {error}')
    return found
