"""Measures errors by place: inside, along pixels without data, at the border, and the shift."""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from plugins.pansharpening.commands.bench_scene import GDAL, find_gdal
from plugins.pansharpening.commands.placement_cases import (
    BITS,
    Case,
    PlaceErrors,
    draw_cases,
    find_cases,
    measure_errors,
    reduce_pair,
)
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import RunError, ToolkitError
from toolkit.registry import BENCHES, COMMANDS
from toolkit.registry.command import Command

METHODS = ('EXP', 'GSA', 'MTF-GLP-HPM')
TRAINED = 'pansharpen'
# Ours may be so many percent points above GDAL's before the table marks it.
SLACK = 0.05


@BENCHES.register(name='placement')
class PlacementBench(Command):
    """Errors of sharpened scenes by place, compared with GDAL's tool.

    On scenes with a known truth: relative error inside, in the two pixels along pixels without data
    (rim), in the two outermost rows and columns (border), in percent of the bands' means, and the
    shift against the truth in PAN pixels. A star marks an error above that of GDAL's tool; none of
    EXP's, which adds no detail.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('methods', nargs='*', metavar='GENERATOR', help=f'generators ({", ".join(METHODS)})')
        add('--size', type=int, default=512, help='side of the drawn scenes in PAN pixels (512)')
        add('--seed', type=int, default=0, help='of the drawn scenes (0)')
        add('--folder', type=Path, help='cases NAME_ms.tif, NAME_pan.tif, NAME.npy, not drawn ones')
        add('--ms', help='a real MS, which is then the truth of the pair reduced by its ratio')
        add('--pan', help='its PAN')
        add('--sensor', default='generic', help="of --folder or --ms ('generic')")
        add('--iterations', type=int, default=400, help=f'of {TRAINED}; 0 leaves it out (400)')

    def run(self, arguments: argparse.Namespace) -> int:
        methods = list(arguments.methods or METHODS)
        for name in methods:
            GENERATORS.get(name)
        if (arguments.ms is None) != (arguments.pan is None):
            raise ToolkitError('--ms and --pan go together')
        if arguments.size % 4 or arguments.size < 128 or arguments.iterations < 0:
            raise ToolkitError(
                '--size must be a multiple of 4 from 128 on and --iterations 0 or more, found '
                f'{arguments.size} and {arguments.iterations}'
            )
        try:
            sensor = get_sensor(arguments.sensor)
        except ValueError as error:
            raise ToolkitError(str(error)) from error
        gdal = find_gdal()
        if sensor.assumed and arguments.ms is not None:
            print(f'the pair is reduced by assumed gains: {sensor.describe_assumption()}')
        with tempfile.TemporaryDirectory() as folder:
            for case in _list_cases(arguments, Path(folder)):
                tools: dict[str, Callable[[Case, Path], None]] = {}
                if gdal is not None:
                    tools[GDAL] = lambda case, out: _run_gdal(gdal, case, out)
                for name in methods:
                    tools[name] = lambda case, out, name=name: _run_method(name, case, out)
                if arguments.iterations:
                    tools[TRAINED] = lambda case, out: _train(case, out, arguments.iterations)
                errors = {}
                for name, tool in tools.items():
                    out = Path(folder) / f'{case.name}_{name}.tif'
                    tool(case, out)
                    errors[name] = measure_errors(case, out)
                height, width = case.valid.shape
                print(f'{case.name}: {height} x {width} PAN pixels, ratio {case.ratio}')
                print(format_table(errors), flush=True)
        if gdal is None:
            print(f'not compared with {GDAL}, which was not found; Debian has it in gdal-bin')
        return 0


def format_table(errors: dict[str, PlaceErrors]) -> str:
    """Formats the errors of one case; a star marks those above GDAL's."""
    lines = [f'{"":16} {"inside":>8} {"rim":>8} {"border":>8}   shift (rows, columns)']
    limits = errors.get(GDAL)
    for name, found in errors.items():
        cells = []
        for value, limit in zip(found[:3], limits[:3] if limits else found[:3]):
            mark = '*' if name != 'EXP' and value > limit + SLACK else ' '
            cells.append('       - ' if value != value else f'{value:7.2f}%{mark}')
        lines.append(f'{name:16} {"".join(cells)}  {found.rows:+.2f}, {found.cols:+.2f}')
    return '\n'.join(lines)


def _list_cases(arguments: argparse.Namespace, folder: Path) -> list[Case]:
    if arguments.ms is not None:
        return [reduce_pair(folder, arguments.ms, arguments.pan, arguments.sensor)]
    if arguments.folder is not None:
        return list(find_cases(arguments.folder, arguments.sensor))
    return draw_cases(folder, arguments.size, arguments.seed)


def _run_gdal(program: str, case: Case, out: Path) -> None:
    command = [program, '-q', str(case.pan), str(case.ms), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not out.is_file():
        raise RunError(f'{program} failed: {(done.stderr or done.stdout).strip()}')


def _run_method(name: str, case: Case, out: Path) -> None:
    scene = RasterScene(str(case.ms), str(case.pan), case.sensor, BITS)
    infer_scene(sharpener(name, scene), scene, out, InferenceSettings())


def _train(case: Case, out: Path, iterations: int) -> None:
    """Runs `toolkit pansharpen` on a case; what it prints is shown only if it fails."""
    command, parser = COMMANDS.get(TRAINED), argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ['--ms', str(case.ms), '--pan', str(case.pan), '--sensor', case.sensor]
    words += ['--output', str(out), '--iterations', str(iterations), '--minutes', '60']
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = command().run(parser.parse_args(words))
    if status:
        raise RunError(f'toolkit pansharpen failed:\n{printed.getvalue()}')
