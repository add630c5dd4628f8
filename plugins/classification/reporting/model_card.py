"""Model card of a run as Markdown, from the files of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugins.classification.interfaces import NOTE
from plugins.classification.reporting.clinical_text import format_table, to_markdown
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.run import capsule

NAME = 'MODEL_CARD.md'
# Arguments of a data set that say which images it holds and how they are prepared.
DATA_ARGUMENTS = (
    'type',
    'manifest',
    'folder',
    'file',
    'subset',
    'split',
    'size',
    'channels',
    'fit',
)
PACKAGES = ('torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'scikit-learn')
FEW_PATIENTS, FEW_IMAGES = 100, 10

Tree = Mapping[str, Any]


def make_card(run: Path) -> str:
    """Make the card as Markdown.

    It states the facts of the run's files and no others; it names the facts that are missing.

    Args:
        run: folder of a run.
    Raises:
        ToolkitError: the folder holds no run of a classifier, or one of its files is damaged.
    """
    record = capsule.read(run)
    config = record.get('config') or {}
    model = config.get('model') or {}
    if not isinstance(model.get('tasks'), Mapping):
        raise ToolkitError(
            f'{run} holds a run of {model.get("type", "an unknown system")} without model.tasks; a '
            'model card is of a classifier'
        )
    tested, clinical = _read_json(run / 'metrics.json'), _read_json(run / 'clinical.json')
    parts = {
        'Model': _describe_model(model),
        'Intended use': _describe_use(),
        'Data': _describe_data(config, record, tested),
        'Training': _describe_training(run, config, record),
        'Results': _describe_results(tested, clinical),
        'Calibration and threshold': _describe_calibration(clinical),
        'Limits': _describe_limits(config, record, _read_items(tested), clinical),
        'Files': _list_files(run),
    }
    lines = [f'# Model card: {run.absolute().name}', '', f'**{NOTE}**']
    for title, body in parts.items():
        lines += ['', f'## {title}', '', *body]
    return '\n'.join(lines) + '\n'


# -- sections --------------------------------------------------------------------------------------


def _describe_model(model: Tree) -> Iterator[str]:
    branches = {k: v for k, v in (model.get('branches') or {}).items() if v}
    yield f'A {model.get("type")} that predicts from an image, for each task:'
    yield from format_table(
        ['task', 'classes', 'positive class'],
        [
            [name, ', '.join(map(str, task['classes'])), task.get('positive') or 'none is named']
            for name, task in model['tasks'].items()
        ],
    )
    yield ''
    size, channels = model.get('size', 224), model.get('in_channels', 3)
    yield f'Images: {size} x {size} pixels, {channels} channels, values in [0, 1].'
    yield from format_table(
        ['component', 'type', 'arguments'],
        [
            *([f'branch {name}', *_describe_component(node)] for name, node in branches.items()),
            *(
                [name, *_describe_component(model[name])]
                for name in ('neck', 'attention', 'trunk', 'head', 'task_weighting')
                if model.get(name)
            ),
            *(
                [f'loss {name}', *_describe_component(node)]
                for name, node in (model.get('losses') or {}).items()
                if node
            ),
        ],
    )


def _describe_use() -> Iterator[str]:
    yield (
        'Research on methods of classification. It is not meant for diagnosis, triage or any other '
        'decision about a person, and has not been cleared or evaluated for that.'
    )


def _describe_data(config: Tree, record: Tree, tested: Tree | None) -> Iterator[str]:
    rows = []
    for subset in ('train', 'val', 'test'):
        node = (config.get(f'{subset}_dataloader') or {}).get('dataset')
        if node:
            arguments = {key: node[key] for key in DATA_ARGUMENTS if node.get(key) is not None}
            fingerprint = (record.get('data') or {}).get(subset) or 'missing'
            name = arguments.pop('type', '?')
            rows.append([subset, name, _inline(arguments), fingerprint])
    if rows:
        yield from format_table(['subset', 'data set', 'arguments', 'fingerprint'], rows)
    else:
        yield 'Missing: the config names no data.'
    yield ''
    items = _read_items(tested)
    if not items:
        yield 'Counts of the test data: missing, as the run has no rows of ClinicalMetrics.'
    else:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        yield f'Test data: {len(items)} images of {len(patients)} patients.'
        centres: dict[str, int] = {}
        for row in items.values():
            centre = row.get('centre') or 'not known'
            centres[centre] = centres.get(centre, 0) + 1
        yield from format_table(
            ['centre', 'test images'], [[k, n] for k, n in sorted(centres.items())]
        )
        yield ''
        yield 'An image of an unknown patient counts as a patient of its own.'
    yield ''
    yield "Counts of the training and validation data are not among the run's files."


def _describe_training(run: Path, config: Tree, record: Tree) -> Iterator[str]:
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
    yield from format_table(['', ''], [[name, value] for name, value in facts.items()])


def _describe_results(tested: Tree | None, clinical: Tree | None) -> Iterator[str]:
    if tested is None:
        yield 'Missing: the run has not been tested (`toolkit test --run D`).'
        return
    at = tested.get('iter')
    yield f'Of the checkpoint {Path(str(tested.get("checkpoint"))).name}' + (
        f', iteration {at}.' if at is not None else '.'
    )
    if clinical is not None:
        # Its headings go one level down.
        lines = to_markdown(clinical).splitlines()[3:]
        yield from (f'#{line}' if line.startswith('#') else line for line in lines)
        return
    yield from format_table(
        ['metric', 'value', 'better'],
        [
            [name, 'not defined' if value is None else f'{value:.4f}',
             {True: 'higher', False: 'lower'}.get((tested.get('directions') or {}).get(name), '')]
            for name, value in (tested.get('metrics') or {}).items()
        ],
    )  # fmt: skip
    yield ''
    yield 'Intervals, subgroups: missing, as the test had no ClinicalReport hook.'


def _describe_calibration(clinical: Tree | None) -> Iterator[str]:
    if clinical is None:
        yield 'Missing: there is no clinical.json.'
        return
    rows = []
    for name, task in clinical['tasks'].items():
        found = task['calibration']
        error = [found[when]['ECE']['value'] for when in ('before', 'after')]
        errors = ['-' if value is None else f'{value:.3f}' for value in error]
        point = [_format_number(task['temperature']), _format_number(task['threshold'])]
        rows.append([name, *point, task['chosen'], *errors])
    head = ['task', 'temperature', 'threshold', 'chosen', 'ECE before', 'ECE after']
    yield from format_table(head, rows)


def _describe_limits(
    config: Tree, record: Tree, items: Mapping[str, Tree], clinical: Tree | None
) -> Iterator[str]:
    """List the weaknesses that the run's files show, one per line.

    Args:
        config: config of the run.
        record: capsule of the run.
        items: test images by id, with `patient` and `centre`.
        clinical: content of `clinical.json`; None if there is none.
    """
    if (status := record.get('status')) != 'finished':
        yield f'- The run is not finished: its status is {status}.'
    data = {k: v for k, v in (record.get('data') or {}).items() if v}
    for one, other in (('train', 'test'), ('val', 'test'), ('train', 'val')):
        if data.get(one) is not None and data.get(one) == data.get(other):
            yield f'- **Leak**: the {one} and the {other} data are the same ({data[one]}).'
    if items:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        if all((row.get('patient') or row['id']) == row['id'] for row in items.values()):
            yield (
                '- Patients are not known: images of one patient may lie in several subsets, and '
                'intervals take each image for a patient.'
            )
        if len(patients) < FEW_PATIENTS:
            yield f'- The test has {len(patients)} patients, so that intervals are wide.'
        if len({row.get('centre') or '' for row in items.values()}) == 1:
            yield '- The test images are of one centre, or of none that is known.'
    for name, task in ((clinical or {}).get('tasks') or {}).items():
        counts = task['counts']
        if counts['missing_labels']:
            yield f'- {name}: {counts["missing_labels"]} test images have no label.'
        for label, number in counts['by_class'].items():
            if number['images'] < FEW_IMAGES:
                yield f'- {name}: the test has {number["images"]} images of {label}.'
        if task['threshold'] is not None and str(task['chosen']).startswith('the defaults'):
            yield f'- {name}: threshold and temperature were not chosen on validation data.'
    if config.get('val_dataloader') is None:
        yield '- There was no validation data.'
    yield '- One run of one seed: another seed may give another result.'
    yield (
        '- Tested on data of the same source as the training unless the data above say otherwise; '
        'other scanners, centres and populations may give other results.'
    )
    yield (
        "- Duplicates and leaks between the subsets: no audit is among the run's files "
        '(`toolkit audit MANIFEST` makes one).'
    )


def _list_files(run: Path) -> Iterator[str]:
    best = checkpoint.find_best_or_last(run)
    rows = []
    if best is not None:
        digest = hashlib.sha256(best.read_bytes()).hexdigest()
        rows.append([f'`{best.relative_to(run)}`', f'weights, SHA-256 `{digest}`'])
    for name, content in (
        ('config.yaml', 'the whole config'),
        ('capsule.json', 'code, data, packages, hardware'),
        ('metrics.json', 'metrics, and predictions for each test image'),
        ('clinical.json', 'all values with their intervals'),
        ('figures', 'figures of the test'),
        ('pictures', 'Grad-CAM and attention of test images'),
    ):
        there = (run / name).exists()
        rows.append([f'`{name}`', content if there else f'missing ({content})'])
    yield from format_table(['file', ''], rows)


# -- reading and writing ---------------------------------------------------------------------------


def _read_json(path: Path) -> Tree | None:
    """Read a JSON file of the run; None if it is missing."""
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ToolkitError(f'{path} is damaged: {error}; test the run again') from error
    if not isinstance(record, dict):
        raise ToolkitError(
            f'{path} is damaged: expected a mapping, found {type(record).__name__}; test the run '
            'again'
        )
    return record


def _read_items(tested: Tree | None) -> dict[str, Tree]:
    """Read the test images by id from the rows of the metrics that keep them."""
    found: dict[str, Tree] = {}
    for rows in ((tested or {}).get('rows') or {}).values():
        for row in rows:
            if 'id' in row and 'patient' in row:
                found.setdefault(str(row['id']), row)
    return found


def _describe_component(node: Any) -> list[str]:
    node = dict(node)
    return [str(node.pop('type', '?')), _inline(node)]


def _inline(node: Any) -> str:
    """Format a part of a config in one line."""
    if not isinstance(node, Mapping):
        return json.dumps(node, ensure_ascii=False)
    plain = (bool, int, float, str, type(None))
    return ', '.join(
        f'{key} {value if isinstance(value, plain) else json.dumps(value, ensure_ascii=False)}'
        for key, value in node.items()
    )


def _format_number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'
