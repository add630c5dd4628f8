"""Studies of programs: five styles of command lines, identity, mistakes, kills."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
import time

import pytest

from tests.support import program_studies, studies
from tests.support.program_studies import ARGPARSE
from toolkit.analysis.results import load
from toolkit.config import ConfigError
from toolkit.errors import RunError, ToolkitError
from toolkit.io.run_layout import TestRecord
from toolkit.io.run_records import RunStatus
from toolkit.study.planning.plan import make_plan
from toolkit.study.programs.execution import ProgramStopped, run_program
from toolkit.study.study_file import read_study

PYTHON = sys.executable
STYLES = {
    'argparse': (
        {
            'variants': {
                'full': {},
                'all': {'lr': 1.0, 'widths': [1, 2], 'amp': True, 'name': '-;$'},
            }
        },
        {'full-s0': {'score': pytest.approx(1.46, abs=1)}},
    ),
    'hydra': (
        {
            'command': f'{PYTHON} hydra_train.py hydra.run.dir={{run}} seed={{seed}} {{overrides}}',
            'program': {
                'overrides': 'hydra',
                'results': {
                    'csv': 'metrics.csv',
                    'keys': {'acc': 'test/acc', 'loss': 'train/loss'},
                },
            },
            'variants': {'full': {}, 'other': {'model.name': 'x y', '+new': 1, 'optim.lr': 1.0}},
            'metrics': {'acc': 'higher', 'loss': 'lower'},
        },
        {'full-s1': {'acc': 6, 'loss': pytest.approx(0.3)}, 'other-s0': {'acc': 3, 'loss': 3.0}},
    ),
    'lightning': (
        {
            'command': f'{PYTHON} lightning_cli.py fit --seed_everything={{seed}} {{overrides}}'
            ' --trainer.default_root_dir={run}',
            'program': {'overrides': 'equals', 'environment': {'PYTHONPATH': str(studies.ROOT)}},
            'variants': {'full': {}, 'exact': {'trainer.deterministic': True, 'model.width': 9}},
            'metrics': {'val_acc': 'higher', 'deterministic': 'higher'},
        },
        {
            'full-s1': {'val_acc': 9, 'deterministic': 0},
            'exact-s0': {'val_acc': 9, 'deterministic': 1},
        },
    ),
    'trainer': (
        {
            'command': f'{PYTHON} trainer_script.py {{overrides}} --output_dir {{run}} '
            '--seed {seed}',
            'program': {
                'overrides': 'json',
                'results': {'jsonl': 'trainer_log.jsonl', 'keys': {'acc': 'eval.accuracy'}},
            },
            'common': {'learning_rate': 0.5},
            'variants': {'full': {}, 'slow': {'learning_rate': 0.1}},
            'metrics': {'acc': 'higher'},
        },
        {'full-s0': {'acc': 10}, 'slow-s1': {'acc': 3}},
    ),
    'timm': (
        {
            'command': [PYTHON, 'timm_train.py', 'data', '{overrides}', '--seed', '{seed}'],
            'program': {
                'results': {'log': {'top1': r'Best metric: (\S+)', 'last': r'Acc@1: +(\S+)'}}
            },
            'variants': {'full': {}, 'large': {'b': 32, 'drop-path': 0.1}},
            'metrics': {'top1': 'higher', 'last': 'higher'},
        },
        {'full-s0': {'top1': 8, 'last': 8.25}, 'large-s1': {'top1': 33, 'last': 33.25}},
    ),
}


@pytest.mark.parametrize('style', STYLES)
def test_programs_of_five_styles(tmp_path, style):
    changes, expected = STYLES[style]
    file = program_studies.write(tmp_path, **changes)
    found = program_studies.run_some(file, tmp_path / 'work', expected)
    assert found == expected


def _keys(file):
    return {run.id: run.fingerprint for run in make_plan(read_study(file)).runs}


def test_the_identity_of_a_run_is_that_of_everything_that_it_reads(tmp_path):
    (tmp_path / 'helper.py').write_text('x = 1\n')
    (tmp_path / 'data.txt').write_text('1')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'a').write_text('1')
    file = program_studies.write(
        tmp_path,
        variants={'full': {}, 'named': {'name': 'data.txt'}},
        program={**ARGPARSE['program'], 'files': ['folder']},
    )
    script = tmp_path / 'argparse_train.py'
    script.write_text('import helper\n' + script.read_text())
    before = _keys(file)
    assert len({fingerprint.key for fingerprint in before.values()}) == 4
    assert _keys(file) == before

    (tmp_path / 'helper.py').write_text('x = 2\n')
    after = _keys(file)
    assert all(after[n].differences(before[n]) == ('code',) for n in before)
    (tmp_path / 'folder' / 'a').write_text('2')
    third = _keys(file)
    assert all(third[n].differences(after[n]) == ('data',) for n in before)
    (tmp_path / 'data.txt').write_text('2')
    changed = {n for n, f in _keys(file).items() if f.differences(third[n])}
    assert changed == {'named-s0', 'named-s1'}
    copy = tmp_path / 'copy'
    copy.mkdir()
    for name in ('helper.py', 'data.txt'):
        (copy / name).write_text((tmp_path / name).read_text())
    (copy / 'folder').mkdir()
    (copy / 'folder' / 'a').write_text('2')
    file_of_copy = program_studies.write(
        copy,
        variants={'full': {}, 'named': {'name': 'data.txt'}},
        program={**ARGPARSE['program'], 'files': ['folder']},
    )
    (copy / 'argparse_train.py').write_text(script.read_text())
    assert _keys(file_of_copy) == _keys(file)


MISTAKES = [
    ({'command': 'python t.py {override} {run} {seed}'}, 'did you mean'),
    ({'command': 'python argparse_train.py {overrides} {seed}'}, 'has no {run}'),
    ({'command': 'python argparse_train.py {overrides} {run}'}, 'has no {seed}, so all 2 seeds'),
    (
        {'command': 'python argparse_train.py {seed} {run}'},
        'would pass on variants.fast.lr',
    ),
    ({'command': 'python t.py --x={overrides} {run} {seed}'}, 'it must stand alone'),
    ({'command': 'python t.py {overrides} {overrides} {run} {seed}'}, 'stands in it twice'),
    ({'command': 'cd x && python t.py {overrides} {run} {seed}'}, "'&&' has no meaning"),
    ({'command': "python 't.py"}, 'cannot be split'),
    ({'command': ''}, 'expected a program'),
    ({'command': 'nosuch {overrides} {run} {seed}'}, "no program 'nosuch' is on the PATH"),
    ({'command': 'argparse_train.py {overrides} {run} {seed}'}, 'write ./argparse_train.py'),
    ({'command': './hydra_train.py {overrides} {run} {seed}'}, 'is not executable'),
    ({'command': 'A=1 python {overrides} {run} {seed}'}, 'program.environment'),
    ({'command': 'python nosuch.py {overrides} {run} {seed}'}, "no file 'nosuch.py'"),
    ({'metrics': ['score']}, 'which values of a metric are better'),
    ({'metrics': None}, 'which values of a metric are better'),
    ({'variants': {'full': {'amp': False}}}, 'no way to say false'),
    ({'program': {'results': {'json': '/abs.json'}}}, 'must lie in {run}'),
    ({'program': {'results': {'json': '../x.json'}}}, 'must lie in {run}'),
    ({'program': {'results': {'json': 'a', 'csv': 'b'}}}, 'names two places'),
    ({'program': {'results': {'log': {'score': '('}}}}, 'no regular expression'),
    ({'program': {'results': {'log': {'score': 'x'}}}}, 'expected one group'),
    ({'program': {'results': {'log': {'scor': '(x)'}}}}, "did you mean 'score'"),
    ({'program': {'files': ['nosuch']}}, "no file 'nosuch'"),
    ({'program': {'directory': 'nosuch'}}, "no folder 'nosuch'"),
    ({'program': {'overides': 'json'}}, 'overides'),
    ({'program': {'resume': '--resume {rum}'}}, 'no placeholder {rum} here'),
    ({'program': {'environment': {'A B': 1}}}, 'no environment variable'),
    ({'base': 'base.yaml'}, 'program.overrides: json or yaml'),
    ({'keep': 'none'}, 'does not know the checkpoints'),
    ({'budget': {'iterations': 3}}, 'cannot shorten'),
    ({'variants': {'full': {'base': 'x'}}}, 'has no configs'),
    ({'command': None}, 'belongs to a study with a `command`'),
    ({'command': None, 'program': None}, 'expected `base`'),
]


@pytest.mark.parametrize(('changes', 'message'), MISTAKES)
def test_mistakes_in_a_study_of_a_program(tmp_path, changes, message):
    file = program_studies.write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        make_plan(read_study(file))
    assert 'study.yaml:' in str(error.value)


def test_overrides_are_merged_into_a_base_file(tmp_path):
    (tmp_path / 'base.yaml').write_text('optim:\n  lr: 0.1\n  name: ${x}\n')
    changes = {
        'base': 'base.yaml',
        'command': f'{PYTHON} t.py --config={{overrides}} {{seed}} {{run}}',
        'program': {'overrides': 'yaml', 'results': {'json': 'x.json'}},
        'variants': {'full': {}, 'fast': {'optim.lr': 0.5}},
    }
    (tmp_path / 't.py').write_text(
        'import sys, pathlib\nout = pathlib.Path(sys.argv[3])\n'
        'text = pathlib.Path(sys.argv[1].partition("=")[2]).read_text()\n'
        'assert "${x}" in text\n'
        'lr = text.split("lr:")[1].split()[0]\n'
        '(out / "x.json").write_text(f\'{{"score": {lr}}}\')\n'
    )
    file = program_studies.write(tmp_path, **changes)
    found = program_studies.run_some(file, tmp_path / 'work', ('full-s0', 'fast-s0'))
    assert [entry['score'] for entry in found.values()] == [0.1, 0.5]
    with pytest.raises(ConfigError, match=r"variants.fast.optim.rl: no key 'optim.rl'"):
        wrong = program_studies.write(tmp_path, **changes | {'variants': {'fast': {'optim.rl': 1}}})
        make_plan(read_study(wrong))


@pytest.mark.parametrize(
    ('code', 'error', 'message'),
    [
        ('print("no room"); sys.exit(3)', RunError, 'ended with exit status 3: no room'),
        ('sys.exit(3)', RunError, 'exit status 3 and said nothing'),
        ('os.kill(os.getpid(), 9)', RunError, 'killed by SIGKILL (by the system, out of memory?)'),
        ('1 / 0', RunError, 'exit status 1: ZeroDivisionError: division by zero'),
        ('pass', ToolkitError, 'ended without writing results.json into {run}'),
    ],
)
def test_a_program_that_fails_says_why(tmp_path, code, error, message):
    file = program_studies.write(tmp_path, seeds=[0], variants={'full': {}})
    (tmp_path / 'argparse_train.py').write_text(f'import os, sys\n{code}\n')
    plan = make_plan(read_study(file))
    (tmp_path / 'output.log').write_text('of an earlier attempt\n')
    with program_studies.log_output(tmp_path), pytest.raises(error, match=re.escape(message)):
        run_program(tmp_path, plan.configs['full-s0'].tree)
    assert not (tmp_path / 'metrics.json').exists()


def test_an_attempt_begins_in_an_empty_folder_unless_the_program_resumes(tmp_path):
    for resume, kept in ((False, False), (True, True), ('--name {run}/left', True)):
        folder = tmp_path / f'{resume}'[:5]
        file = program_studies.write(
            folder, seeds=[0], program={**ARGPARSE['program'], 'resume': resume}
        )
        record = make_plan(read_study(file)).configs['full-s0'].tree
        (folder / 'program').mkdir()
        (folder / 'program' / 'left').write_text('')
        (folder / 'output.log').touch()
        run_program(folder, record)
        assert (folder / 'program' / 'left').exists() == kept
    # The arguments of a resumption are added where their file is there, and only then.
    assert '"--name"' in (folder / 'command.json').read_text()
    (folder / 'program' / 'left').unlink()
    run_program(folder, record)
    assert '"--name"' not in (folder / 'command.json').read_text()


CHILD = "import time; [(open('beat', 'a').write('x'), time.sleep(0.02)) for _ in range(9999)]"


def _write_shell_program(folder, last):
    """Write a study of a shell script, whose child goes on when the shell is killed."""
    file = program_studies.write(
        folder,
        command=['sh', 'run.sh', '{seed}', '{run}'],
        program={'results': {'json': 'a.json'}},
        seeds=[0],
        variants={'full': {}},
    )
    (folder / 'child.py').write_text(CHILD)
    (folder / 'run.sh').write_text(f'{PYTHON} child.py &\n{last}\n')
    return file, make_plan(read_study(file)).configs['full-s0'].tree


def _is_silent(file):
    size = file.stat().st_size if file.exists() else 0
    time.sleep(0.2)
    return size == (file.stat().st_size if file.exists() else 0)


@pytest.mark.parametrize('last', ['wait', 'while [ ! -s beat ]; do sleep 0.02; done; exit 3'])
def test_nothing_that_a_program_has_started_outlives_it(tmp_path, last):
    _, record = _write_shell_program(tmp_path, last)
    signalled = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGTERM))
    if last == 'wait':
        signalled.start()
    (tmp_path / 'output.log').touch()
    with pytest.raises(ProgramStopped if last == 'wait' else RunError):
        run_program(tmp_path, record)
    assert (tmp_path / 'beat').exists()
    assert _is_silent(tmp_path / 'beat')


def test_what_an_earlier_attempt_has_left_is_never_a_result(tmp_path):
    """Also where it cannot be removed, as a link."""
    file = program_studies.write(tmp_path, seeds=[0], variants={'full': {}})
    (tmp_path / 'argparse_train.py').write_text('')  # it writes nothing
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'results.json').write_text('{"test": {"score": 1}}')
    (tmp_path / 'program').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'output.log').touch()
    with pytest.raises(RunError, match='cannot empty .*program, which an earlier attempt'):
        run_program(tmp_path, make_plan(read_study(file)).configs['full-s0'].tree)
    assert not (tmp_path / 'metrics.json').exists()


@pytest.mark.parametrize('style', ['json', 'jsonl', 'csv'])
def test_a_resumed_program_that_writes_no_results_has_none(tmp_path, style):
    """Those that it finds in its folder may be of an attempt that was killed half-way."""
    file = program_studies.write(
        tmp_path,
        seeds=[0],
        variants={'full': {}},
        program={'results': {style: 'found'}, 'resume': True},
    )
    record = make_plan(read_study(file)).configs['full-s0'].tree
    rows = {'json': '{"score": 1}', 'jsonl': '{"score": 1}\n', 'csv': 'score\n1\n'}
    program = tmp_path / 'argparse_train.py'
    write = "open(sys.argv[-1].removeprefix('--out=') + '/found', 'w').write"
    program.write_text(f'import sys\n{write}({rows[style]!r})\n')
    (tmp_path / 'output.log').touch()
    for _ in range(2):  # written again, though it is the same
        run_program(tmp_path, record)
    assert TestRecord.read(tmp_path).metrics == {'score': 1}
    (tmp_path / 'metrics.json').unlink()
    program.write_text('')
    with pytest.raises(ToolkitError, match='without writing found: .* an earlier attempt'):
        run_program(tmp_path, record)
    assert not (tmp_path / 'metrics.json').exists()


SLOW = {
    'common': {'steps': 40, 'slow': 0.03},
    'program': {**ARGPARSE['program'], 'resume': True},
    'seeds': [0],
}


@pytest.mark.slow
def test_a_program_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path):
    calm = program_studies.write(tmp_path / 'calm', **SLOW)
    status, said = studies.run(calm, tmp_path / 'calm' / 'work')
    assert status == 0, said
    file, work = program_studies.write(tmp_path / 'a', **SLOW), tmp_path / 'a' / 'work'
    moments = random.Random(3)
    for _ in range(2):
        process = studies.start(file, work, start_new_session=True)
        # Starting takes seconds; a kill then tells little.
        seen = time.monotonic() + 60
        while not list(work.glob('runs/*/program/checkpoint.json')) and time.monotonic() < seen:
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 1.0))
        process.kill()
        process.wait()
    status, said = studies.run(file, work)
    assert status == 0, said
    for name in ('full-s0', 'fast-s0'):
        ours, theirs = (
            (f / 'runs' / name / 'metrics.json').read_text() for f in (work, calm.parent / 'work')
        )
        assert ours == theirs
        assert RunStatus.read(work / 'runs' / name).seconds > 0
    runs = load(work).runs
    assert all(run.parameters is None and run.memory < 200e6 for run in runs)


@pytest.mark.slow
def test_a_program_stops_at_its_time_limit_and_with_its_study(tmp_path):
    file = program_studies.write(
        tmp_path, **SLOW | {'common': {'steps': 9999, 'slow': 0.05}, 'budget': {'time': '1 s'}}
    )
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 1
    assert 'longer than its time budget of 1 s' in said
    other = program_studies.write(
        tmp_path / 'b', **SLOW | {'common': {'steps': 9999, 'slow': 0.05}}
    )
    work = tmp_path / 'b' / 'work'
    process = studies.start(other, work)
    while not list(work.glob('runs/*/program/checkpoint.json')):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert set(studies.statuses(work).values()) == {'waiting'}
    time.sleep(0.3)
    steps = [p.read_text() for p in work.glob('runs/*/program/checkpoint.json')]
    time.sleep(0.3)
    assert steps == [p.read_text() for p in work.glob('runs/*/program/checkpoint.json')]
