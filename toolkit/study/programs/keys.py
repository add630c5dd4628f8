"""Keys of a study file that describe a foreign program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

OverrideStyle = Literal['argparse', 'equals', 'hydra', 'json', 'yaml']
# Styles that write a file, whose path stands in place of {overrides}.
FILE_STYLES = ('json', 'yaml')


@dataclass
class ResultsSpec:
    """The place of a program's metrics: one of the files in {run}, or its output.

    Without any of them the program calls `toolkit.report_metrics`.

    Args:
        json: file with one object.
        jsonl: file with an object per line; the last value of each metric counts.
        csv: table with a header; the last value of each metric counts.
        log: regular expression over the output by metric, with one group; its last match counts.
        keys: key or column of a metric that has another name in the file; dots go into mappings.
    """

    json: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    log: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> str | None:
        return self.json or self.jsonl or self.csv


@dataclass
class ProgramSpec:
    """The way in which a study speaks with its program.

    Args:
        overrides: form of the overrides: `--a b`, `--a=b`, Hydra's `a.b=c`, or a file whose path
            stands in place of {overrides}.
        results: place of the metrics.
        files: files and folders whose content decides the result, beside those that the command
            names.
        resume: True if the program, started again, continues from what it finds in {run}; text of
            further arguments for that start; False to begin anew in an empty {run}.
        directory: folder in which it runs, relative to the study file.
        environment: environment variables.
    """

    overrides: OverrideStyle = 'argparse'
    results: ResultsSpec = field(default_factory=ResultsSpec)
    files: list[str] = field(default_factory=list)
    resume: bool | str = False
    directory: str = '.'
    environment: dict[str, Any] = field(default_factory=dict)
