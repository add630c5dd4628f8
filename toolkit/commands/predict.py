"""`toolkit predict`: predicts files with a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_config, add_plugins, add_trained_run
from toolkit.registry.command import Command


class PredictCommand(Command):
    """Predict files with a trained run."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser, required=False)
        add_trained_run(parser)
        add_plugins(parser)
        parser.add_argument(
            '--input',
            nargs='+',
            default=[],
            metavar='FILE',
            help="files to predict; the run's own test data if left out",
        )
        parser.add_argument(
            '--output', type=Path, required=True, metavar='FILE', help='file to write'
        )
        parser.add_argument(
            '--sensor', help="sensor of the input, where it is not that of the run's data"
        )
        parser.add_argument('--tile', type=int, help='side of the windows in pixels')
        parser.add_argument(
            '--workers', type=int, help='threads that compute (default: one a core)'
        )
        parser.add_argument(
            '--shard', metavar='i/n', help='only the i-th of n shares of the windows'
        )
        parser.add_argument(
            '--compress', choices=('none', 'deflate', 'zstd', 'lzw'), help='of the output'
        )
        parser.add_argument('--cog', action='store_true', help='write a cloud-optimized GeoTIFF')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.engine import checkpoint, precision
        from toolkit.engine.components import build_system
        from toolkit.run.load_run import load_trained

        trained = load_trained(
            arguments.config,
            arguments.overrides,
            arguments.run_dir,
            arguments.checkpoint,
            arguments.plugin,
        )
        run = trained.run
        with trained.config.placing():
            system = build_system(run)
            if trained.weights is not None:
                checkpoint.load_weights(system, trained.weights)
            device = precision.choose_device(run.runtime)
            precision.place(system, run.runtime, device)
            system.eval()
            loader = run.test_dataloader
            options = {n: getattr(arguments, n) for n in ('tile', 'workers', 'shard', 'compress')}
            options['cog'] = arguments.cog or None
            written = system.predict_files(
                arguments.input,
                arguments.output,
                dataset=None if loader is None else loader.dataset,
                sensor=arguments.sensor,
                device=device,
                context=lambda: precision.autocast(run.runtime, device),
                say=print,
                **{name: value for name, value in options.items() if value is not None},
            )
        for path in written:
            print(f'wrote {path}')
        return 0
