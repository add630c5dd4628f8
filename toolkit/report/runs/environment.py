"""Code, data and hardware of runs, from their capsules: common values and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.config.dump import dump_inline
from toolkit.io.run_results import RunResult
from toolkit.io.tables import formatting
from toolkit.report.runs.run_configs import Capsule, read_capsules

TEST_DATA = 'data: test'
LEADING = ('torch', 'mmengine', 'numpy', 'timm')


@dataclass(frozen=True)
class Fact:
    """A property of the runs.

    Attributes:
        name: of the property.
        values: each different value with the ids of its runs; one value if all agree.
    """

    name: str
    values: list[tuple[str, list[str]]]

    @property
    def common(self) -> bool:
        """True if all runs have the same value."""
        return len(self.values) == 1


@dataclass(frozen=True)
class Environment:
    """Code, data, hardware and packages of runs.

    Attributes:
        facts: about code, data and hardware.
        packages: installed distributions with their versions.
        runs: number of capsules.
    """

    facts: list[Fact]
    packages: list[Fact]
    runs: int


def read_environment(
    runs: Sequence[RunResult], capsules: Mapping[str, Capsule | None] | None = None
) -> Environment:
    """Describes the capsules of the runs that have one; damaged ones are listed as a fact.

    Args:
        runs: of a study.
        capsules: of their trainings, whose environment says more than that of the test; read here
            if None.
    """
    described: dict[str, dict[str, str]] = {}
    packages: dict[str, dict[str, str]] = {}
    damaged = []
    for id_, record in (read_capsules(runs) if capsules is None else capsules).items():
        try:
            if record is None:
                raise ValueError('it is damaged')
            facts, versions = _list_facts(record), dict(record.get('packages') or {})
        except (TypeError, ValueError, AttributeError):
            damaged.append(id_)
            continue
        described[id_], packages[id_] = facts, versions
    for run in runs:
        if run.test_data and run.id in described:
            described[run.id].setdefault(TEST_DATA, run.test_data)
    facts = _group_by_value(described)
    if damaged:
        facts.append(Fact('damaged capsules', [(', '.join(damaged), damaged)]))
    return Environment(facts, _group_by_value(packages), len(described))


def _list_facts(record: Mapping[str, Any]) -> dict[str, str]:
    git, hardware = record.get('git') or {}, record.get('hardware') or {}
    packages = record.get('packages') or {}
    changed = ' with changes that were not committed' if git.get('dirty') else ''
    config = record.get('config') or {}
    runtime = config.get('runtime') if isinstance(config, Mapping) else None
    facts = {
        'toolkit': record.get('toolkit'),
        'code': f'{git["commit"][:12]}{changed}' if git.get('commit') else 'installed, no checkout',
        'Python': record.get('python'),
        **{name: packages[name] for name in LEADING if name in packages},
        'system': hardware.get('system'),
        'processor': f'{hardware.get("cpu")}, {hardware.get("cores")} cores' if hardware else None,
        'GPUs': ', '.join(hardware.get('gpus') or []) or 'none',
        'device': record.get('device'),
        'processes': record.get('processes'),
        'threads': record.get('threads'),
        'runtime': dump_inline(runtime) if runtime else None,
        **{
            f'data: {name}': print_ for name, print_ in (record.get('data') or {}).items() if print_
        },
        'started': record.get('started'),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, '')}


def _group_by_value(described: Mapping[str, Mapping[str, str]]) -> list[Fact]:
    """Groups the runs by the value of each fact."""
    names = dict.fromkeys(name for facts in described.values() for name in facts)
    found = []
    for name in names:
        values: dict[str, list[str]] = {}
        for id_, facts in described.items():
            values.setdefault(str(facts.get(name, formatting.MISSING)), []).append(id_)
        if name == 'started' and len(values) > 1:
            values = {f'{min(values)} to {max(values)}': list(described)}
        found.append(Fact(name, list(values.items())))
    return found
