"""The page of GPU measurements: targets, tables and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.io import atomic_write

TITLES = {
    'tests': 'Tests',
    'device': 'The device, and what the engine costs on it',
    'ldpnet': 'LDP-Net',
    'scene': 'One scene: trained and sharpened',
    'classifier': 'CSASN and its two branches',
    'schedule': 'LDP-Net at its whole published schedule',
    'finetune': 'CSASN fine-tuned on BreastMNIST',
}


def write_report(record: Mapping[str, Any], path: Path, order: Sequence[str]) -> None:
    """Write the Markdown page of a record.

    Args:
        record: of `toolkit bench gpu`.
        path: of the page.
        order: of the parts.
    Raises:
        RunError: it cannot be written.
    """
    atomic_write.write(path, page(record, order))


def page(record: Mapping[str, Any], order: Sequence[str]) -> str:
    """The Markdown page of a record."""
    parts = [(name, record['parts'].get(name, {'status': 'not started'})) for name in order]
    lines = ['# Measured on a GPU', '', *_device(record), '']
    targets = [target for _, part in parts for target in part.get('targets', [])]
    if targets:
        lines += ['## Targets', '', '| target | found | |', '|---|---|---|']
        for t in targets:
            lines.append(
                f'| {t["target"]} | {t["found"]} | {"reached" if t["reached"] else "**missed**"} |'
            )
        lines.append('')
    for name, part in parts:
        lines += _part(name, part)
    return '\n'.join(lines).rstrip() + '\n'


def _device(record: Mapping[str, Any]) -> list[str]:
    device = record['device']
    packages = ', '.join(f'{k} {v}' for k, v in device['packages'].items() if v)
    memory = f', {device["memory_gib"]} GiB' if 'memory_gib' in device else ''
    lines = [
        f'One {device["name"]}{memory}, {device["cores"]} CPU cores, {device["date"]}; Python '
        f'{device["python"]}, {packages}'
        + (f', CUDA {device["cuda"]}.' if device.get('cuda') else '.'),
        '',
        'This page is made by `make gpu-check` (or `toolkit bench gpu`) on a machine with a GPU',
        'and `toolkit bench gpu-report gpu.json` anywhere. Times are medians, taken with events on',
        'the GPU; float32 is without TF32 unless a row says otherwise.',
    ]
    if record.get('small'):
        lines += [
            '',
            '**Made with small sizes, to try the measurements: no figure means anything.**',
        ]
    return lines


def _part(name: str, part: Mapping[str, Any]) -> list[str]:
    lines = [f'## {TITLES.get(name, name)}', '']
    if part['status'] == 'not started':
        return [*lines, 'Not measured: the time was over before.', '']
    if part['status'] == 'cut short':
        lines += [f'Cut short after {part["seconds"]:.0f} s; what is missing was not measured.', '']
    if 'summary' in part:
        lines += [f'`pytest -m gpu`: {part["summary"].strip("= ")}', '']
        lines += [f'- {line}' for line in part['failed_tests']]
        lines += [''] * bool(part['failed_tests'])
    lines += [line for remark in part.get('remarks', []) for line in (remark, '')]
    for title, table in part.get('tables', {}).items():
        lines += [f'### {title}', '']
        for note in table['notes']:
            lines += [note, '']
        lines += [*(_table(table['rows']) or ['No row was finished.']), '']
    for label, error in part.get('errors', {}).items():
        lines += [f'{label} failed: `{error}`', '']
    if part['status'] == 'failed' and not (part.get('errors') or part.get('failed_tests')):
        lines += ['The part failed before it had measured all.', '']
    return lines


def _table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ['| | ' + ' | '.join(columns) + ' |', '|---' * (len(columns) + 1) + '|']
    for label, row in rows.items():
        cells = [_text(row[column]) if column in row else '' for column in columns]
        lines.append(f'| {label} | ' + ' | '.join(cells) + ' |')
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.4g}'
