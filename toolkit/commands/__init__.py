"""The built-in commands, one module each; plugins register further ones."""

from __future__ import annotations

from toolkit.commands.bench import BenchCommand
from toolkit.commands.check import CheckCommand
from toolkit.commands.check_component import CheckComponentCommand
from toolkit.commands.diff import DiffCommand
from toolkit.commands.list import ListCommand
from toolkit.commands.predict import PredictCommand
from toolkit.commands.report import ReportCommand
from toolkit.commands.rerun import RerunCommand
from toolkit.commands.schema import SchemaCommand
from toolkit.commands.show import ShowCommand
from toolkit.commands.split import SplitCommand
from toolkit.commands.study import StudyCommand
from toolkit.commands.test import TestCommand
from toolkit.commands.train import TrainCommand
from toolkit.registry.command import Command

BUILTIN_COMMANDS: dict[str, type[Command]] = {
    'train': TrainCommand,
    'test': TestCommand,
    'predict': PredictCommand,
    'check': CheckCommand,
    'check-component': CheckComponentCommand,
    'show': ShowCommand,
    'schema': SchemaCommand,
    'diff': DiffCommand,
    'split': SplitCommand,
    'list': ListCommand,
    'report': ReportCommand,
    'rerun': RerunCommand,
    'study': StudyCommand,
    'bench': BenchCommand,
}
