"""Which runs are to be run: those that are not done, here or in a study beside this one."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import re
from pathlib import Path

import pytest

from tests.support import studies
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table
from toolkit.cli import main
from toolkit.config import ConfigError
from toolkit.errors import ToolkitError
from toolkit.io.run_records import RunStatus
from toolkit.study import execute
from toolkit.study.execute import run_study
from toolkit.study.folder import check_folder, prepare_jobs, write_plan
from toolkit.study.launchers import Launcher, trained_weights, worker
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.planning.plan import make_plan
from toolkit.study.reconcile import RunFilter, reconcile
from toolkit.study.study_file import read_study


class Pretender(Launcher):
    """Ends each job as it is told, at once.

    Args:
        fails: names of the runs that fail.
        loses: how many times a job's machine is gone before it can run.
        full: whether the disk is full at the first job.
    """

    def __init__(self, fails=(), loses=0, full=False):
        super().__init__()
        self.fails, self.loses, self.full = fails, loses, full
        self.started = []
        self.ended = []
        self.stopped = False

    def start(self, jobs):
        self.started += [run.id for job in jobs for run in job.runs]
        for job in jobs:
            if self.loses:
                self.loses -= 1
                self.ended.append(EndedJob(job, {}, lost=True))
                continue
            statuses = {}
            for run in job.runs:
                state = 'failed' if run.id in self.fails else 'finished'
                state = 'waiting' if self.full else state
                status = RunStatus(state, 1, 1.0, fingerprint=run.fingerprint, message='no luck')
                status.write(run.folder)
                (run.folder / 'metrics.json').write_text('{}')
                statuses[run.id] = status
            self.ended.append(EndedJob(job, statuses, full=self.full))

    def poll(self):
        found, self.ended = self.ended, []
        return found

    def done(self):
        return not self.ended

    def stop(self, now=False):
        self.stopped = True

    def close(self):
        pass


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(here, **changes):
    return make_plan(read_study(studies.write(here, **changes)))


def go(here, folder='work/tiny', launcher=None, choice=None, **changes):
    """Run a study; returns its exit status and the runs that were started."""
    launcher = launcher or Pretender()
    status = run_study(make(here, **changes), Path(folder), launcher, choice or RunFilter())
    return status, launcher.started


ALL = ['full-s0', 'full-s1', 'wide-s0', 'wide-s1']


def test_what_is_done_is_not_run_again(here):
    assert go(here) == (0, ALL)
    assert go(here) == (0, [])
    assert go(here, seeds=[0, 1, 2]) == (0, ['full-s2', 'wide-s2'])
    plan = json.loads(Path('work/tiny/plan.json').read_text())
    assert [run['id'] for run in plan['runs']] == [
        f'{v}-s{s}' for v in ('full', 'wide') for s in (0, 1, 2)
    ]
    assert plan['study'] == 'tiny'
    assert plan['compare_to'] == 'full'
    assert plan['metrics'] == {'mse': None}
    assert plan['runs'][3] == {
        **plan['runs'][3],
        'folder': 'runs/wide-s0',
        'trained_in': None,
        'seed': 0,
        'data': None,
        'settings': {},
        'changes': ['model.width: 8 -> 16'],
        'parameters': 16 * 27 + 16 * 3 + 17 + 6,
    }


def test_equal_runs_of_other_studies_are_taken_over(here):
    go(here)
    variants = {'base': {}, 'wide': {'model.width': 16}, 'wider': {'model.width': 32}}
    status, started = go(here, 'work/second', study='second', variants=variants)
    assert (status, started) == (0, ['wider-s0', 'wider-s1'])
    runs = json.loads(Path('work/second/plan.json').read_text())['runs']
    assert runs[0]['folder'] == str(here / 'work/tiny/runs/full-s0')
    # What is gone from there is run after all.
    (here / 'work/tiny/runs/full-s0/metrics.json').unlink()
    assert go(here, 'work/second', study='second', variants=variants)[1] == ['base-s0']


def test_equal_runs_of_a_study_are_run_once(here, capsys):
    variants = {'full': {}, 'twin': {}}
    assert go(here, variants=variants)[1] == ['full-s0', 'full-s1']
    runs = json.loads(Path('work/tiny/plan.json').read_text())['runs']
    assert [run['folder'] for run in runs] == ['runs/full-s0', 'runs/full-s1'] * 2
    assert '4 of 4 runs finished' in capsys.readouterr().out


def test_an_equal_run_that_is_not_chosen_does_not_keep_the_other_from_it(here):
    variants = {'full': {}, 'twin': {}}
    assert go(here, variants=variants, choice=RunFilter(variants=['twin'])) == (
        0,
        ['twin-s0', 'twin-s1'],
    )
    assert go(here, variants=variants) == (0, [])


def test_runs_that_differ_in_their_test_alone_are_one_job(here):
    data = {'short': {}, 'long': {'test_dataloader.dataset.length': 9}}
    plan = make(here, data=data, seeds=[0], variants={'full': {}})
    folder = here / 'work' / 'tiny'
    (job,) = prepare_jobs(plan, reconcile(plan, folder, RunFilter()))
    assert [run.id for run in job.runs] == ['full-short-s0', 'full-long-s0']
    assert job.trained_in == folder / 'runs' / 'full-short-s0'


def test_a_training_with_other_code_serves_no_new_test(here, monkeypatch):
    """One of the same code does; `holds_training` stands for a checkpoint and a capsule."""
    monkeypatch.setattr(
        'toolkit.study.reconcile.holds_training', lambda folder: (folder / 'trained').exists()
    )
    one = {'variants': {'full': {}}, 'seeds': [0], 'data': {'short': {}}}
    two = {**one, 'data': {'short': {}, 'long': {'test_dataloader.dataset.length': 9}}}
    go(here, **one)
    folder = here / 'work/tiny'
    first = folder / 'runs/full-short-s0'
    (first / 'trained').touch()
    plan = make(here, **two)
    (job,) = prepare_jobs(plan, reconcile(plan, folder, RunFilter()))
    assert [run.id for run in job.runs] == ['full-long-s0']
    assert job.trained_in == first
    status = RunStatus.read(first)
    made = dataclasses.replace(status.fingerprint, code='old', train='old')
    status.replace(fingerprint=made).write(first)
    (job,) = prepare_jobs(plan, reconcile(plan, folder, RunFilter()))
    assert [run.id for run in job.runs] == ['full-long-s0']
    assert job.trained_in == folder / 'runs/full-long-s0'


def test_failed_runs_are_run_again_only_when_asked(here, capsys):
    assert go(here, launcher=Pretender(fails=['wide-s0'])) == (1, ALL)
    assert go(here) == (1, [])
    assert '1 failed before; run them again by --rerun failed' in capsys.readouterr().out
    assert go(here, choice=RunFilter(rerun=['failed'])) == (0, ['wide-s0'])


def test_only_some_variants_and_seeds(here):
    assert go(here, choice=RunFilter(variants=['wide'], seeds=[1])) == (0, ['wide-s1'])
    assert go(here) == (0, ['full-s0', 'full-s1', 'wide-s0'])


def test_a_run_of_another_config_is_never_mixed_in(here):
    go(here)
    changed = {'variants': {'full': {}, 'wide': {'model.width': 24}}}
    with pytest.raises(ToolkitError) as error:
        go(here, **changed)
    said = str(error.value)
    assert 'wide-s0 (and 1 more runs) was made with another config' in said
    assert 'model.width: 16 -> 24' in said
    assert '--rerun changed' in said
    assert go(here, choice=RunFilter(rerun=['changed']), **changed) == (0, ['wide-s0', 'wide-s1'])


def test_a_changed_variant_does_not_keep_the_others_from_running(here, capsys):
    go(here, variants={'full': {}, 'wide': {'model.width': 16}})
    more = {'full': {}, 'wide': {'model.width': 24}, 'new': {'model.width': 4}}
    assert go(here, variants=more) == (1, ['new-s0', 'new-s1'])
    out = capsys.readouterr().out
    assert re.search(r'left out: .*wide-s0 \(and 1 more runs\).*16 -> 24.*--rerun changed', out)
    assert json.loads((here / 'work/tiny/runs/wide-s0/status.json').read_text())


def test_a_renamed_variant_finds_its_runs(here):
    go(here)
    renamed = {'full': {}, 'wider': {'model.width': 16}}
    assert go(here, variants=renamed) == (0, [])
    runs = {run.id: run for run in load('work/tiny').runs}
    assert runs['wider-s1'].status == 'finished'
    assert runs['wider-s1'].folder == here / 'work/tiny/runs/wide-s1'
    # Names that change places: no folder is emptied that another run now uses.
    swapped = {'wider': {}, 'full': {'model.width': 16}}
    choice = RunFilter(rerun=['changed'])
    assert go(here, variants=swapped, choice=choice, compare_to='full')[0] == 0
    found = {run.id: run for run in load('work/tiny').runs}
    assert all(run.status == 'finished' for run in found.values())


def test_the_plan_shows_what_would_be_run_and_deleted(here, capsys):
    go(here)
    studies.write(here, variants={'full': {}, 'wide': {'model.width': 24}})
    capsys.readouterr()
    options = ['--only', 'wide', '--seeds', '1', '--rerun', 'changed']
    assert main(['study', 'study.yaml', '--plan', *options]) == 0
    out = capsys.readouterr().out
    assert re.search(r'wide +seed 1 +to replace +.*model\.width: 16 -> 24', out)
    assert re.search(r'full +seeds 0, 1 +finished', out)
    deleted = out.partition('deleted when the study starts')[2]
    assert re.search(r'runs/wide-s1 \(finished, 1 s of run time', deleted)
    assert 'wide-s0' not in deleted
    assert re.search(r'about 1 s and \d+ MB on disk for the runs to do \(from 2 finished', out)
    assert main(['study', 'study.yaml', '--plan', '--only', 'wid']) == 2
    assert "did you mean 'wide'" in capsys.readouterr().err


def test_the_plan_says_what_its_seeds_can_show(here, capsys):
    file = studies.write(here, seeds=[0, 1, 2])
    detect = ['study', 'study.yaml', '--plan', '--detect', '0.1']
    assert main(detect) == 2
    assert 'pilot of the reference first: --only full' in capsys.readouterr().err
    go(here, seeds=[0, 1, 2])
    for number, name in enumerate(['full-s0', 'full-s1', 'full-s2', 'wide-s0', 'wide-s1']):
        record = {'metrics': {'mse': number**2 / 100}, 'directions': {'mse': False}}
        (here / 'work/tiny/runs' / name / 'metrics.json').write_text(json.dumps(record))
    assert main(['study', str(file), '--plan']) == 0
    out = capsys.readouterr().out.partition('smallest differences that 3 seeds show')[2]
    # The differences are 0.09 and 0.15.
    assert re.search(r'mse +0\.14 +\d.* differences, 1 degrees of freedom', out)
    assert main(detect) == 0
    assert 'mse: 4 seeds show a difference of 0.1 with 80 % power' in capsys.readouterr().out
    # A run that cannot be read takes no part, and blocks no plan.
    (here / 'work/tiny/runs/full-s2/metrics.json').write_text('{"metrics": ')
    assert main(['study', str(file), '--plan']) == 0
    assert re.search(r'mse +0\.14 .* differences, 1 degrees', capsys.readouterr().out)
    assert main([*detect, '--metric', 'mes']) == 2
    assert "no metric 'mes'; did you mean 'mse'?" in capsys.readouterr().err
    assert main(['study', 'study.yaml', '--plan', '--detect', '0']) == 2


def test_a_study_that_took_runs_over_shows_none_of_a_later_config(here, capsys):
    """Results lie in the other study's folder, where they may be replaced."""
    wide = {'variants': {'full': {}, 'wide': {'model.width': 24}}}
    go(here, folder='work/a', study='a')
    assert go(here, folder='work/b', study='b') == (0, [])
    assert {run.status for run in load('work/b').runs} == {'finished'}
    file = studies.write(here, 'a.yaml', study='a', **wide)
    assert main(['study', str(file), '--plan', '--rerun', 'changed', '--work-dir', 'work/a']) == 0
    assert capsys.readouterr().out.count(', which the study b uses too') == 2
    go(here, folder='work/a', choice=RunFilter(rerun=['changed']), study='a', **wide)
    said = capsys.readouterr().out
    assert 'wide-s1 is emptied, whose result the study b uses too' in said
    assert 'full-s0 is emptied' not in said
    runs = {run.id: run for run in load('work/b').runs}
    assert [runs[name].status for name in ALL] == ['finished', 'finished', 'waiting', 'waiting']
    assert 'another config' in runs['wide-s0'].message
    assert runs['wide-s0'].metrics == {}
    table = study_table(load('work/b'), 'text')
    assert '2 of 4 runs have finished' in table
    assert 'another config' in table
    # And the study itself runs them anew, in its own folder.
    assert go(here, folder='work/b', study='b') == (0, ALL[2:])


def test_runs_that_were_left_out_of_a_rerun_are_of_another_config(here):
    go(here)
    changed = {'common': {'optim_wrapper.optimizer.lr': 0.5}}
    choice = RunFilter(variants=['wide'], rerun=['changed'])
    assert go(here, choice=choice, **changed) == (0, ALL[2:])
    runs = {run.id: run for run in load('work/tiny').runs}
    assert [runs[name].status for name in ALL] == ['waiting', 'waiting', 'finished', 'finished']
    assert 'another config' in runs['full-s0'].message


def test_a_table_says_that_the_study_file_has_changed_since(here, capsys):
    go(here)
    assert main(['study', 'study.yaml', '--table']) == 0
    assert capsys.readouterr().err == ''
    studies.write(here, seeds=[0, 1, 2])
    assert main(['study', 'study.yaml', '--table', '--style', 'csv']) == 0
    out, err = capsys.readouterr()
    assert re.search(r'study\.yaml has changed.*--plan', err)
    assert 'has changed' not in out


def test_a_table_says_that_code_or_packages_have_changed(here):
    go(here)
    path = here / 'work/tiny/runs/full-s0'
    status = RunStatus.read(path)
    status.replace(fingerprint=dataclasses.replace(status.fingerprint, code='old')).write(path)
    go(here)
    table = study_table(load('work/tiny'), 'text')
    assert re.search(r'other code or packages.*full-s0.*--rerun changed', table)


def test_other_code_keeps_what_is_finished_and_starts_over_what_is_not(here, capsys):
    go(here, launcher=Pretender(fails=['wide-s1']))
    for name in ALL:
        path = here / 'work/tiny/runs' / name
        status = RunStatus.read(path)
        made = dataclasses.replace(status.fingerprint, code='of yesterday')
        status.replace(fingerprint=made).write(path)
        (path / 'trace').touch()
    assert go(here, choice=RunFilter(rerun=['failed'])) == (0, ['wide-s1'])
    assert 'made with other code or packages than there are now: full-s0' in capsys.readouterr().out
    assert (here / 'work/tiny/runs/full-s0/trace').exists()
    assert not (here / 'work/tiny/runs/wide-s1/trace').exists()
    assert go(here, choice=RunFilter(rerun=['changed'])) == (0, ALL[:3])


def test_what_changes_between_plan_and_start_is_no_result_of_the_plan(here, monkeypatch):
    plan = make(here, variants={'full': {}}, seeds=[0])
    (job,) = prepare_jobs(plan, reconcile(plan, here / 'work'))
    worker._check_unchanged(list(job.runs), job)
    monkeypatch.setattr('toolkit.study.source_code.package_versions', lambda: {'torch': '9'})
    with pytest.raises(ToolkitError, match='code or packages changed after .* --rerun failed'):
        worker._check_unchanged(list(job.runs), job)


@pytest.mark.parametrize(
    ('keep', 'has_best', 'left'),
    [
        ('all', True, {'best.pth', 'last.pth', 'iter_2.pth'}),
        ('best', True, {'best.pth'}),
        ('best', False, {'last.pth'}),
        ('last', False, {'last.pth'}),
        ('none', True, set()),
    ],
)
def test_a_study_keeps_the_checkpoints_that_it_names(keep, has_best, left, here):
    folder = here / 'checkpoints'
    folder.mkdir()
    for name in ('last.pth', 'iter_2.pth', *(['best.pth'] if has_best else [])):
        (folder / name).touch()
    trained_weights.remove_checkpoints(here, keep)
    assert {path.name for path in folder.iterdir()} == left
    plan = make(here, keep=keep)
    jobs = prepare_jobs(plan, reconcile(plan, here / 'work'))
    assert {Job.from_json(job.to_json()).keep for job in jobs} == {keep}


def test_a_study_removes_no_checkpoints_of_another(here):
    plan = make(here, keep='none', variants={'full': {}}, seeds=[0])
    (job,) = prepare_jobs(plan, reconcile(plan, here / 'work/tiny'))
    assert job.trained_in is not None
    other = here / 'work/other/runs/full-s0'
    files = [folder / 'checkpoints/last.pth' for folder in (job.trained_in, other)]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    trained_weights.remove_checkpoints_of(dataclasses.replace(job, trained_in=other))
    assert [file.exists() for file in files] == [True, True]
    trained_weights.remove_checkpoints_of(job)
    assert [file.exists() for file in files] == [False, True]


def test_the_last_checkpoint_is_not_kept_in_place_of_the_tested_one(here):
    best = {
        '+val_dataloader': studies.BASE['test_dataloader'],
        'default_hooks.checkpoint': {'type': 'Checkpoint', 'save_best': 'mse'},
    }
    common = {
        **best,
        '+val_evaluator': studies.BASE['test_evaluator'],
        '+train_cfg.val_interval': 5,
    }
    with pytest.raises(ConfigError, match=r'keep: would delete best\.pth, which is tested'):
        make(here, keep='last', common=common)


def test_three_equal_failures_in_a_row_stop_a_study(here, capsys):
    seeds = {'seeds': [0, 1, 2, 3]}
    names = [f'{v}-s{s}' for v in ('full', 'wide') for s in range(4)]
    launcher = Pretender(fails=names)
    assert go(here, launcher=launcher, **seeds)[0] == 1
    assert launcher.stopped
    said = ' '.join(capsys.readouterr().out.split())
    assert re.search(r'3 runs in a row failed alike \(no luck\).*--keep-going', said)


def test_failures_with_a_result_between_them_stop_nothing(here):
    launcher = Pretender(fails=['full-s0', 'full-s1', 'wide-s1'])
    assert go(here, launcher=launcher)[0] == 1
    assert not launcher.stopped


def test_a_study_goes_on_where_it_is_told_to(here):
    launcher = Pretender(fails=ALL)
    plan = make(here)
    assert run_study(plan, Path('work/tiny'), launcher, RunFilter(), keep_going=True) == 1
    assert not launcher.stopped


def test_a_full_disk_stops_the_study_and_fails_no_run(here, capsys):
    launcher = Pretender(full=True)
    assert go(here, launcher=launcher)[0] == 1
    assert launcher.stopped
    assert 'the disk is full: make room, then start the study again' in capsys.readouterr().out
    assert set(studies.statuses(here / 'work/tiny').values()) == {'waiting'}
    assert go(here) == (0, ALL)


def test_a_job_whose_machine_is_gone_is_started_again(here):
    assert go(here, launcher=Pretender(loses=3)) == (0, [*ALL, *ALL[:3]])


def test_folders_that_are_not_this_studys(here, capsys):
    go(here)
    other = studies.write(here, study='other')
    for arguments, expected in (
        (['--work-dir', 'work/tiny'], "is the folder of the study 'tiny', not of 'other'"),
        (['--work-dir', '.'], 'holds no study, and is not empty'),
        (['--work-dir', 'base.yaml'], 'is a file; choose another --work-dir'),
    ):
        for mode in ([], ['--plan']):
            assert main(['study', str(other), *mode, *arguments]) == 2
            error = capsys.readouterr().err
            assert expected in error
            assert error.count('\n') == 1


def hold(folder):
    from toolkit.run import work_dir as work_dirs

    with work_dirs.claimed(Path(folder), 'study'):
        (Path(folder) / '.held').touch()
        multiprocessing.Event().wait(60)


def test_two_studies_in_one_folder(here, capsys, monkeypatch):
    monkeypatch.setattr(execute, 'PLANNING_SECONDS', 0.0)
    folder = here / 'work' / 'tiny'
    process = multiprocessing.get_context('fork').Process(target=hold, args=(str(folder),))
    process.start()
    try:
        while not (folder / '.held').exists():
            assert process.is_alive()
        assert main(['study', str(studies.write(here))]) == 2
        error = capsys.readouterr().err
        assert f'another process works on the study in {folder}' in error
        assert error.count('\n') == 1
    finally:
        process.kill()
        process.join()


def test_a_study_that_was_killed_as_it_began_goes_on(here):
    """Its plan may be written and its runs' folders not, or the other way round."""
    folder = here / 'work' / 'tiny'
    plan = make(here)
    placed = reconcile(plan, folder, RunFilter())
    write_plan(plan, placed, folder)
    check_folder(folder, plan.study)
    prepare_jobs(plan, placed[:1])
    assert go(here) == (0, ALL)


def test_a_damaged_status_is_said(here, capsys):
    go(here)
    (here / 'work/tiny/runs/full-s0/status.json').write_text('{"status": ')
    assert main(['study', str(studies.write(here))]) == 2
    assert 'status.json is damaged' in capsys.readouterr().err
