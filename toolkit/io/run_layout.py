"""Files of a run and of a study: their names, and reading of their metrics.

Imports nothing heavy: tables, the supervisor of a study's processes and tools of other machines
read these files without torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json

# In the folder of a run.
CAPSULE = 'capsule.json'
CONFIG = 'config.yaml'
ORIGINS = 'origins.json'
PATCH = 'diff.patch'
METRICS_FILE = 'metrics.json'
METRICS_LOG = 'metrics.jsonl'
VALIDATIONS = 'validations.json'
IDENTITIES = 'identities.json'
TRAIN_LOG = 'train.log'
TEST_LOG = 'test.log'
CHECKPOINTS = 'checkpoints'
LAST_CHECKPOINT = 'last.pth'
BEST_CHECKPOINT = 'best.pth'
IMAGES = 'pictures'
PLUGINS = 'plugins'
TENSORBOARD = 'tensorboard'
# Names of a run in the stores of its trackers.
TRACKERS = 'trackers.json'
LOCK = '.lock'
# Also in the folder of a run that a study has started.
STATUS = 'status.json'
OUTPUT = 'output.log'
# In the folder of a study.
PLAN = 'plan.json'
INPUTS = 'inputs.json'
STUDY = 'study.yaml'
RUNS = 'runs'
# The HTML report of a study or a run.
REPORT = 'report.html'


def list_run_files(folder: Path) -> list[Path]:
    """Lists the existing files of a run, or of a study and its runs, that commands read.

    Reports and other results that a command has written into the folder are left out.
    """
    names = (CAPSULE, CONFIG, ORIGINS, PATCH, METRICS_FILE, METRICS_LOG, TRAIN_LOG, TEST_LOG)
    names += (IDENTITIES, STATUS, OUTPUT, PLAN, INPUTS, STUDY, VALIDATIONS)
    files = [folder / name for name in names if (folder / name).is_file()]
    for name in (CHECKPOINTS, IMAGES, PLUGINS):
        files += sorted(path for path in (folder / name).rglob('*') if path.is_file())
    runs = folder / RUNS
    for run in sorted(runs.iterdir()) if runs.is_dir() else ():
        files += list_run_files(run)
    return files


def read_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file; None where there is no file.

    Raises:
        ToolkitError: the file cannot be read, or holds something else.
    """
    try:
        content = parse_json(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ToolkitError(f'cannot read {path}: {error.strerror}') from error
    except ValueError as error:
        raise ToolkitError(f'{path} is damaged: {error}') from error
    if not isinstance(content, dict):
        raise ToolkitError(f'{path} is damaged: expected an object')
    return content


@dataclass(frozen=True)
class TestRecord:
    """Content of `metrics.json` beside its rows.

    Attributes:
        metrics: values by name, None where one is not finite; empty before the test.
        directions: for each metric whether higher is better.
        overlap: what training, validation and test hold in common, and why; '' if nothing.
        test_data: hash of the data that was tested on; '' if unknown.
    """

    __test__ = False  # a name that pytest would collect

    metrics: Mapping[str, float | None] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)
    overlap: str = ''
    test_data: str = ''

    @classmethod
    def read(cls, folder: Path) -> TestRecord:
        """Read the record of a run's test, all of it from one version of the file.

        Raises:
            ToolkitError: the file is damaged.
        """
        path = folder / METRICS_FILE
        return cls.parse(read_object(path) or {}, path)

    @classmethod
    def parse(cls, record: Mapping[str, Any], path: Path) -> TestRecord:
        """Parse the content of a file.

        Raises:
            ToolkitError: the file is damaged.
        """
        try:
            metrics = {
                str(name): None if value is None or not math.isfinite(value) else float(value)
                for name, value in record.get('metrics', {}).items()
            }
            better = {str(n): bool(value) for n, value in record.get('directions', {}).items()}
            if not isinstance(record.get('rows') or {}, dict):
                raise TypeError('rows is no mapping')
            texts = {name: record.get(name, '') for name in ('overlap', 'test_data')}
            for name, text in texts.items():
                if not isinstance(text, str):
                    raise TypeError(f'{name} is no text')
        except (TypeError, ValueError, AttributeError) as error:
            raise ToolkitError(f'{path} is damaged: {error}') from error
        return cls(metrics, better, **texts)


def explain_damage(error: Exception) -> str:
    """Describe an error of reading a record in one line."""
    return f'no {error} in it' if isinstance(error, KeyError) else str(error)
