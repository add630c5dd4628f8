"""The built-in commands, one module each; plugins register further ones."""

from __future__ import annotations

from toolkit.commands.audit import AuditCommand
from toolkit.commands.bench import BenchCommand
from toolkit.commands.check_component import CheckComponentCommand
from toolkit.commands.completion.command import CompletionCommand
from toolkit.commands.config.check import CheckCommand
from toolkit.commands.config.diff import DiffCommand
from toolkit.commands.config.import_config import ImportCommand
from toolkit.commands.config.schema import SchemaCommand
from toolkit.commands.config.show import ShowCommand
from toolkit.commands.list import ListCommand
from toolkit.commands.new import NewCommand
from toolkit.commands.report import ReportCommand
from toolkit.commands.run.export import ExportCommand
from toolkit.commands.run.predict import PredictCommand
from toolkit.commands.run.rerun import RerunCommand
from toolkit.commands.run.test import TestCommand
from toolkit.commands.run.train import TrainCommand
from toolkit.commands.sharing.pull import PullCommand
from toolkit.commands.sharing.push import PushCommand
from toolkit.commands.split import SplitCommand
from toolkit.commands.study import StudyCommand
from toolkit.registry.command import Command

BUILTIN_COMMANDS: dict[str, type[Command]] = {
    'train': TrainCommand,
    'test': TestCommand,
    'predict': PredictCommand,
    'export': ExportCommand,
    'check': CheckCommand,
    'check-component': CheckComponentCommand,
    'new': NewCommand,
    'show': ShowCommand,
    'import': ImportCommand,
    'schema': SchemaCommand,
    'completion': CompletionCommand,
    'diff': DiffCommand,
    'split': SplitCommand,
    'audit': AuditCommand,
    'list': ListCommand,
    'report': ReportCommand,
    'rerun': RerunCommand,
    'push': PushCommand,
    'pull': PullCommand,
    'study': StudyCommand,
    'bench': BenchCommand,
}
