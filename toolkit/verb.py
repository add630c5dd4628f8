"""What a plugin's verb promises: `toolkit NAME ...` for something that only its task does."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod


class Verb(ABC):
    """A verb of the command line, registered under its name: `@VERBS.register(name='evaluate')`.

    The first line of the class's docstring is its help in `toolkit --help`, read without importing
    the plugin.
    """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""

    @abstractmethod
    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit status. Mistakes of the user are `toolkit.errors`."""
