"""`toolkit card`: a model card of a run, made of what the run itself has left behind."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.classification.reporting.card_limits import limits
from plugins.classification.reporting.clinical_report_hook import NOTE
from plugins.classification.reporting.clinical_text import markdown
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command
from toolkit.run import capsule

NAME = 'MODEL_CARD.md'
# Of what a data set is given, what says which images it holds and how they are made.
TOLD = ('type', 'manifest', 'folder', 'file', 'part', 'split', 'size', 'channels', 'fit')
PACKAGES = ('torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'scikit-learn')

Tree = Mapping[str, Any]


@COMMANDS.register(name='card')
class Card(Command):
    """Write a model card of a classifier's run."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--run', dest='run_dir', type=Path, required=True, metavar='D', help='folder of the run'
        )
        parser.add_argument('--output', type=Path, help=f'the file to write (default: D/{NAME})')

    def run(self, arguments: argparse.Namespace) -> int:
        output = arguments.output or arguments.run_dir / NAME
        if output.is_dir():
            raise ToolkitError(f'the output {output} is a folder; give a file: {output / NAME}')
        atomic_write.write(output, card(arguments.run_dir))
        print(NOTE)
        print(f'wrote {output}')
        return 0


def card(run: Path) -> str:
    """The card as Markdown.

    It says what the run's files say and no more; what they do not say is named as missing.

    Args:
        run: folder of a run.
    Raises:
        ToolkitError: it holds no run of a classifier, or one of its files is damaged.
    """
    record = capsule.read(run)
    config = record.get('config') or {}
    model = config.get('model') or {}
    if not isinstance(model.get('tasks'), Mapping):
        raise ToolkitError(
            f'{run} trains a {model.get("type", "system of no known type")} without tasks; a model '
            'card is of a classifier'
        )
    tested, clinical = _read(run / 'metrics.json'), _read(run / 'clinical.json')
    parts = {
        'What it is': _what(model),
        'Intended use': _use(),
        'Data': _data(config, record, tested),
        'Training': _training(run, config, record),
        'Results': _results(tested, clinical),
        'Calibration and threshold': _calibration(clinical),
        'Limits': limits(config, record, _items(tested), clinical),
        'Files': _files(run),
    }
    lines = [f'# Model card: {run.absolute().name}', '', f'**{NOTE}**']
    for title, body in parts.items():
        lines += ['', f'## {title}', '', *body]
    return '\n'.join(lines) + '\n'


# -- sections --------------------------------------------------------------------------------------


def _what(model: Tree) -> Iterator[str]:
    branches = {k: v for k, v in (model.get('branches') or {}).items() if v}
    yield f'A {model.get("type")} that looks at an image once and answers for each task:'
    yield from _table(
        ['task', 'classes', 'positive class'],
        [
            [name, ', '.join(map(str, task['classes'])), task.get('positive') or 'none is named']
            for name, task in model['tasks'].items()
        ],
    )
    yield ''
    size, channels = model.get('size', 224), model.get('in_channels', 3)
    yield f'Images: {size} x {size} pixels, {channels} channels, values in [0, 1].'
    yield from _table(
        ['part', 'type', 'arguments'],
        [
            *([f'branch {name}', *_part(node)] for name, node in branches.items()),
            *(
                [name, *_part(model[name])]
                for name in ('neck', 'attention', 'trunk', 'head', 'task_weighting')
                if model.get(name)
            ),
            *(
                [f'loss {name}', *_part(node)]
                for name, node in (model.get('losses') or {}).items()
                if node
            ),
        ],
    )


def _use() -> Iterator[str]:
    yield (
        'Research on methods of classification. It is not meant for diagnosis, triage or any other '
        'decision about a person, and has not been cleared or evaluated for that.'
    )


def _data(config: Tree, record: Tree, tested: Tree | None) -> Iterator[str]:
    rows = []
    for role in ('train', 'val', 'test'):
        node = (config.get(f'{role}_dataloader') or {}).get('dataset')
        if node:
            told = {key: node[key] for key in TOLD if node.get(key) is not None}
            fingerprint = (record.get('data') or {}).get(role) or 'missing'
            rows.append([role, told.pop('type', '?'), _inline(told), fingerprint])
    if rows:
        yield from _table(['part', 'data set', 'arguments', 'fingerprint'], rows)
    else:
        yield 'Missing: the config names no data.'
    yield ''
    items = _items(tested)
    if not items:
        yield 'Counts of the test data: missing, as the run has no rows of ClinicalMetrics.'
    else:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        yield f'Test data: {len(items)} images of {len(patients)} patients.'
        centres: dict[str, int] = {}
        for row in items.values():
            centre = row.get('centre') or 'not known'
            centres[centre] = centres.get(centre, 0) + 1
        yield from _table(['centre', 'test images'], [[k, n] for k, n in sorted(centres.items())])
        yield ''
        yield 'Where a patient is not known, an image counts as one of its own.'
    yield ''
    yield "Counts of the training and validation data are not among the run's files."


def _training(run: Path, config: Tree, record: Tree) -> Iterator[str]:
    git = record.get('git') or {}
    hardware = record.get('hardware') or {}
    packages = record.get('packages') or {}
    wrapper = config.get('optim_wrapper') or {}
    schedule = config.get('train_cfg') or {}
    length = ', '.join(f'{k} {v}' for k, v in schedule.items() if v is not None)
    code = git.get('commit', 'missing')
    if git.get('dirty'):
        code += ', with changes that were not committed (diff.patch)'
    facts = {
        'status': record.get('status', 'missing'),
        'length': length or 'missing',
        'optimizer': _inline(wrapper.get('optimizer')) if wrapper.get('optimizer') else 'missing',
        'seed': record.get('seed', 'missing'),
        'code': code,
        'toolkit': record.get('toolkit', 'missing'),
        'packages': ', '.join(f'{k} {packages[k]}' for k in PACKAGES if k in packages) or 'missing',
        'precision': (config.get('runtime') or {}).get('precision', 'fp32'),
        'device': f'{record.get("device", "missing")}; {hardware.get("cpu", "CPU not recorded")}'
        + ''.join(f'; {gpu}' for gpu in hardware.get('gpus') or []),
        'started, ended': f'{record.get("started", "missing")}, {record.get("ended") or "missing"}',
        'resumed': len(record.get('resumed') or []),
        'whole config': 'config.yaml' if (run / 'config.yaml').exists() else 'missing',
    }
    yield from _table(['', ''], [[name, value] for name, value in facts.items()])


def _results(tested: Tree | None, clinical: Tree | None) -> Iterator[str]:
    if tested is None:
        yield 'Missing: the run has not been tested (`toolkit test --run D`).'
        return
    at = tested.get('iter')
    yield f'Of the checkpoint {Path(str(tested.get("checkpoint"))).name}' + (
        f', iteration {at}.' if at is not None else '.'
    )
    if clinical is not None:
        # Its own heads, one level down.
        lines = markdown(clinical).splitlines()[3:]
        yield from (f'#{line}' if line.startswith('#') else line for line in lines)
        return
    yield from _table(
        ['metric', 'value', 'better'],
        [
            [name, 'not defined' if value is None else f'{value:.4f}',
             {True: 'higher', False: 'lower'}.get((tested.get('directions') or {}).get(name), '')]
            for name, value in (tested.get('metrics') or {}).items()
        ],
    )  # fmt: skip
    yield ''
    yield 'Intervals, subgroups: missing, as the test had no ClinicalReport hook.'


def _calibration(clinical: Tree | None) -> Iterator[str]:
    if clinical is None:
        yield 'Missing: there is no clinical.json.'
        return
    rows = []
    for name, task in clinical['tasks'].items():
        found = task['calibration']
        error = [found[when]['ECE']['value'] for when in ('before', 'after')]
        told = ['-' if value is None else f'{value:.3f}' for value in error]
        rows.append(
            [name, _number(task['temperature']), _number(task['threshold']), task['chosen'], *told]
        )
    head = ['task', 'temperature', 'threshold', 'chosen', 'ECE before', 'ECE after']
    yield from _table(head, rows)


def _files(run: Path) -> Iterator[str]:
    best = checkpoint.best_or_last(run)
    rows = []
    if best is not None:
        digest = hashlib.sha256(best.read_bytes()).hexdigest()
        rows.append([f'`{best.relative_to(run)}`', f'weights, SHA-256 `{digest}`'])
    for name, what in (
        ('config.yaml', 'the whole config'),
        ('capsule.json', 'code, data, packages, hardware'),
        ('metrics.json', 'metrics, and predictions for each test image'),
        ('clinical.json', 'all values with their intervals'),
        ('figures', 'figures of the test'),
        ('pictures', 'Grad-CAM and attention of test images'),
    ):
        rows.append([f'`{name}`', what if (run / name).exists() else f'missing ({what})'])
    yield from _table(['file', ''], rows)


# -- reading and writing ---------------------------------------------------------------------------


def _read(path: Path) -> Tree | None:
    """A JSON file of the run; None where there is none."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ToolkitError(f'{path} is damaged: {error}; test the run again') from error
    if not isinstance(record, dict):
        raise ToolkitError(f'{path} is damaged: it holds no mapping; test the run again')
    return record


def _items(tested: Tree | None) -> dict[str, Tree]:
    """Test images by id, from the rows of whatever metric keeps them."""
    found: dict[str, Tree] = {}
    for rows in ((tested or {}).get('rows') or {}).values():
        for row in rows:
            if 'id' in row and 'patient' in row:
                found.setdefault(str(row['id']), row)
    return found


def _part(node: Any) -> list[str]:
    node = dict(node)
    return [str(node.pop('type', '?')), _inline(node)]


def _inline(node: Any) -> str:
    """A piece of config in one line."""
    if not isinstance(node, Mapping):
        return json.dumps(node, ensure_ascii=False)
    plain = (bool, int, float, str, type(None))
    return ', '.join(
        f'{key} {value if isinstance(value, plain) else json.dumps(value, ensure_ascii=False)}'
        for key, value in node.items()
    )


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield ''
    for row in (head, ['---'] * len(head), *rows):
        cells = (str(cell).replace('|', '\\|').replace('\n', ' ') for cell in row)
        yield '| ' + ' | '.join(cells) + ' |'
