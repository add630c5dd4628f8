"""Facts of a run by name, which items of reporting standards ask for."""

from __future__ import annotations

from collections.abc import Callable

from plugins.classification.reporting.standards import data_facts, model_facts, result_facts
from plugins.classification.reporting.standards.run_files import RunFiles

PREFIX = 'describe_'


def list_facts() -> list[str]:
    """Lists the names of all facts."""
    return [name for name, _ in _list_functions()]


def collect_facts(run: RunFiles) -> dict[str, str]:
    """Collects the facts of a run, those that its files know."""
    found = {name: describe(run) for name, describe in _list_functions()}
    return {name: text for name, text in found.items() if text}


def _list_functions() -> list[tuple[str, Callable[[RunFiles], str]]]:
    return [
        (name.removeprefix(PREFIX), function)
        for module in (data_facts, model_facts, result_facts)
        for name, function in vars(module).items()
        if name.startswith(PREFIX) and function.__module__ == module.__name__
    ]
