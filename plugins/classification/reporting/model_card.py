"""Model card of a run as Markdown, from the files of the run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugins.classification.interfaces import NOTE
from plugins.classification.reporting.card_limits import describe_limits
from plugins.classification.reporting.card_training import (
    describe_training,
    format_inline,
    read_training,
)
from plugins.classification.reporting.clinical.clinical_text import format_table, to_markdown
from plugins.classification.reporting.external_report import NAME as EXTERNAL
from plugins.classification.reporting.external_report import describe_external, format_task
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.tables.formatting import neutralize_markdown
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
    tested, clinical = read_json(run / 'metrics.json'), read_json(run / 'clinical.json')
    external = read_json(run / f'{EXTERNAL}.json')
    trained = read_training(record)
    parts = {
        'Model': _describe_model(model),
        'Intended use': _describe_use(),
        'Data': _describe_data(config, record, trained, tested, external is not None),
        'Training': describe_training(run, config, record, trained),
        **({'External test': _describe_external(external)} if external is not None else {}),
        'Results': _describe_results(tested, clinical),
        'Calibration and threshold': _describe_calibration(clinical),
        'Limits': describe_limits(config, record, trained, read_items(tested), clinical, external),
        'Files': _list_files(run),
    }
    kind = ', an external test' if external is not None else ''
    lines = [f'# Model card: {run.absolute().name}{kind}', '', f'**{NOTE}**']
    for title, body in parts.items():
        lines += ['', f'## {title}', '', *body]
    return neutralize_markdown('\n'.join(lines) + '\n')


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


def _describe_data(
    config: Tree, record: Tree, trained: Tree | None, tested: Tree | None, is_external: bool
) -> Iterator[str]:
    rows = []
    # A test computes the fingerprint of its own data alone.
    fingerprints = {**((trained or {}).get('data') or {}), **(record.get('data') or {})}
    for subset in ('train', 'val', 'test'):
        node = (config.get(f'{subset}_dataloader') or {}).get('dataset')
        if node:
            arguments = {key: node[key] for key in DATA_ARGUMENTS if node.get(key) is not None}
            fingerprint = fingerprints.get(subset) or 'missing'
            name = arguments.pop('type', '?')
            shown = 'test (external)' if is_external and subset == 'test' else subset
            rows.append([shown, name, format_inline(arguments), fingerprint])
    if rows:
        yield from format_table(['subset', 'data set', 'arguments', 'fingerprint'], rows)
    else:
        yield 'Missing: the config names no data.'
    yield ''
    if (tested or {}).get('overlap'):
        yield f'**Not held apart: {tested["overlap"]}.**'
        yield ''
    items = read_items(tested)
    if not items:
        yield 'Counts of the test data: missing, as the run has no rows of ClinicalMetrics.'
    else:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        kind = 'External test' if is_external else 'Test'
        yield f'{kind} data: {len(items)} images of {len(patients)} patients.'
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


def _describe_external(external: Tree) -> Iterator[str]:
    yield from describe_external(external)
    for name, task in external['tasks'].items():
        yield from ['', f'### {name}, beside the internal test', *format_task(task)]


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


def read_json(path: Path) -> Tree | None:
    """Read a JSON file of the run; None if it is missing."""
    if not path.exists():
        return None
    try:
        record = parse_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ToolkitError(f'{path} is damaged: {error}; test the run again') from error
    if not isinstance(record, dict):
        raise ToolkitError(
            f'{path} is damaged: expected a mapping, found {type(record).__name__}; test the run '
            'again'
        )
    return record


def read_items(tested: Tree | None) -> dict[str, Tree]:
    """Read the test images by id from the rows of the metrics that keep them."""
    found: dict[str, Tree] = {}
    for rows in ((tested or {}).get('rows') or {}).values():
        for row in rows:
            if 'id' in row and 'patient' in row:
                found.setdefault(str(row['id']), row)
    return found


def _describe_component(node: Any) -> list[str]:
    node = dict(node)
    return [str(node.pop('type', '?')), format_inline(node)]


def _format_number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'
