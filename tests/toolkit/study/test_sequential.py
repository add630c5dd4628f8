"""Sequential studies: looks, seeds, reasons to stop, and mistakes."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from tests.support import program_studies
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table
from toolkit.commands.study import StudyCommand
from toolkit.config import ConfigError
from toolkit.study.planning.plan import make_plan
from toolkit.study.sequential import add_seeds, explain_stop, list_looks, run_sequential
from toolkit.study.study_file import read_study

RULE = {'most': 8, 'step': 2, 'reach': 0.5}
METRICS = {'score': 'higher'}


def write(folder, rule, **changes):
    return program_studies.write(folder, sequential=rule, **{'seeds': [0, 1, 5], **changes})


def finish(study, folder, spread):
    """Write what runs would leave: `fast` is better by 1, with noise of a given size."""
    from toolkit.study.folder import write_plan
    from toolkit.study.reconcile import reconcile

    plan = make_plan(study)
    entries = reconcile(plan, folder)
    write_plan(plan, entries, folder)
    for run in plan.runs:
        path = folder / run.folder
        path.mkdir(parents=True, exist_ok=True)
        noise = spread * ((run.seed * 7) % 5 - 2)
        score = (1 + noise) if run.variant == 'fast' else 0.0
        record = {'metrics': {'score': score}, 'directions': {'score': True}, 'rows': {}}
        (path / 'metrics.json').write_text(json.dumps(record))
        status = {'status': 'finished', 'seconds': 10.0, 'fingerprint': run.fingerprint.to_json()}
        (path / 'status.json').write_text(json.dumps(status))
    return 0


def test_seeds_are_added_until_the_interval_is_narrow(tmp_path, capsys):
    study = read_study(write(tmp_path, RULE))
    assert list_looks(study) == [3, 5, 7, 8]
    assert add_seeds(study, 5).spec.seeds == [0, 1, 5, 6, 7]
    work, counts = tmp_path / 'work', []

    def run(look):
        counts.append(len(look.spec.seeds))
        return finish(look, work, 0.05)

    assert run_sequential(study, work, run) == 0
    assert counts == [3, 5]
    assert 'stopped with 5 seeds: every comparison is clear enough' in capsys.readouterr().out
    text = study_table(load(work), 'text')
    assert 'anytime-valid paired t-test' in text
    # A study that was killed goes through the same looks, and ends the same.
    counts.clear()
    assert run_sequential(study, work, run) == 0
    assert counts == [3, 5]
    assert study_table(load(work), 'text') == text


@pytest.mark.parametrize(
    ('rule', 'spread', 'reason'),
    [
        ({**RULE, 'most': 5}, 1.0, '5 seeds are the most; not clear enough: fast'),
        ({**RULE, 'time': '90 s'}, 1.0, 'the runs took 1 min 40 s of 90 s; not clear'),
        ({**RULE, 'reach': None, 'decided': True}, 0.02, 'every comparison is clear enough'),
        (RULE, 1.0, ''),
        (RULE, 0.0, 'every comparison is clear enough'),
    ],
)
def test_reasons_to_stop(tmp_path, rule, spread, reason):
    rule = {k: v for k, v in rule.items() if v is not None}
    study = read_study(write(tmp_path, rule))
    finish(add_seeds(study, 5), tmp_path / 'work', spread)
    found = explain_stop(load(tmp_path / 'work'), study.spec.sequential, 5)
    assert found.startswith(reason) if reason else found == ''


def test_a_plan_says_what_a_sequential_study_shows(tmp_path, capsys):
    file = write(tmp_path, {**RULE, 'decided': True})
    work = tmp_path / 'work'
    finish(add_seeds(read_study(file), 5), work, 0.2)
    options = {'file': str(file), 'work_dir': work, 'plan': True, 'plugin': [], 'jobs': None}
    options |= {'only': [], 'seeds': [], 'rerun': [], 'style': None, 'metric': None, 'table': False}
    for detect in (None, 0.5):
        StudyCommand().run(SimpleNamespace(**options, detect=detect))
    said = capsys.readouterr().out
    assert '10 runs (10 finished)' in said
    assert 'smallest differences that up to 8 seeds show' in said
    assert re.search(r'shows a difference of 0.5 with a power of \d+%, after \d', said)


@pytest.mark.parametrize(
    ('rule', 'changes', 'message'),
    [
        ({'most': 8}, {}, 'expected when to stop'),
        ({**RULE, 'most': 3}, {}, 'begins with 3 seeds'),
        ({**RULE, 'step': 0}, {}, 'expected 1 or more'),
        ({**RULE, 'reach': -1.0}, {}, 'a width above 0'),
        ({**RULE, 'effect': 0.0}, {}, 'a number above 0'),
        ({**RULE, 'time': 'long'}, {}, "time is 'long'"),
        (RULE, {'seeds': [0]}, 'begin with two seeds'),
        (RULE, {'metrics': {'score': 'higher', 'loss': 'lower'}}, 'name a `primary` one'),
        (RULE, {'variants': {'full': {}}}, 'compares'),
        (RULE, {'folds': {'path': 'name', 'values': ['a', 'b']}}, 'leave folds out'),
        ({'reach': 0.1}, {}, 'most'),
    ],
)
def test_mistakes_in_a_sequential_study(tmp_path, rule, changes, message):
    with pytest.raises(Exception, match=re.escape(message)) as error:
        read_study(write(tmp_path, rule, **changes))
    assert isinstance(error.value, ConfigError), error
