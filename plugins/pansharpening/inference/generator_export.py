"""Export of generator and upsampling, for images of any size, compared with torch."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.system import Pansharpener
from toolkit.engine.export import onnx_file, program_file
from toolkit.engine.export.exporter import PROGRAM
from toolkit.errors import RunError, ToolkitError
from toolkit.interfaces import Dataset
from toolkit.io import atomic_write

# Largest difference from torch, by the largest value of the result or 1: a fiftieth of a digital
# number of 11 bits.
TOLERANCE = 1e-5
# MS pixels of the images that are compared, in multiples of what the network can take.
RANDOM_SIZES = ((1, 16, 16), (3, 20, 33))  # batch, rows, columns
REAL_SIZES = ((64, 64), (40, 52))
Pair = tuple[Tensor, Tensor]
Network = Callable[[Tensor, Tensor], Tensor]


class ExportedSystem(nn.Module):
    """Network of the file: both images, in [0, 1], to the result.

    Args:
        system: in evaluation mode, on the CPU.
    Shape: lrms (B, C, h, w), pan (B, 1, ratio h, ratio w) -> (B, C, ratio h, ratio w).
    """

    def __init__(self, system: Pansharpener) -> None:
        super().__init__()
        self.system = system

    def forward(self, lrms: Tensor, pan: Tensor) -> Tensor:
        return self.system.fuse(self.system.upsampled(lrms), pan)


def export(
    system: Pansharpener,
    output: Path,
    dataset: Dataset | None,
    metadata: Mapping[str, Any],
    report: Callable[[str], None] = print,
) -> None:
    """Writes a system as ONNX or by torch.export, if the file agrees with torch at several sizes.

    Inputs are `lrms` (batch, C, h, w) and `pan` (batch, 1, ratio h, ratio w), float32 digital
    numbers divided by the scale; the output is `hrms`, likewise. Upsampling and normalisation are
    part of the network. Scale, bit depth and the multiples that h and w must be are in the file's
    metadata, under the key `ablakit`, as JSON.

    Args:
        system: on the CPU, in evaluation mode.
        output: file to write; its suffix, .onnx or .pt2, is the format.
        dataset: whose first sample is compared too; None for random images alone.
        metadata: further values for the file's metadata.
        report: takes a line for the user.
    Raises:
        ToolkitError: a generator that cannot be exported, with the reason.
        RunError: the file's output differs from that of torch; it is not written.
    """
    check_generator(system)
    step = get_step(system)
    sample = None if dataset is None else dataset[0]
    pairs = _list_pairs(system, step, sample)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'model{output.suffix}'
        module = ExportedSystem(system)
        _convert(module, system, step, path)
        about = {
            **_describe_system(system, step),
            **({} if sample is None else _describe_numbers(sample['meta'])),
            **metadata,
        }
        run = _open_program(path) if path.suffix == PROGRAM else _open_onnx(path, system)
        about['compared_with_torch'] = found = _compare(run, module, pairs)
        (program_file if path.suffix == PROGRAM else onnx_file).describe(path, about)
        atomic_write.write(output, path.read_bytes())
    sizes = ', '.join(f'{size["rows"]} x {size["columns"]} {size["of"]}' for size in found['sizes'])
    report(
        f'wrote {output} ({output.stat().st_size / 1e6:.1f} MB): its output differs from torch by '
        f'{found["difference"]:.1e} of the largest value at most, on {sizes} (MS pixels)'
    )
    report(
        f'inputs lrms (batch, {system.bands}, h, w) and pan (batch, 1, {system.ratio} h, '
        f'{system.ratio} w), h and w '
        + (f'multiples of {step}' if step > 1 else 'of any size')
        + f' from {_get_least(system, step)}: digital numbers divided by '
        + (f'{about["scale"]:g}' if 'scale' in about else 'the scale of the data')
    )
    if sample is None:
        report('only random images were compared, none of the test data')


def check_generator(system: Pansharpener) -> None:
    """Checks that a graph can hold a generator for images of any size.

    Raises:
        ToolkitError: it collects statistics of a whole image, or declares that it cannot
            be exported.
    """
    generator = system.generator
    if isinstance(generator, TwoPassGenerator):
        raise ToolkitError(
            f'{type(generator).__name__} cannot be exported: it collects statistics of the whole '
            'scene, in blocks whose number depends on the size, and a graph for any size has none; '
            'use `toolkit predict`'
        )
    if not generator.exports:
        raise ToolkitError(
            f'{type(generator).__name__} cannot be exported as a graph for images of any size; '
            'use `toolkit predict`'
        )


def get_step(system: Pansharpener) -> int:
    """Returns the number of MS pixels that heights and widths must be multiples of."""
    stride = int(system.generator.stride)
    return math.lcm(system.ratio, stride) // system.ratio


def _get_least(system: Pansharpener, step: int) -> int:
    return step * -(-min(size for _, *sides in RANDOM_SIZES for size in sides) // step)


def _convert(module: nn.Module, system: Pansharpener, step: int, path: Path) -> None:
    batch = torch.export.Dim('batch')
    least = _get_least(system, step) // step
    rows, columns = (torch.export.Dim(name, min=least) for name in ('rows', 'columns'))
    low = (
        {0: batch, 2: step * rows, 3: step * columns}
        if step > 1
        else {0: batch, 2: rows, 3: columns}
    )
    factor = step * system.ratio
    high = {0: batch, 2: factor * rows, 3: factor * columns} if factor > 1 else low
    # No side is the batch, 1 or another side: the exporter would take equal ones for the same.
    lrms, pan = _make_pair(system, step, 2, 20, 28)
    inputs, shapes = {'lrms': lrms, 'pan': pan}, {'lrms': low, 'pan': high}
    advice = 'a generator must be made of operations that {} has, for images of any size'
    if path.suffix == PROGRAM:
        program_file.convert(module, inputs, shapes, path, advice.format('torch.export'))
    else:
        onnx_file.convert(module, inputs, ['hrms'], shapes, path, advice.format('ONNX'))


def _list_pairs(
    system: Pansharpener, step: int, sample: Mapping[str, Any] | None
) -> list[tuple[str, Pair]]:
    """Lists the images to compare on: random ones, and two parts of a sample."""
    pairs = [('random', _make_pair(system, step, *size)) for size in RANDOM_SIZES]
    if sample is None:
        return pairs
    lrms, pan = (torch.as_tensor(sample[key]) for key in ('lrms', 'pan'))
    system.check_images(lrms[None], pan[None])
    sides = lrms.shape[-2:]
    for wanted in REAL_SIZES:
        rows, columns = (step * (min(w, side) // step) for w, side in zip(wanted, sides))
        top, left = (step * ((side - n) // 2 // step) for side, n in zip(sides, (rows, columns)))
        if min(rows, columns) < _get_least(system, step):
            raise ToolkitError(
                f'the first image of the test data has {sides[0]} x {sides[1]} MS pixels, too few '
                'to compare on; compare random images alone by --untested'
            )
        ratio = system.ratio
        pairs.append(
            (
                'of the test data',
                (
                    lrms[None, :, top : top + rows, left : left + columns],
                    pan[
                        None,
                        :,
                        ratio * top : ratio * (top + rows),
                        ratio * left : ratio * (left + columns),
                    ],
                ),
            )
        )
    return pairs


def _make_pair(system: Pansharpener, step: int, batch: int, rows: int, columns: int) -> Pair:
    generator = torch.Generator().manual_seed(0)
    rows, columns = (step * -(-side // step) for side in (rows, columns))
    return (
        torch.rand(batch, system.bands, rows, columns, generator=generator),
        torch.rand(batch, 1, rows * system.ratio, columns * system.ratio, generator=generator),
    )


def _open_program(path: Path) -> Network:
    module = program_file.open_program(path)
    return lambda lrms, pan: module(lrms=lrms, pan=pan)


def _open_onnx(path: Path, system: Pansharpener) -> Network:
    """Opens a file in onnxruntime.

    Raises:
        ToolkitError: it takes images of one size alone.
    """
    session = onnx_file.open_session(path)
    named = session.get_inputs()
    for each in named:
        if any(isinstance(extent, int) for axis, extent in enumerate(each.shape) if axis != 1):
            raise ToolkitError(
                f'{type(system.generator).__name__} cannot be exported: it computes with the size '
                f'of the image as a number, and the file would take {each.name} {each.shape} alone'
            )

    def run(lrms: Tensor, pan: Tensor) -> Tensor:
        inputs = {'lrms': lrms.numpy(), 'pan': pan.numpy()}
        return torch.from_numpy(session.run(['hrms'], {n.name: inputs[n.name] for n in named})[0])

    return run


def _compare(run: Network, module: nn.Module, pairs: list[tuple[str, Pair]]) -> dict[str, Any]:
    """Compares a file with torch.

    Returns:
        Largest difference and sizes, for the metadata.
    Raises:
        RunError: they differ.
    """
    largest, sizes = 0.0, []
    for of, (lrms, pan) in pairs:
        rows, columns = lrms.shape[-2:]
        with torch.inference_mode():
            expected = module(lrms, pan)
        try:
            with torch.no_grad():
                found = run(lrms.contiguous(), pan.contiguous())
        except Exception as error:  # of onnxruntime, whose classes are its own
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise RunError(
                f'the file cannot be run on {rows} x {columns} MS pixels {of}: '
                f'{line[:200]}; it was not written'
            ) from error
        difference = float((found - expected).abs().max() / max(1.0, float(expected.abs().max())))
        if not difference <= TOLERANCE:
            raise RunError(
                f'the file differs from torch by {difference:.2g} on {rows} x {columns} MS '
                f'pixels {of}, more than {TOLERANCE:g} of the largest value or 1; '
                'it was not written'
            )
        largest = max(largest, difference)
        sizes.append({'of': of, 'batch': len(lrms), 'rows': rows, 'columns': columns})
    return {'difference': largest, 'tolerance': TOLERANCE, 'sizes': sizes}


def _describe_system(system: Pansharpener, step: int) -> dict[str, Any]:
    ratio, bands = system.ratio, system.bands
    return {
        'generator': type(system.generator).__name__,
        'bands': bands,
        'ratio': ratio,
        'inputs': {
            'lrms': f'(batch, {bands}, h, w), float32, digital numbers divided by the scale',
            'pan': f'(batch, 1, {ratio} h, {ratio} w), likewise',
        },
        'output': f'hrms: (batch, {bands}, {ratio} h, {ratio} w), float32, to be multiplied by the '
        'scale, rounded and cut to the range of the data type',
        'multiple_of': step,
        'least_size': _get_least(system, step),
        'upsampling': {'method': system.upsampling, 'border': system.border, 'part_of_graph': True},
        'normalisation': 'from [0, 1] to [-1, 1] and back, part of the graph'
        if system.symmetric
        else 'none: the generator takes [0, 1]',
        'halo': system.generator.halo,
    }


def _describe_numbers(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Describes the digital numbers of the data that the run was tested on."""
    if 'scale' not in meta:
        return {}
    scale = float(meta['scale'])
    return {
        'scale': scale,
        'bit_depth': round(math.log2(scale + 1)),
        **({'sensor': str(meta['sensor'])} if 'sensor' in meta else {}),
    }
