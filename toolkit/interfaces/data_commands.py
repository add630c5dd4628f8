"""Interfaces behind `toolkit split` and `toolkit audit`: splitters and auditors of a task."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class Splitter(ABC):
    """Splits the items of a manifest into subsets, for `toolkit split`.

    The docstring of a class is its description in `toolkit split --help`.

    Attributes:
        items: plural noun of the items, for messages: 'images'.
        columns: a manifest of such items has at least one of these columns.
        suffix: end of the name of the output, after that of the manifest.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.SplitterContract'
    items: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task beside --seed, --output, --overwrite, --outside."""

    @classmethod
    def accepts(cls, columns: Sequence[str], arguments: argparse.Namespace) -> bool:
        """Tells whether a manifest lists such items.

        Args:
            columns: of the manifest.
            arguments: of the command line; those that are not given may be absent.
        """
        return any(column in columns for column in cls.columns)

    @abstractmethod
    def split(self, manifest: Path, output: Path, arguments: argparse.Namespace) -> str:
        """Splits a manifest, writes the split and prints a summary.

        Args:
            manifest: its file.
            output: file to write.
            arguments: of the command line, with the defaults of those that are not given.
        Returns:
            The digest of the output.
        Raises:
            ToolkitError: a manifest or arguments that cannot be used.
            RunError: the output cannot be written.
        """


class Auditor(ABC):
    """Audits data of one kind, for `toolkit audit`.

    The docstring of a class is its description in `toolkit audit --help`.

    Attributes:
        items: plural noun of the items, for messages: 'images'.
        formats: what it takes, for messages: 'a manifest with a column image'.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.AuditorContract'
    items: ClassVar[str]
    formats: ClassVar[str]

    @classmethod
    @abstractmethod
    def accepts(cls, paths: Sequence[str]) -> bool:
        """Tells by names and headers whether data are of this kind; they need not exist.

        Args:
            paths: words of the command line, with the paths of the data among them.
        """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task beside --json and --overwrite."""

    @abstractmethod
    def audit(self, paths: Sequence[str], arguments: argparse.Namespace) -> int:
        """Audits data, prints the findings and writes the outputs.

        Args:
            paths: of the data.
            arguments: of the command line.
        Returns:
            The exit status.
        Raises:
            ToolkitError: data or arguments that cannot be used.
        """
