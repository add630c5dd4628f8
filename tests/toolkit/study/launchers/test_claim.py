"""Several processes that work on one study do each job once."""

from __future__ import annotations

import json
import time

import pytest

from tests.support import studies
from tests.toolkit.study.launchers.test_supervisor import job
from toolkit.io.run_records import Fingerprint, RunStatus
from toolkit.study.launchers import supervisor
from toolkit.study.launchers.claim import claim

EARLY, LATE = '2000-01-01T00:00:00+00:00', '2999-01-01T00:00:00+00:00'


def test_a_job_of_another_process_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, 'COMMAND', ['-c', 'import sys; sys.exit("done twice")'])
    mine = job(tmp_path, retries=0)
    with claim(mine.folder) as first, claim(mine.folder) as second:
        assert (first, second) == (True, False)
        ended = supervisor.supervise(mine)
        assert ended.elsewhere and ended.statuses == {}
    assert not mine.log.exists()
    assert supervisor.supervise(mine).statuses['x'].message.startswith('done twice')


@pytest.mark.parametrize(
    ('status', 'ended', 'is_done'),
    [
        ('finished', EARLY, True),
        ('failed', LATE, True),
        ('failed', EARLY, False),  # it is run again on demand
        ('running', None, False),
        ('waiting', None, False),
    ],
)
@pytest.mark.parametrize('is_same', [True, False])
def test_what_another_process_has_ended_is_not_done_again(
    tmp_path, monkeypatch, status, ended, is_done, is_same
):
    monkeypatch.setattr(supervisor, 'COMMAND', ['-c', 'import sys; sys.exit("done again")'])
    mine = job(tmp_path, retries=0)
    made = mine.runs[0].fingerprint if is_same else Fingerprint('other')
    RunStatus(status, message='as it was', ended=ended, fingerprint=made).write(mine.folder)
    supervisor.supervise(mine)
    assert mine.log.exists() == (not (is_done and is_same))


SLOW = {'common': {'train_dataloader.dataset.slow': 0.03, 'train_cfg.max_iters': 60}}


@pytest.mark.slow
def test_a_second_process_brings_runs_and_takes_its_part(tmp_path):
    """The study file gets a variant and a seed while its first runs are at work."""
    work = tmp_path / 'work'
    options = {'launcher': {'jobs': 1, 'threads': 1}, **SLOW}
    variants = {'full': {}}
    file = studies.write(tmp_path, variants=variants, seeds=[0], **options)
    first = studies.start(file, work)
    deadline = time.monotonic() + 120
    while not list(work.glob('runs/*/metrics.jsonl')):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    variants['narrow'] = {'model.width': 4}
    file = studies.write(tmp_path, 'second.yaml', variants=variants, **options)
    second = studies.start(file, tmp_path / 'work')
    assert (first.wait(200), second.wait(200)) == (0, 0)
    assert set(studies.statuses(work).values()) == {'finished'}
    ids = {f'{variant}-s{seed}' for variant in variants for seed in (0, 1)}
    found = {p.parent.name: json.loads(p.read_text()) for p in work.glob('runs/*/status.json')}
    assert set(found) == ids
    assert {name: status['attempts'] for name, status in found.items()} == dict.fromkeys(ids, 1)
