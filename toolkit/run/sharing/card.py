"""The card of a shared run: Markdown under the front matter that model hubs read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from toolkit.config.load import Config
from toolkit.engine import checkpoint
from toolkit.interfaces import System
from toolkit.io.run_layout import METRICS_FILE, PATCH, TestRecord, read_object
from toolkit.io.tables.formatting import escape_markdown, format_markdown_table
from toolkit.registry import SYSTEMS
from toolkit.run import capsule
from toolkit.run.load_run import load_config
from toolkit.run.sharing.manifest import LAST_WEIGHTS, TESTED_WEIGHTS

LIBRARY = 'ablakit'


def make_card(
    run: Path, title: str, source: str, license_: str | None = None, *, with_patch: bool = False
) -> str:
    """Makes the card of a run.

    Args:
        run: folder of the run.
        title: name of the shared run.
        source: that `toolkit pull` gets it from.
        license_: identifier of its license.
        with_patch: the changes of code that were not committed are shared too.
    Raises:
        ToolkitError: a record is damaged, or plugins are not trusted.
    """
    config = load_config(None, run_dir=run)
    config.use_plugins()
    system: type[System] = SYSTEMS.get(str(config.tree['model']['type']))
    record = capsule.read(run)
    path = run / METRICS_FILE
    content = read_object(path) or {}
    test = TestRecord.parse(content, path)
    weights = _find_tested(run, content)
    # The index of a hub states results of the model itself, and not of other weights.
    own = test if weights == TESTED_WEIGHTS else TestRecord()
    front = _make_front_matter(title, system, config, own, license_)
    parts = [
        f'---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---',
        f'# {escape_markdown(title)}',
        f'A `{system.__name__}` that was trained with [Ablakit](https://pypi.org/project/ablakit/) '
        f'{record["toolkit"]}.' + (f' {system.note}' if system.note else ''),
        *_explain_use(title, source, record),
        *_show_results(weights, content, test),
        *_show_training(record, with_patch and (run / PATCH).exists()),
    ]
    return '\n\n'.join(parts) + '\n'


def _find_tested(run: Path, content: Mapping[str, Any]) -> str:
    """Finds the shared weights that `metrics.json` is of; '' if it is of others."""
    folder = checkpoint.get_folder(run)
    tested = folder / Path(str(content.get('checkpoint'))).name
    if tested.name not in (checkpoint.BEST, checkpoint.LAST) or not tested.exists():
        return ''
    # A test may have taken weights of the same name from another folder.
    if (checkpoint.load(tested).get('meta') or {}).get('iter') != content.get('iter'):
        return ''
    return TESTED_WEIGHTS if tested == checkpoint.find_best_or_last(run) else LAST_WEIGHTS


def _make_front_matter(
    title: str, system: type[System], config: Config, test: TestRecord, license_: str | None
) -> dict[str, Any]:
    """Makes the front matter. Source: hub documentation, "Model Cards", model-index."""
    front: dict[str, Any] = {'library_name': LIBRARY}
    if license_:
        front['license'] = license_
    if system.pipeline_tag:
        front['pipeline_tag'] = system.pipeline_tag
    front['tags'] = [LIBRARY, _slug(system.__name__)]
    metrics = [
        {'type': name, 'name': name, 'value': value}
        for name, value in test.metrics.items()
        if value is not None
    ]
    dataset = ((config.tree.get('test_dataloader') or {}).get('dataset') or {}).get('type')
    if metrics and dataset and system.pipeline_tag:
        front['model-index'] = [
            {
                'name': title,
                'results': [
                    {
                        'task': {'type': system.pipeline_tag},
                        'dataset': {'type': _slug(str(dataset)), 'name': str(dataset)},
                        'metrics': metrics,
                    }
                ],
            }
        ]
    return front


def _explain_use(title: str, source: str, record: Mapping[str, Any]) -> list[str]:
    path = f'runs/{title}'
    folder = shlex.quote(path)
    parts = [
        '## Use',
        f'```console\n$ pip install "ablakit[hub]"\n$ toolkit pull {shlex.quote(source)} {folder}\n'
        f'$ toolkit predict --run {folder} --help\n$ toolkit test --run {folder}\n'
        f'$ toolkit rerun {folder}\n```',
        f'```python\nimport toolkit\n\nrun = toolkit.load_run({path!r})\n'
        'print(run.help_predict())\n```',
    ]
    copies = [entry for entry in record.get('plugins') or [] if entry['copy']]
    if copies:
        named = ', '.join(f'`{entry["copy"]}` (sha256 {entry["sha256"][:12]})' for entry in copies)
        parts.append(
            f'It brings plugins, which are code: {named}. Read them first; commands run them only '
            'with `--trust`.'
        )
    return parts


def _show_results(weights: str, content: Mapping[str, Any], test: TestRecord) -> list[str]:
    if not test.metrics:
        return ['## Results', 'It was not tested.']
    rows = [['metric', 'better', 'value']]
    for name, value in test.metrics.items():
        better = {True: 'higher', False: 'lower', None: ''}[test.directions.get(name)]
        rows.append([name, better, 'not finite' if value is None else f'{value:.6g}'])
    tested = f'`{weights}`'
    if not weights:
        tested = f'`{Path(str(content.get("checkpoint"))).name}`, which is not in this folder'
    facts = f'Of {tested}, iteration {content.get("iter")}'
    facts += f'; test data {test.test_data}.' if test.test_data else '.'
    parts = ['## Results', facts, '\n'.join(format_markdown_table(rows, left=2))]
    if test.overlap:
        parts.append(escape_markdown(test.overlap) + '.')
    return parts


def _show_training(record: Mapping[str, Any], has_patch: bool) -> list[str]:
    packages, hardware = record['packages'], record['hardware']
    changed = f', with changes ({PATCH if has_patch else "not in this folder"})'
    facts = {
        'seed': record['seed'],
        'began': record['started'],
        'ended': record['ended'],
        'device': ', '.join(hardware['gpus']) if 'cuda' in record['device'] else hardware['cpu'],
        'processes, threads': f'{record["processes"]}, {record["threads"]}',
        'Python, torch': f'{record["python"]}, {packages.get("torch", "unknown")}',
        'code': record['git'].get('commit', 'as installed')
        + (changed if record['git'].get('dirty') else ''),
        **{f'{subset} data': value for subset, value in (record['data'] or {}).items()},
    }
    rows = [['training', ''], *([name, str(value)] for name, value in facts.items())]
    return [
        '## Training',
        '\n'.join(format_markdown_table(rows, left=2)),
        '`config.yaml` is the whole config, and `capsule.json` the record of how the run was made. '
        'Data is named by its hash, and is not part of this folder.',
    ]


def _slug(name: str) -> str:
    """Makes a tag of a class name: 'WholeScene' -> 'whole-scene'."""
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '-', name).lower()
