"""Export of a classifier to ONNX, compared with torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plugins.classification.calibration import Calibration
from plugins.classification.inference.ensemble import EnsembleNetwork
from plugins.classification.interfaces import NOTE
from plugins.classification.system import Classifier
from toolkit.engine.export.onnx_file import add_metadata, convert, describe, open_session
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.output_path import write_all_or_none

TOLERANCE = 1e-4
# Gets a function from images to probabilities and decisions; returns values for the metadata.
Check = Callable[[Callable[[np.ndarray], Sequence[np.ndarray]]], Mapping[str, Any]]


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
    for one in (system, *members):
        one.cpu().eval().requires_grad_(False)
    module = EnsembleNetwork([system, *members]) if members else ExportedNetwork(system)
    names = [f'{task}_{kind}' for kind in module.kinds for task in system.tasks]
    shape = (system.in_channels, system.size, system.size)
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        # A batch of two: the exporter would take a batch of one for a fixed size.
        convert(
            module,
            {'image': torch.rand(2, *shape, generator=generator)},
            names,
            {'image': {0: torch.export.Dim('batch')}},
            path,
            'the part must be made of operations that ONNX has, and take batches of any size',
        )
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
            session = open_session(path)
            add_metadata(path, check(lambda images: session.run(wanted, {'image': images})))
        with write_all_or_none([*(companions or {}), output]):
            for companion, text in (companions or {}).items():
                atomic_write.write(companion, text)
            atomic_write.write(output, path.read_bytes())
    return difference, compared


def _describe(
    path: Path, system: Classifier, calibration: Calibration, more: Mapping[str, Any]
) -> None:
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
    describe(path, about, NOTE)


def _measure_difference(module: nn.Module, path: Path, images: Tensor, names: list[str]) -> float:
    """Measure the largest difference of all outputs from torch; that of NaN is infinite."""
    session = open_session(path)
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
