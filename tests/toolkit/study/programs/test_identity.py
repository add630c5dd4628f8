"""The identity of a program's runs: all that decides a result, found or told to be unknown."""

from __future__ import annotations

import os
import sys

import pytest

from toolkit.study.programs.identity import ProgramFingerprinter

PYTHON = sys.executable
EMPTY = {
    'overrides': 'argparse',
    'values': {},
    'seed': 0,
    'metrics': {'score': True},
    'results': {},
    'files': [],
    'resume': False,
    'environment': {},
}
HYDRA = "import hydra\n@hydra.main(version_base=None, config_path='../conf')\ndef main(c): ...\n"
# Files of a program, its record, and the file that decides its result.
DECIDES = {
    'file of a hydra override': (
        {'train.py': '', 'a.csv': '1'},
        {'command': [PYTHON, 'train.py', '{overrides}'], 'overrides': 'hydra'}
        | {'values': {'data.file': 'a.csv'}},
        'a.csv',
    ),
    'file in a list of an override': (
        {'train.py': '', 'a.csv': '1'},
        {'command': [PYTHON, 'train.py', '{overrides}'], 'overrides': 'equals'}
        | {'values': {'files': ['a.csv']}},
        'a.csv',
    ),
    'file of an argument without dashes': (
        {'train.py': '', 'a.csv': '1'},
        {'command': [PYTHON, 'train.py', 'data=a.csv']},
        'a.csv',
    ),
    'folder of configs': (
        {'src/train.py': HYDRA, 'conf/model/small.yaml': 'width: 1'},
        {'command': [PYTHON, 'src/train.py']},
        'conf/model/small.yaml',
    ),
    'module of PYTHONPATH': (
        {'train.py': 'import net.model', 'src/net/__init__.py': '', 'src/net/model.py': ''},
        {'command': [PYTHON, 'train.py'], 'environment': {'PYTHONPATH': 'src'}},
        'src/net/model.py',
    ),
    'package of a module that is run': (
        {'net/__init__.py': 'from net import seeds', 'net/seeds.py': '', 'net/train.py': ''},
        {'command': [PYTHON, '-m', 'net.train']},
        'net/seeds.py',
    ),
    'relative import of a module that is run': (
        {'net/jobs/train.py': 'from ..model import Net', 'net/model.py': ''},
        {'command': [PYTHON, '-m', 'net.jobs.train']},
        'net/model.py',
    ),
    'script on the PATH': (
        {'bin/start': '#!/bin/sh\n'},
        {'command': ['start'], 'environment': {'PATH': '{folder}/bin'}},
        'bin/start',
    ),
}


def _write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        if text.startswith('#!'):
            (folder / name).chmod(0o755)


def _fingerprint(folder, record, found=None):
    environment = record.get('environment', {}).items()
    filled = {name: value.replace('{folder}', str(folder)) for name, value in environment}
    found = found or ProgramFingerprinter()
    record = {**EMPTY, **record, 'directory': str(folder), 'environment': filled}
    return found.fingerprint(record), list(found.warnings)


@pytest.mark.parametrize('what', DECIDES)
def test_a_file_that_decides_a_result_is_part_of_its_identity(tmp_path, what):
    files, record, changed = DECIDES[what]
    _write(tmp_path, files)
    planned = ProgramFingerprinter()
    before, _ = _fingerprint(tmp_path, record, planned)
    assert _fingerprint(tmp_path, record)[0] == before
    read = {file for name in planned.last_inputs for file in planned.inputs[name].files}
    assert str(tmp_path / changed) in {os.path.normpath(file) for file in read}
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + '# other\n')
    assert _fingerprint(tmp_path, record)[0].differences(before)


def test_equal_commands_whose_source_is_unknown_are_not_one_program(tmp_path):
    record = {'command': ['true', 'all']}
    for name in 'ab':
        (tmp_path / name).mkdir()
    (first, warnings), (second, _) = (_fingerprint(tmp_path / n, record) for n in 'ab')
    assert first.differences(second) == ('config',)
    assert any('the source of true is not known' in text for text in warnings)
    (tmp_path / 'a' / 'Makefile').write_text('')
    (tmp_path / 'b' / 'Makefile').write_text('')
    named = record | {'files': ['Makefile']}
    (first, warnings), (second, _) = (_fingerprint(tmp_path / n, named) for n in 'ab')
    assert first == second
    assert not any('is not known' in text for text in warnings)


def test_a_script_of_another_language_says_that_what_it_starts_is_unknown(tmp_path):
    _write(tmp_path, {'run.sh': 'python train.py\n'})
    before, warnings = _fingerprint(tmp_path, {'command': ['sh', 'run.sh']})
    assert any('run.sh is no Python: what it starts' in text for text in warnings)
    _write(tmp_path, {'run.sh': 'python other.py\n'})
    after, _ = _fingerprint(tmp_path, {'command': ['sh', 'run.sh']})
    assert after.differences(before) == ('code',)
