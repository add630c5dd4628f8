"""Export of a classifier to ONNX, compared with torch."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plugins.classification.calibration import Calibration
from plugins.classification.inference.ensemble import EnsembleNetwork
from plugins.classification.interfaces import NOTE
from plugins.classification.system import Classifier
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write

TOLERANCE = 1e-4
# Gets a function from images to probabilities and decisions; returns values for the metadata.
Check = Callable[[Callable[[np.ndarray], Sequence[np.ndarray]]], Mapping[str, Any]]
NEEDED = ('onnx', 'onnxscript', 'onnxruntime')


class ExportedNetwork(nn.Module):
    """Network of the file: image -> probabilities, then decisions, then logits of each task.

    Args:
        system: on the CPU.
    Shape: (B, C, H, W) in [0, 1] -> (B, K), (B,) and (B, K).
    """

    kinds = ('probabilities', 'decision', 'logits')

    def __init__(self, system: Classifier) -> None:
        super().__init__()
        self.system = system
        self.calibration = system.calibration

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits = self.system.predicted_logits({'image': image})
        calibration = self.system.calibration
        probabilities = {k: calibration.probabilities(k, v) for k, v in logits.items()}
        decisions = [calibration.decide(k, v) for k, v in probabilities.items()]
        return (*probabilities.values(), *decisions, *logits.values())


def export(
    system: Classifier,
    output: Path,
    real: Sequence[Tensor] = (),
    metadata: Mapping[str, Any] | None = None,
    check: Check | None = None,
    companions: Mapping[Path, str] | None = None,
    members: Sequence[Classifier] = (),
) -> tuple[float, str]:
    """Write a system as ONNX, if onnxruntime agrees with torch.

    The input `image` is (batch, C, S, S), float32 in [0, 1]; the batch may have any size. Outputs
    are `TASK_probabilities`, after the temperature, `TASK_decision`, the number of the class that
    the system decides for, and `TASK_logits`. Classes, positive class and threshold of each task
    are in the file's metadata, under the key `ablakit`, as JSON.

    Args:
        system: on any device, in any mode; afterwards it is on the CPU in evaluation mode.
        output: file to write.
        real: images (C, S, S) to compare on, beside random ones.
        metadata: further values for the file's metadata.
        check: compares the written network with a test before it is put in place, and returns
            values for the metadata; it gets a function from images (B, C, S, S) to probabilities
            of each task, then decisions of each task.
        companions: text files that are put in place with the network, by path.
        members: further systems; the file then holds the ensemble, whose third outputs are
            `TASK_spread`, the standard deviation of the members' probabilities.
    Returns:
        The largest difference, and the images that it was found on, as text.
    Raises:
        ToolkitError: a package is missing, or a part that cannot be exported.
        RunError: the file's outputs differ from those of torch, or it cannot be written.
    """
    check_export(output)
    for one in (system, *members):
        one.cpu().eval().requires_grad_(False)
    module = EnsembleNetwork([system, *members]) if members else ExportedNetwork(system)
    names = [f'{task}_{kind}' for kind in module.kinds for task in system.tasks]
    shape = (system.in_channels, system.size, system.size)
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        # A batch of two: the exporter would take a batch of one for a fixed size.
        _convert(module, torch.rand(2, *shape, generator=generator), names, path)
        _describe(path, system, module.calibration, metadata or {})
        batches = [torch.rand(n, *shape, generator=generator) for n in (1, 3)]
        if real:
            batches.append(torch.stack(list(real)))
        difference = max(_measure_difference(module, path, batch, names) for batch in batches)
        compared = '4 random images' + (f' and {len(real)} of the test data' if real else '')
        if not difference <= TOLERANCE:
            raise RunError(
                f'the ONNX file differs from torch by {difference:.2g} on {compared}, more than '
                f'{TOLERANCE:g}; it was not written'
            )
        if check is not None:
            wanted = names[: 2 * len(system.tasks)]
            session = _open_session(path)
            _note(path, check(lambda images: session.run(wanted, {'image': images})))
        for companion, text in (companions or {}).items():
            atomic_write.write(companion, text)
        atomic_write.write(output, path.read_bytes())
    return difference, compared


def _convert(module: nn.Module, image: Tensor, names: list[str], path: Path) -> None:
    try:
        with _silence_exporter():
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
    except Exception as error:  # the exporter raises errors of any class
        reason = _find_cause(error)
        raise ToolkitError(
            f'this system cannot be exported: {reason}; the part must be made of operations that '
            'ONNX has, and take batches of any size'
        ) from error


def _find_cause(error: BaseException) -> str:
    """Return the first line of the error that caused the others."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__


def _describe(
    path: Path, system: Classifier, calibration: Calibration, more: Mapping[str, Any]
) -> None:
    import onnx

    import toolkit

    about = {
        'note': NOTE,
        'tasks': calibration.record(),
        **system.describe_prediction(),
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
    # The exporter notes the source file and line of each operation.
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.functions):
        del part.metadata_props[:]
    for part in (*model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = 'ablakit', json.dumps(about)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _note(path: Path, values: Mapping[str, Any]) -> None:
    """Add values to the metadata of a file."""
    import onnx

    model = onnx.load(path)
    (entry,) = [entry for entry in model.metadata_props if entry.key == 'ablakit']
    entry.value = json.dumps({**json.loads(entry.value), **values})
    onnx.save(model, path)


def _open_session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])


def _measure_difference(module: nn.Module, path: Path, images: Tensor, names: list[str]) -> float:
    """Measure the largest difference of all outputs from torch; that of NaN is infinite."""
    session = _open_session(path)
    size = session.get_inputs()[0].shape[0]
    if isinstance(size, int):
        raise ToolkitError(
            f'this system cannot be exported: a part fixes the batch at {size} images, such as by '
            '`len(x)` of a tensor; write x.shape[0] there'
        )
    found = session.run(names, {'image': images.numpy()})
    with torch.no_grad():
        expected = [x.numpy() for x in module(images)]
    differences = [
        float(np.abs(a - b).max())
        for name, a, b in zip(names, found, expected, strict=True)
        # Random images may lie at a threshold; decisions are compared on those of the test.
        if not name.endswith('_decision')
    ]
    return max(x if x == x else float('inf') for x in differences)


def check_export(output: Path) -> None:
    """Check the name of the file and the packages that an export needs.

    Raises:
        ToolkitError: the name does not end in .onnx, or a package is missing.
    """
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
def _silence_exporter() -> Iterator[None]:
    """Keep the exporter from printing its own steps."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
