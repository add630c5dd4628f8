"""`toolkit export`: writes a trained system as ONNX or by torch.export."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.commands.arguments import add_plugins, add_trained_run
from toolkit.commands.run.predict import find_predictor
from toolkit.errors import ToolkitError
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.interfaces import Predictor


class ExportCommand(Command):
    """Write a trained system as ONNX or by torch.export, once the file agrees with torch.

    Inputs, outputs and what was compared depend on the task; they are JSON in the file's metadata,
    under the key `ablakit`. `toolkit export --run DIR --help` lists the options of the run's task.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_trained_run(parser, required=True)
        parser.add_argument(
            '--output',
            type=Path,
            required=True,
            help='.onnx file to write; .pt2 (torch.export) where the task has it',
        )
        parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
        add_plugins(parser)

    @classmethod
    def add_dependent_arguments(
        cls, parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]
    ) -> None:
        if known.run_dir is None:
            return
        from toolkit.run.load_run import load_config

        config = load_config(None, (), known.run_dir)
        config.use_plugins(known.plugin)
        if (predictor := find_predictor(config)) is not None:
            _add_group(parser, predictor)
            parser.set_defaults(predictor=predictor)

    @classmethod
    def list_dependent_arguments(cls) -> list[argparse._ArgumentGroup]:
        from toolkit.registry import PREDICTORS

        found = (PREDICTORS.get(name) for name in PREDICTORS.names())
        groups = [_add_group(argparse.ArgumentParser(add_help=False), each) for each in found]
        return [group for group in groups if group._group_actions]

    def run(self, arguments: argparse.Namespace) -> int:
        import torch

        from toolkit.engine import checkpoint
        from toolkit.engine.components import build_system
        from toolkit.engine.export.exporter import check_export
        from toolkit.interfaces import Predictor
        from toolkit.io.output_path import check_outputs
        from toolkit.io.run_layout import list_run_files
        from toolkit.run.load_run import load_trained, make_predict_options

        output: Path = arguments.output
        predictor: type[Predictor] | None = getattr(arguments, 'predictor', None)
        check_export(output, (predictor or Predictor).export_suffixes)
        trained = load_trained(
            None, (), arguments.run_dir, arguments.checkpoint, plugins=arguments.plugin
        )
        run, weights = trained.run, trained.weights
        own = [*list_run_files(arguments.run_dir), *filter(None, [weights])]
        check_outputs([output], own, overwrite=arguments.overwrite)
        options = make_predict_options(
            run,
            torch.device('cpu'),
            arguments,
            overwrite=arguments.overwrite,
            weights=weights,
            precision=run.runtime.precision,
        )
        with trained.config.locate_errors():
            system = build_system(run)
            if predictor is None or not isinstance(system, predictor.system):
                raise ToolkitError(
                    f'{type(system).__name__} cannot be exported: no predictor serves it; '
                    'register one with PREDICTORS'
                )
            if weights is not None:
                checkpoint.load_weights(system, weights)
            elif any(True for _ in system.parameters()):
                raise ToolkitError(f'{arguments.run_dir} has no checkpoint; train it first')
            system.cpu().eval().requires_grad_(False)
            predictor().export(system, output, options)
        return 0


def _add_group(
    parser: argparse.ArgumentParser, predictor: type[Predictor]
) -> argparse._ArgumentGroup:
    group = parser.add_argument_group(f'options for {predictor.system.__name__}')
    predictor.add_export_arguments(group)
    return group
