"""The record of a benchmark of systems: statistics of turns, regressions, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.bench.model.worker import Turn
from toolkit.bench.turns import Taken
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.tables.formatting import MISSING, format_count, format_memory, format_text_table

Conditions = Mapping[str, Mapping[str, Any]]
# What two records must have in common to be compared.
SAME = ('config', 'changes', 'hardware', 'batch_size', 'threads', 'device')
COSTS = ('inference', 'training')


def summarize_turns(
    turns: Sequence[Turn], rulers: Sequence[Taken], batch_size: int
) -> dict[str, Any]:
    """Summarizes the turns of a condition.

    A `relative` time is the median, over the turns, of a system's time divided by that of the ruler
    just before: load that meets both alike leaves it as it is. `by_processor` is the same of
    processor times, which another program's turns on the cores do not lengthen.

    Args:
        turns: of the system.
        rulers: of the ruler, one before each turn.
        batch_size: samples of a batch.
    """
    latencies = 1000 * np.array([value for turn in turns for value in turn.latencies])
    found: dict[str, Any] = {
        'latency_ms': {
            f'p{share}': round(float(np.percentile(latencies, share)), 4) for share in (50, 90, 99)
        }
        | {'n': len(latencies)}
    }
    for name in COSTS:
        taken = [value for turn in turns if (value := getattr(turn, name)) is not None]
        if not taken:
            continue
        seconds = statistics.median(one.seconds for one in taken)
        ratios = [one.seconds / ruler.seconds for one, ruler in zip(taken, rulers, strict=True)]
        # A clock that has not moved says nothing.
        used = [
            one.processor / ruler.processor
            for one, ruler in zip(taken, rulers, strict=True)
            if one.processor and ruler.processor
        ]
        low, high = np.percentile(ratios, (25, 75))
        found[name] = {
            'seconds': seconds,
            'samples_per_second': batch_size / seconds,
            'relative': statistics.median(ratios),
            'relative_quartiles': [float(low), float(high)],
            'by_processor': statistics.median(used) if used else None,
        }
    return found


def read_record(path: Path) -> dict[str, Any]:
    """Reads what `toolkit bench model --output` has written.

    Raises:
        ToolkitError: it cannot be read, or is something else.
    """
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ToolkitError(f'{path} cannot be read as a record of `bench model`: {error}') from None
    is_record = isinstance(record, dict) and record.get('bench') == 'model'
    if not is_record or not isinstance(record.get('conditions'), dict):
        raise ToolkitError(f'{path} is no record of `toolkit bench model`: write one by --output')
    return record


def check_comparable(before: Mapping[str, Any], after: Mapping[str, Any], path: Path) -> None:
    """Checks that two records are of the same config, machine and options.

    Raises:
        ToolkitError: they are not, or have no condition in common.
    """
    for key in SAME:
        if before.get(key) != after.get(key):
            raise ToolkitError(
                f'{path} was measured with {key} {before.get(key)}, and this with '
                f'{after.get(key)}: compare one config, on one machine, with the same options'
            )
    if not before['conditions'].keys() & after['conditions'].keys():
        raise ToolkitError(
            f'{path} has other conditions: {", ".join(before["conditions"])}; give the same config '
            'and axes'
        )


def find_regressions(
    before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float
) -> Iterator[str]:
    """Finds conditions that cost more than before, as lines for the user.

    On a CPU processor times count, on a GPU wall-clock times, both relative to the ruler.

    Args:
        before: a record.
        after: another one of the same machine and options.
        tolerance: share by which a time or the memory may grow.
    """
    key = 'by_processor' if after['device'] == 'cpu' else 'relative'
    for label, own in after['conditions'].items():
        old = before['conditions'].get(label)
        if old is None:
            continue
        for name in ('parameters', 'macs'):
            if old[name] != own[name]:
                yield f'{label}: {name}: {old[name]} -> {own[name]}: another network'
        for name in COSTS:
            yield from _grown(
                f'{label}: time of {name}',
                (old.get(name) or {}).get(key),
                (own.get(name) or {}).get(key),
                tolerance,
            )
            yield from _grown(
                f'{label}: peak memory after {name}',
                old['memory'].get(name),
                own['memory'].get(name),
                tolerance,
            )


def _grown(what: str, old: float | None, new: float | None, tolerance: float) -> Iterator[str]:
    if old is not None and new is None:
        yield f'{what}: is not measured any more'
    elif old is not None and new is not None and new > old * (1 + tolerance):
        yield f'{what}: {new / old - 1:+.0%}, more than {tolerance:.0%}'


def format_conditions(conditions: Conditions, metric: str | None = None) -> str:
    """Formats the conditions as an aligned table."""
    head = ['condition', 'parameters', 'MACs', 'latency p50, p99', 'inference', 'x', 'by processor']
    head += ['training', 'x', 'by processor', 'memory', 'trained', *([metric] if metric else [])]
    rows = [head]
    for label, one in conditions.items():
        memory, latency = one['memory'], one['latency_ms']
        row = [label, format_count(one['parameters']), format_count(one['macs'])]
        row.append(f'{latency["p50"]:.4g}, {latency["p99"]:.4g} ms')
        for name in COSTS:
            found = one.get(name)
            row += [
                MISSING if found is None else f'{found["samples_per_second"]:.4g}/s',
                _format_ratio(found and found['relative']),
                _format_ratio(found and found['by_processor']),
            ]
        row += [format_memory(memory.get(name)) for name in COSTS]
        if metric:
            value = one.get('metric')
            row.append(MISSING if value is None else f'{value:.4g}')
        rows.append(row)
    return format_text_table(rows)


def _format_ratio(value: float | None) -> str:
    return MISSING if value is None else f'{value:.3g}'
