"""`toolkit export`: a trained classifier as an ONNX file that says the same."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plugins.classification.interfaces import NOTE
from plugins.classification.system import Classifier
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import list_run_files
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command

TOLERANCE = 1e-4
IMAGES = 8  # real ones that are compared
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')


@COMMANDS.register(name='export')
class Export(Command):
    """Write a trained classifier as ONNX, after comparing it with torch."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--run', dest='run_dir', type=Path, required=True, metavar='D', help='folder of a run'
        )
        parser.add_argument(
            '--checkpoint', help="'best', 'last' or a path (default: best where there is one)"
        )
        parser.add_argument('--output', type=Path, required=True, help='the .onnx file to write')
        parser.add_argument('--overwrite', action='store_true', help='replace an existing file')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.engine import checkpoint
        from toolkit.engine.components import build_system
        from toolkit.run.load_run import load_trained

        _check(arguments.output)
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
            real = _real(None if loader is None else loader.dataset)
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


class Exported(nn.Module):
    """What the file computes: image -> for each task probabilities, then for each task logits.

    Args:
        system: on the CPU.
    Shape: (B, C, H, W) in [0, 1] -> (B, K) each.
    """

    def __init__(self, system: Classifier) -> None:
        super().__init__()
        self.system = system

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.system.tensor({'image': image})
        said = [self.system.calibration.probabilities(k, v) for k, v in logits.items()]
        return (*said, *logits.values())


def export(
    system: Classifier,
    output: Path,
    real: Sequence[Tensor] = (),
    metadata: dict[str, str] | None = None,
) -> tuple[float, str]:
    """Write a system as ONNX; the file is put in place after it was seen to say the same as torch.

    The input `image` is (batch, C, S, S), float32 in [0, 1]; the batch may have any size. Outputs
    are `TASK_probabilities`, after the temperature, and `TASK_logits`. Classes, positive class and
    threshold of each task are in the file's metadata, under the key `ablakit`, as JSON.

    Args:
        system: whatever device and mode it is in; it is left on the CPU, for evaluation.
        output: the file.
        real: images (C, S, S) to compare on, beside random ones.
        metadata: more to be kept in the file.
    Returns:
        The largest difference, and what it was found on.
    Raises:
        ToolkitError: a package is missing, or a part that cannot be exported.
        RunError: the file says something else than torch, or cannot be written.
    """
    _check(output)
    system.cpu().eval().requires_grad_(False)
    module = Exported(system)
    names = [f'{task}_{what}' for what in ('probabilities', 'logits') for task in system.tasks]
    shape = (system.in_channels, system.size, system.size)
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        # Of two, as a batch of one would be taken for the only size.
        _translate(module, torch.rand(2, *shape, generator=generator), names, path)
        _describe(path, system, metadata or {})
        batches = [torch.rand(n, *shape, generator=generator) for n in (1, 3)]
        if real:
            batches.append(torch.stack(list(real)))
        difference = max(_difference(module, path, batch, names) for batch in batches)
        compared = '4 random images' + (f' and {len(real)} of the test data' if real else '')
        if not difference <= TOLERANCE:
            raise RunError(
                f'the ONNX file differs from torch by {difference:.2g} on {compared}, more than '
                f'{TOLERANCE:g}; it was not written'
            )
        atomic_write.write(output, path.read_bytes())
    return difference, compared


def _translate(module: nn.Module, image: Tensor, names: list[str], path: Path) -> None:
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (image,),
                dynamo=True,
                input_names=['image'],
                output_names=names,
                dynamic_shapes={'image': {0: torch.export.Dim('batch')}},
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=False)
    except Exception as error:  # what a part's code makes the exporter raise cannot be listed
        reason = _reason(error)
        raise ToolkitError(
            f'this system cannot be exported: {reason}; the part must be made of operations that '
            'ONNX has, and take batches of any size'
        ) from error


def _reason(error: BaseException) -> str:
    """The first line of the error that caused it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__


def _describe(path: Path, system: Classifier, more: dict[str, str]) -> None:
    import onnx

    import toolkit

    about = {
        'note': NOTE,
        'tasks': system.calibration.record(),
        'input': f'image: (batch, {system.in_channels}, {system.size}, {system.size}), float32 in '
        '[0, 1]; mean and standard deviation are taken off inside',
        'normalisation': {
            name: {
                key: torch.as_tensor(value).flatten().tolist()
                for key in ('mean', 'std')
                if (value := getattr(branch, key, None)) is not None
            }
            for name, branch in system.branches.items()
        },
        **more,
    }
    model = onnx.load(path)
    model.producer_name, model.producer_version = 'ablakit', toolkit.__version__
    model.doc_string = NOTE
    # The exporter notes where in whose source each operation was written.
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.functions):
        del part.metadata_props[:]
    for part in (*model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = 'ablakit', json.dumps(about)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _difference(module: nn.Module, path: Path, images: Tensor, names: list[str]) -> float:
    """The largest difference between onnxruntime and torch over all outputs; NaN is infinite."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    size = session.get_inputs()[0].shape[0]
    if isinstance(size, int):
        raise ToolkitError(
            f'this system cannot be exported: a part fixes the batch at {size} images, such as by '
            '`len(x)` of a tensor; write x.shape[0] there'
        )
    found = session.run(names, {'image': images.numpy()})
    with torch.no_grad():
        expected = [x.numpy() for x in module(images)]
    differences = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    return max(x if x == x else float('inf') for x in differences)


def _real(dataset: Any) -> list[Tensor]:
    """Some images of the run's test data; none where these are not there."""
    try:
        data = dataset() if dataset is not None else None
    except ToolkitError as error:
        print(f'the test data cannot be read, so only random images are compared: {error}')
        return []
    if data is None:
        return []
    step = max(1, len(data.positions) // IMAGES)
    return [data.pool_image(position, 0) for position in data.positions[::step][:IMAGES]]


def _check(output: Path) -> None:
    if output.suffix != '.onnx':
        raise ToolkitError(
            f'the output {output} needs a name such as {output.with_suffix(".onnx").name}'
        )
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ToolkitError(
                f'export needs {name}; install it: pip install "ablakit[onnx]"'
            ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter tells of its own steps."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
