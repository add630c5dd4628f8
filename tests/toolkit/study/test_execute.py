"""Studies whose runs are real processes: killed, stopped, failing, endless, out of room."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.support import studies
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table
from toolkit.engine.training.training_loop import TrainLoop
from toolkit.io.run_records import RunStatus
from toolkit.study.folder import prepare_jobs
from toolkit.study.launchers import worker
from toolkit.study.planning.plan import make_plan
from toolkit.study.reconcile import reconcile
from toolkit.study.study_file import read_study

pytestmark = pytest.mark.slow

# Long enough to be killed in the midst of.
SLOW = {
    'common': {'train_dataloader.dataset.slow': 0.02, 'train_cfg.max_iters': 100},
    'seeds': [0],
}
SWITCHES = {
    'wide': {'model.width': 16},
    'dry': {'model.dropout': 0.0},
    'fast': {'optim_wrapper.optimizer.lr': 0.02},
}
# Further designs of a study, without variants. These take minutes: `make killed-studies`.
DESIGNS = {
    'factorial': {'design': 'factorial', 'switches': {k: SWITCHES[k] for k in ('wide', 'dry')}},
    'fractional': {'design': 'fractional', 'resolution': 3, 'switches': SWITCHES},
    'shapley': {'design': 'shapley', 'permutations': 3, 'switches': SWITCHES},
    'sequential': {
        'variants': {'full': {}, 'wide': SWITCHES['wide']},
        'seeds': [0, 1],
        'primary': 'mse',
        'sequential': {'reach': 1e-9, 'most': 4},
    },
}
KILLS = int(os.environ.get('TOOLKIT_STUDY_KILLS', '0'))


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """A study that nothing disturbed."""
    folder = tmp_path_factory.mktemp('calm')
    file = studies.write(folder, **studies.drop_pauses(SLOW))
    status, said = studies.run(file, folder / 'work')
    assert status == 0, said
    return folder / 'work'


def waits_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def logged(folder):
    return any(path.stat().st_size for path in folder.glob('runs/*/metrics.jsonl'))


def test_a_study_leaves_runs_that_can_be_read_and_repeated(calm):
    run = calm / 'runs' / 'wide-s0'
    assert {'capsule.json', 'config.yaml', 'metrics.jsonl', 'metrics.json', 'train.log'} <= {
        path.name for path in run.iterdir()
    }
    status = json.loads((run / 'status.json').read_text())
    assert status['status'] == 'finished'
    assert status['attempts'] == 1
    assert 0 < status['train_seconds'] <= status['seconds'] < 120
    assert 50e6 < status['memory'] < 5e9
    capsule = json.loads((run / 'capsule.json').read_text())
    assert capsule['status'] == 'finished'
    assert capsule['threads'] == 1
    assert capsule['config']['model']['width'] == 16
    from toolkit.run.rerun import rerun

    assert rerun(run, calm.parent / 'again').equal


def test_killed_ten_times_and_started_again_equals_undisturbed(tmp_path, calm):
    """To the last digit, whatever the moment: while planning, training, saving or testing."""
    file, work = studies.write(tmp_path, **SLOW), tmp_path / 'work'
    deaths = kill_and_finish(file, work, 10)
    assert deaths['during it'] >= 5
    assert deaths['after it'] <= 2
    assert studies.results(work) == studies.results(calm)


@pytest.mark.skipif(not KILLS, reason='takes minutes: make killed-studies')
@pytest.mark.parametrize('design', DESIGNS)
def test_each_design_ends_as_an_undisturbed_one_after_kills(tmp_path, design):
    changes = {**SLOW, 'variants': None, **DESIGNS[design]}
    (tmp_path / 'calm').mkdir()
    file = studies.write(tmp_path / 'calm', **studies.drop_pauses(changes))
    undisturbed = tmp_path / 'calm' / 'work'
    status, said = studies.run(file, undisturbed)
    assert status == 0, said
    work = tmp_path / 'work'
    deaths = kill_and_finish(studies.write(tmp_path, **changes), work, KILLS)
    print(design, deaths)
    assert deaths['during it'] >= KILLS / 2
    assert len(studies.results(work)) >= 4
    assert studies.results(work) == studies.results(undisturbed)
    assert values_of(work) == values_of(undisturbed)


def values_of(work):
    """Returns the tables of a study as records, without what differs by the clock."""
    record = json.loads(study_table(load(work), 'json'))
    for condition in record['conditions']:
        del condition['seconds'], condition['memory']
    return record


def kill_and_finish(file, work, kills):
    """Kills a study again and again, then lets it end; counts the kills by their moment."""
    moments = random.Random(4)
    deaths = {'before training': 0, 'during it': 0, 'after it': 0}
    for _ in range(kills):
        process = studies.start(file, work)
        # Importing takes most of a short run's time, and a kill there tells little.
        if moments.random() < 0.7:
            before = _iterations(work)
            deadline = time.monotonic() + 300  # a machine may have other work
            while process.poll() is None and _iterations(work) == before:
                time.sleep(0.02)
                assert time.monotonic() < deadline
            time.sleep(moments.uniform(0, 0.4))
        else:
            time.sleep(moments.uniform(0.1, 3))
        during = 'during it' if _iterations(work) else 'before training'
        deaths[during if process.poll() is None else 'after it'] += 1
        process.kill()
        process.wait()
    status, said = studies.run(file, work)
    assert status == 0, said
    return deaths


def _iterations(work):
    paths = work.glob('runs/*/metrics.jsonl')
    return sum(path.read_bytes().count(b'\n') for path in paths)


def test_ctrl_c_saves_the_runs_and_the_study_goes_on(tmp_path, calm):
    file, work = studies.write(tmp_path, **SLOW), tmp_path / 'work'
    process = studies.start(file, work)
    waits_for(lambda: logged(work), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    said = Path(f'{work}.out').read_text()
    assert 'stopping: the runs are saved; once more to quit now' in said
    assert 'Traceback' not in said
    saved = list(work.glob('runs/*/checkpoints/last.pth'))
    assert saved
    assert 'running' not in studies.statuses(work).values()
    status, said = studies.run(file, work)
    assert status == 0, said
    assert studies.results(work) == studies.results(calm)


def test_a_study_that_is_killed_leaves_no_process_behind(tmp_path):
    """Its runs notice, save, and end; a study that is started meanwhile waits for them."""
    file, work = studies.write(tmp_path, **{**SLOW, 'variants': {'full': {}}}), tmp_path / 'work'
    process = studies.start(file, work)
    waits_for(lambda: logged(work), process)
    process.kill()
    process.wait()
    capsule = work / 'runs' / 'full-s0' / 'capsule.json'
    deadline = time.monotonic() + 30
    while json.loads(capsule.read_text())['status'] == 'running':
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads(capsule.read_text())['status'] == 'interrupted'
    assert (work / 'runs' / 'full-s0' / 'checkpoints' / 'last.pth').exists()


def test_a_failing_run_is_tried_again_shown_and_stops_no_other(tmp_path):
    variants = {'full': {}, 'broken': {'+train_dataloader.dataset.broken': 3}}
    file, work = studies.write(tmp_path, variants=variants, seeds=[0]), tmp_path / 'work'
    status, said = studies.run(file, work)
    assert status == 1, said
    assert studies.statuses(work) == {'full-s0': 'finished', 'broken-s0': 'failed'}
    assert re.search(r'broken-s0: failed \(attempt 2\): .*sample 3 is cut off', said)
    assert '1 of 2 runs finished, 1 failed' in said
    status, said = studies.run(file, work, '--rerun', 'failed')
    assert status == 1
    assert RunStatus.read(work / 'runs' / 'broken-s0').attempts == 4
    assert RunStatus.read(work / 'runs' / 'full-s0').attempts == 1


def make_failing(tmp_path, replacement):
    """Writes a study of the tiny system whose head is another expression."""
    plugin = tmp_path / 'own.py'
    plugin.write_text(studies.TINY.read_text().replace('return self.head(', replacement))
    file = studies.write(tmp_path, seeds=[0], variants={'full': {}}, budget={'retries': 0})
    base = (tmp_path / 'base.yaml').read_text()
    (tmp_path / 'base.yaml').write_text(base.replace(str(studies.TINY), 'own.py'))
    return file


def test_a_component_that_cannot_run_stops_a_study_before_its_start(tmp_path):
    file = make_failing(tmp_path, 'return self.haed(')
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 1, said
    message = "AttributeError: 'TinySystem' object has no attribute 'haed'"
    assert re.search(
        rf'base.yaml:\d+: model: TinySystem fails at \S+/own.py:\d+.*: {message}', said
    )
    assert 'Traceback' not in said
    assert not (tmp_path / 'work' / 'runs').exists()


def test_a_part_that_raises_is_explained_by_the_last_line_of_its_log(tmp_path):
    file = make_failing(tmp_path, 'return (self.haed if self.calls > 3 else self.head)(')
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 1, said
    message = "AttributeError: 'TinySystem' object has no attribute 'haed'"
    assert re.search(rf'full-s0: failed: .*own.py:\d+.*: {message}', said)
    assert 'Traceback' not in said
    log = (tmp_path / 'work' / 'runs' / 'full-s0' / 'output.log').read_text()
    assert message in log.rstrip().splitlines()[-1]


def test_a_run_that_never_ends_is_stopped_by_its_time_budget(tmp_path):
    variants = {'full': {}, 'endless': {'train_cfg.max_iters': 10**9}}
    file = studies.write(tmp_path, variants=variants, seeds=[0], budget={'time': '8 s'})
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 1, said
    assert studies.statuses(tmp_path / 'work') == {'full-s0': 'finished', 'endless-s0': 'failed'}
    found = re.search(
        r'endless-s0: failed: stopped: .* time budget of 8 s, at iteration (\d+)', said
    )
    assert int(found[1]) > 2
    # A larger budget goes on from there.
    assert (tmp_path / 'work/runs/endless-s0/checkpoints/last.pth').exists()


def test_a_full_disk_loses_nothing(tmp_path, calm):
    """Files may not grow over 40 kB, as on a disk with no more room than that."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    wide = {'full': {}, 'wide': {'model.width': 512}}
    file = studies.write(tmp_path, variants=wide, seeds=[0], launcher={'jobs': 1, 'threads': 1})
    status, said = studies.run(file, tmp_path / 'work', preexec_fn=limit)
    assert status == 1, said
    assert 'the disk is full: make room, then start the study again; nothing is lost' in said
    assert 'wide-s0: stopped: cannot write the checkpoint' in said
    assert studies.statuses(tmp_path / 'work') == {'full-s0': 'finished', 'wide-s0': 'waiting'}
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 0, said
    assert RunStatus.read(tmp_path / 'work/runs/full-s0').attempts == 1


def test_trained_once_and_tested_on_several_data_sets(tmp_path):
    data = {'short': {}, 'long': {'test_dataloader.dataset.length': 9}}
    file = studies.write(tmp_path, data=data, variants={'full': {}}, seeds=[0])
    work = tmp_path / 'work'
    status, said = studies.run(file, work)
    assert status == 0, said
    results = studies.results(work)
    assert [len(r['rows']['mse']) for r in results.values()] == [7, 9]
    assert not (work / 'runs/full-long-s0/checkpoints').exists()
    record = json.loads((work / 'runs/full-long-s0/metrics.json').read_text())
    assert record['checkpoint'].endswith('runs/full-short-s0/checkpoints/last.pth')
    training = RunStatus.read(work / 'runs/full-short-s0').train_seconds
    assert RunStatus.read(work / 'runs/full-long-s0').seconds > training
    # A test that is added later needs no training either, in another study too.
    data['longer'] = {'test_dataloader.dataset.length': 11}
    file = studies.write(tmp_path, study='later', data=data, variants={'full': {}}, seeds=[0])
    status, said = studies.run(file, tmp_path / 'later')
    assert status == 0, said
    assert '3 runs: 1 to do, 2 done before' in said
    record = json.loads((tmp_path / 'later/runs/full-longer-s0/metrics.json').read_text())
    assert record['checkpoint'].endswith('work/runs/full-short-s0/checkpoints/last.pth')


def test_a_study_that_keeps_no_checkpoints_is_finished_all_the_same(tmp_path):
    file = studies.write(tmp_path, keep='none', seeds=[0])
    assert studies.run(file, tmp_path / 'work')[0] == 0
    assert set(studies.statuses(tmp_path / 'work').values()) == {'finished'}
    assert not list((tmp_path / 'work').rglob('*.pth'))
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 0
    assert '2 runs: 0 to do, 2 done before' in said


def test_what_a_study_adds_to_a_run_is_little(tmp_path, monkeypatch):
    """From the start of a process's work to the first iteration, where all is imported already;
    the limit is 2 s on a machine of its own."""
    plan = make_plan(read_study(studies.write(tmp_path, seeds=[0, 1, 2], variants={'full': {}})))
    jobs = prepare_jobs(plan, reconcile(plan, tmp_path / 'work'))
    firsts = []
    iteration = TrainLoop._train_iter

    def timed(loop, index, batch):
        if loop.iter == 0:
            firsts.append(time.perf_counter())
        return iteration(loop, index, batch)

    monkeypatch.setattr(TrainLoop, '_train_iter', timed)
    taken = []
    for job in jobs:
        begun = time.perf_counter()
        worker.work(job)
        taken.append(firsts[-1] - begun)
    assert len(firsts) == 3
    assert min(taken[1:]) < 2
