"""`toolkit bench misregistration`: indices against true error while the PAN is moved."""

from __future__ import annotations

import argparse
import math

from plugins.pansharpening.benchmark.misregistration import INDICES, score_shifted
from plugins.pansharpening.data.wald_protocol import ReducedScene
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.errors import ToolkitError
from toolkit.io.tables.formatting import format_markdown_table
from toolkit.registry import BENCHES
from toolkit.registry.command import Command


@BENCHES.register(name='misregistration')
class MisregistrationBench(Command):
    """True error and indices without a reference while the PAN is moved by up to two pixels.

    The scene is brought to reduced resolution, where its MS is the reference; without --ms a drawn
    scene of known truth is taken.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--ms', nargs='+', default=[], metavar='M', help='MS, or a .mat or .npz with both')
        add('--pan', metavar='P', help='PAN')
        add('--sensor', default='IKONOS', metavar='S', help="of the scene ('IKONOS')")
        add(
            '--methods',
            default='EXP,GSA,MTF-GLP-HPM',
            metavar='NAME,...',
            help='methods, and reference for the true image itself (%(default)s)',
        )
        add('--indices', default=','.join(INDICES), metavar='NAME,...', help='(%(default)s)')
        add('--shifts', default='0,0.5,1,1.5,2', metavar='N,...', help='PAN pixels (%(default)s)')
        add('--axis', default='columns', choices=('rows', 'columns'), help='(%(default)s)')

    def run(self, arguments: argparse.Namespace) -> int:
        try:
            shifts = [float(word) for word in arguments.shifts.split(',')]
        except ValueError:
            shifts = [math.nan]
        scene: Scene = SyntheticScene(4, 256)
        if arguments.ms:
            scene = ReducedScene(open_scene(arguments.ms, arguments.pan, arguments.sensor))
        if not all(abs(shift) < min(scene.pan_shape) for shift in shifts):
            raise ToolkitError(
                f'--shifts: found {arguments.shifts!r}, expected numbers such as 0,1,2, below the '
                f'{min(scene.pan_shape)} PAN pixels of the scene'
            )
        vertical = arguments.axis == 'rows'
        places = [(s, 0.0) if vertical else (0.0, s) for s in shifts]
        methods = arguments.methods.split(',')
        found = list(score_shifted(scene, methods, places, arguments.indices.split(',')))
        rows = [
            [r.method, f'{sum(r.shift):g}', *(f'{value:.3f}' for value in r.scores.values())]
            for method in methods
            for r in found
            if r.method == method
        ]
        print('\n'.join(format_markdown_table([['method', 'shift', *found[0].scores], *rows], 1)))
        return 0
