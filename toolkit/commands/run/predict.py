"""`toolkit predict`: predicts files with a trained run."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.commands.arguments import add_config, add_plugins, add_trained_run, load_given_run
from toolkit.errors import ToolkitError
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.config import Config
    from toolkit.interfaces import Predictor


class PredictCommand(Command):
    """Predict files with a trained run.

    Further options depend on the task: `toolkit predict --run DIR --help` and `toolkit predict
    CONFIG --help` list them.
    """

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
            help="files to predict (default: the run's own test data)",
        )
        parser.add_argument(
            '--output', type=Path, required=True, metavar='FILE', help='file to write'
        )
        parser.add_argument(
            '--overwrite', action='store_true', help='replace output files that exist'
        )

    @classmethod
    def add_dependent_arguments(
        cls, parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]
    ) -> None:
        predictor = _find_predictor(known, rest)
        if predictor is not None:
            _add_predictor(parser, predictor)
            parser.set_defaults(predictor=predictor)

    @classmethod
    def list_dependent_arguments(cls) -> list[argparse._ArgumentGroup]:
        from toolkit.registry import PREDICTORS

        return [
            _add_predictor(argparse.ArgumentParser(add_help=False), PREDICTORS.get(name))
            for name in PREDICTORS.names()
        ]

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config.checks.check import fill_checked
        from toolkit.engine import checkpoint
        from toolkit.engine.components import build_system
        from toolkit.engine.process import precision
        from toolkit.io.output_path import check_outputs
        from toolkit.io.run_layout import list_run_files
        from toolkit.run.load_run import make_predict_options

        trained = load_given_run(arguments)
        run = trained.run
        own = [] if arguments.run_dir is None else list_run_files(arguments.run_dir)
        own += [] if trained.weights is None else [trained.weights]
        # The predictor, which knows its inputs and outputs, refuses the other files that exist.
        check_outputs([arguments.output], own, overwrite=True)
        predictor = _make_predictor(arguments)
        config = trained.config
        device = precision.choose_device(run.runtime)
        options = make_predict_options(run, device, arguments, overwrite=arguments.overwrite)
        if trained.weights is None and predictor is not None:
            stated = [text.partition('=')[0].removeprefix('+') for text in arguments.overrides]
            with config.locate_errors():
                changes = predictor.adapt(config.tree, stated, arguments.input, options)
            config.change(changes)
            run = fill_checked(config) if changes else run
        with config.locate_errors():
            system = build_system(run)
            if predictor is None or not isinstance(system, predictor.system):
                raise ToolkitError(
                    f'{type(system).__name__} cannot predict files: no predictor serves it; '
                    'register one with PREDICTORS'
                )
            if trained.weights is not None:
                checkpoint.load_weights(system, trained.weights)
            elif any(True for _ in system.parameters()):
                raise ToolkitError(
                    f'{arguments.config or arguments.run_dir} has weights that a training finds, '
                    'and none are given; give --run DIR of a training, or --checkpoint FILE'
                )
            precision.move_system(system, run.runtime, device)
            system.eval()
            written = predictor.predict(system, arguments.input, arguments.output, options)
        for path in written:
            print(f'wrote {path}')
        return 0


def _make_predictor(arguments: argparse.Namespace) -> Predictor | None:
    """Makes the predictor that the parser found, which may serve a base of the system."""
    found: type[Predictor] | None = getattr(arguments, 'predictor', None)
    return None if found is None else found()


def _add_predictor(
    parser: argparse.ArgumentParser, predictor: type[Predictor]
) -> argparse._ArgumentGroup:
    title = f'options for {predictor.system.__name__}'
    group = parser.add_argument_group(title, inspect.getdoc(predictor))
    predictor.add_arguments(group)
    return group


def _find_predictor(known: argparse.Namespace, rest: Sequence[str]) -> type[Predictor] | None:
    """The predictor of the system of the run or config on the command line.

    None if the command line names neither, or a system without a predictor.
    """
    words = [*filter(None, [known.config]), *known.overrides, *rest]
    # Values of options that are not declared yet look like configs and overrides.
    names = [word for word in words if '=' not in word and not word.startswith('-')]
    overrides = [word for word in words if word.startswith('model.type=')]
    if known.run_dir is None and not names:
        return None
    from toolkit.run.load_run import load_config

    if known.run_dir is not None:
        config = load_config(None, overrides, known.run_dir)
    else:
        config = None
        for name in names:
            try:
                config = load_config(name, overrides)
                break
            except ToolkitError:
                if name == names[-1]:
                    config = load_config(names[0], overrides)  # raises the error of the first
    config.use_plugins(known.plugin)
    return find_predictor(config)


def find_predictor(config: Config) -> type[Predictor] | None:
    """Finds the predictor of the system of a config.

    Returns:
        None if it has a system without a predictor.
    Raises:
        ToolkitError: it names no system.
    """
    from toolkit.config.checks.check import fill_checked
    from toolkit.errors import RegistryError
    from toolkit.registry import PREDICTORS, SYSTEMS

    model = config.tree.get('model')
    try:
        system = SYSTEMS.get(str(model.get('type'))) if isinstance(model, dict) else None
    except RegistryError:
        system = None
    if system is None:
        fill_checked(config)  # raises an error with file and line
        return None
    return PREDICTORS.find_for(system)
