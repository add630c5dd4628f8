"""Wrong types at every argument of every shipped config and study are told with file and line.

An argument that many configs have, of the same class at the same path, is tried in the first of
them. `make wrong-types` tries all; the slow test tries every 61st.
"""

from __future__ import annotations

import itertools
import os
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.config_mutants import Mutant
from tests.support.config_places import list_arguments
from tests.support.wrong_types import list_wrong_values, make_wrong_types, replace
from tests.test_config_mutants import find_failure
from toolkit.config import ConfigError, load
from toolkit.config.find import list_configs, list_studies
from toolkit.study.planning.plan import make_plan
from toolkit.study.spec import BASE, Spec
from toolkit.study.study_file import read_study

STEP = int(os.environ.get('TOOLKIT_WRONG_TYPES_STEP', 61))
Reader = Callable[[str], Any]


def plan(path: str) -> None:
    make_plan(read_study(path), open_data=False)


def make_study_mutants(name: str) -> Iterator[tuple[Mutant, Reader]]:
    """Yields a study with wrong types of its own keys, then of what it changes in its bases."""
    study = read_study(name)
    for mutant in make_wrong_types(study.config.tree, set(), Spec):
        yield mutant, read_study
    if study.is_program:
        return
    folder = study.config.file.parent
    entries = {name: dict(entry or {}) for name, entry in study.spec.variants.items()}
    for entry in [dict(study.spec.common), *entries.values()]:
        base = str((folder / entry.pop(BASE, study.spec.base)).resolve())
        annotations = {
            '.'.join((*place.path, key)): annotation
            for place, key, annotation in list_arguments(load(base).tree)
        }
        small = {'study': 's', 'base': base, 'variants': {'changed': entry}}
        for path in entry.keys() & annotations.keys():
            texts = list_wrong_values(annotations[path])
            for mutant in replace(small, ('variants', 'changed', path), texts):
                yield mutant, plan


def find_silence(mutant: Mutant, read: Reader) -> str:
    """Describes how a study's mistake is not found, in `s.yaml`; '' if it is."""
    Path('s.yaml').write_text(mutant.text, encoding='utf-8')
    try:
        read('s.yaml')
    except ConfigError as error:
        lines = str(error).split('\n')
        return '' if all(re.match(r's\.yaml:\d+: ', line) for line in lines) else str(error)
    except Exception:
        return 'traceback: ' + traceback.format_exc().splitlines()[-1]
    return 'passes'


def find_all(step: int) -> tuple[int, list[str]]:
    """Tries every so many mutants; returns their number and the failures."""
    seen: set[Any] = set()
    configs = ((n, m, None) for n in list_configs() for m in make_wrong_types(load(n).tree, seen))
    studies = ((n, m, read) for n in list_studies() for m, read in make_study_mutants(n))
    count, failures = 0, []
    for name, mutant, read in itertools.islice(itertools.chain(configs, studies), 0, None, step):
        count += 1
        if read is None:
            Path('c.yaml').write_text(mutant.text, encoding='utf-8')
        failure = find_failure(mutant) if read is None else find_silence(mutant, read)
        if failure:
            failures.append(f'{name}: {".".join(mutant.path)}: {mutant.value}: {failure}')
    print(f'{count - len(failures)} of {count} wrong types are found', *failures, sep='\n')
    return count, failures


@pytest.mark.slow
def test_wrong_types_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    count, failures = find_all(STEP)
    assert failures == []
    assert count * STEP > 10_000
