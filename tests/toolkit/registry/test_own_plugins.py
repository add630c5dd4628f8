"""A package `plugins` beside a user's script hides none of the project's, or is told of."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIST = """
from toolkit.registry import plugin_index
found = plugin_index.get_index()
print(plugin_index.find_source('plugins'))
print(len(found.modules))
"""


@pytest.fixture
def run_script(tmp_path):
    (tmp_path / 'plugins').mkdir()
    (tmp_path / 'plugins' / '__init__.py').touch()

    def run(text):
        script = tmp_path / 'script.py'
        script.write_text(text)
        return subprocess.run([sys.executable, str(script)], capture_output=True, text=True)

    return run


def test_the_package_beside_the_toolkit_is_found_before_one_beside_the_script(run_script, tmp_path):
    done = run_script(LIST)
    assert done.returncode == 0, done.stderr
    folder, modules = done.stdout.split()
    assert not folder.startswith(str(tmp_path))
    assert int(modules) > 50


def test_a_package_that_was_imported_before_the_toolkit_is_named(run_script, tmp_path):
    done = run_script(f'import plugins\n{LIST}')
    assert done.returncode == 1
    (told,) = done.stderr.strip().splitlines()[-1:]
    assert (
        f'the package plugins was imported from {tmp_path / "plugins"} before the toolkit' in told
    )
    assert 'rename yours, or import the toolkit first' in told
