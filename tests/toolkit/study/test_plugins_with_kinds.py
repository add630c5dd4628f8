"""A plugin that declares a kind of its own is studied, with the same name in every process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.support import studies

PLUGIN = """
    from abc import ABC

    from torch import nn

    from toolkit.interfaces import Degradation
    from toolkit.registry import DEGRADATIONS, Kind

    UPSCALERS = Kind('upscaler', 'own_kind.Upscaler')


    class Upscaler(nn.Module, ABC):
        '''Upscales.'''


    @UPSCALERS.register
    class Nearest(Upscaler):
        '''Repeats pixels.'''
"""


@pytest.mark.parametrize('working_folder_first', [True, False])
def test_a_plugin_file_has_one_name_whether_python_finds_it_or_not(tmp_path, working_folder_first):
    (tmp_path / 'own_kind.py').write_text(textwrap.dedent(PLUGIN))
    code = (
        'import sys; from toolkit.registry import get_kinds, plugin_index; '
        f'sys.path.insert(0, {str(tmp_path)!r}) if {working_folder_first} else None; '
        "plugin_index.add('own_kind.py'); "
        "print(get_kinds()['upscaler'].get('Nearest').__module__)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(studies.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == 'own_kind', done.stderr


@pytest.mark.slow
def test_a_study_of_a_plugin_with_a_kind_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own_kind.py').write_text(textwrap.dedent(PLUGIN))
    file = studies.write(tmp_path, seeds=[0], variants={'full': {}})
    base = yaml.safe_load(Path('base.yaml').read_text())
    base['plugins'].append('own_kind.py')
    Path('base.yaml').write_text(yaml.safe_dump(base))
    status, said = studies.run(file, tmp_path / 'work', cwd=tmp_path)
    assert status == 0, said
    assert set(studies.statuses(tmp_path / 'work').values()) == {'finished'}
