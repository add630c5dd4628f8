"""Mutants of every shipped config: `check` finds each one, with file and line."""

from __future__ import annotations

import re
import traceback
from collections import Counter

import pytest

from tests.support.config_mutants import OPERATORS, Mutant, make_mutants
from toolkit.config import ConfigError, load
from toolkit.config.checks.check import check
from toolkit.config.find import list_configs
from toolkit.config.yaml_file import parse_yaml


def find_failure(mutant: Mutant) -> str:
    """Describes how the check fails on a mutant, in `c.yaml`; '' if it finds the mistake."""
    try:
        problems = [str(problem) for problem in check(load('c.yaml'))]
    except ConfigError as error:
        problems = str(error).split('\n')
    except Exception:
        return 'traceback: ' + traceback.format_exc().splitlines()[-1]
    if not problems:
        return 'passes'
    lines = [int(m[1]) for p in problems if (m := re.match(r'c\.yaml:(\d+): ', p))]
    if len(lines) < len(problems):
        return f'a line without a place: {problems}'
    if mutant.path and 'expected a mapping' not in problems[0]:
        try:
            origins = parse_yaml(mutant.text, 'c.yaml')[1]
        except ConfigError:
            return ''
        near = {origins[mutant.path[:n]].line for n in range(1, len(mutant.path) + 1)}
        near |= {o.line for p, o in origins.items() if p[: len(mutant.path)] == mutant.path}
        if not near & set(lines):
            return f'at other lines than {sorted(near)}: {problems}'
    return ''


def run_mutants(names, count, tmp_path, monkeypatch):
    """Checks mutants; returns the number of each operator and the failures."""
    monkeypatch.chdir(tmp_path)
    made, failures = Counter(), []
    for number, name in enumerate(names):
        tree = load(name).tree
        for mutant in make_mutants(tree, number, count):
            (tmp_path / 'c.yaml').write_text(mutant.text, encoding='utf-8')
            made[mutant.operator] += 1
            if failure := find_failure(mutant):
                path = '.'.join(mutant.path)
                failures.append(f'{name}: {mutant.operator} at {path}: {failure}')
    caught = sum(made.values()) - len(failures)
    print(f'{caught} of {sum(made.values())} mutants are found')
    print('\n'.join(failures))
    return made, failures


def test_a_sample_of_mutants_is_found(tmp_path, monkeypatch):
    names = ['ldpnet/ldpnet_2022_synthetic', 'csasn/csasn_small', 'baselines/pannet_manifest']
    made, failures = run_mutants(names, 10, tmp_path, monkeypatch)
    assert failures == []
    assert len(made) >= len(OPERATORS) / 2


@pytest.mark.slow
def test_mutants_of_every_config_are_found(tmp_path, monkeypatch):
    made, failures = run_mutants(list_configs(), 20, tmp_path, monkeypatch)
    assert failures == []
    assert set(made) == set(OPERATORS) and sum(made.values()) > 900
