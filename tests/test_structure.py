"""Folders and levels of the packages."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A folder with more modules holds more than one subject.
MOST_MODULES = 13


def list_folders(*roots: str) -> list[Path]:
    """List the folders below some roots that hold Python modules, relative to the checkout."""
    files = [file for root in roots for file in (ROOT / root).rglob('*.py')]
    return sorted({file.parent.relative_to(ROOT) for file in files})


def test_no_folder_has_too_many_modules() -> None:
    counts = {
        str(folder): len([f for f in (ROOT / folder).glob('*.py') if f.name != '__init__.py'])
        for folder in list_folders('toolkit', 'plugins')
    }
    assert len(counts) > 50
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_tests_lie_in_folders_like_the_code_that_they_test() -> None:
    mirrored = list_folders('tests/toolkit', 'tests/plugins')
    assert len(mirrored) > 30
    assert [str(f) for f in mirrored if not (ROOT / f.relative_to('tests')).is_dir()] == []


def test_tests_follow_a_module_into_the_folder_of_its_subject() -> None:
    astray = {}
    for folder in list_folders('tests/toolkit', 'tests/plugins'):
        package = ROOT / folder.relative_to('tests')
        for file in (ROOT / folder).glob('test_*.py'):
            name = file.name.removeprefix('test_')
            below = sorted(package.rglob(name))
            if below and not (package / name).exists():
                astray[str(folder / file.name)] = [str(f.relative_to(ROOT)) for f in below]
    assert astray == {}


def test_the_levels_of_the_documented_tree_are_those_of_the_contract() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    layers = setup['importlinter:contract:toolkit-levels']['layers'].strip().splitlines()
    contract = {
        name.strip().removeprefix('toolkit.'): height
        for height, line in enumerate(reversed(layers))
        for name in line.split('|')
    }
    tree = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8').split('```')[1]
    documented = {
        re.sub(r'(/|\.py)$', '', name): int(match[2])
        for match in re.finditer(r'^  (\S.*?)\s{2,}(\d) ', tree, re.MULTILINE)
        for name in match[1].split()
    }
    documented = {name: level for name, level in documented.items() if name in contract}
    folders = {f.name for f in (ROOT / 'toolkit').iterdir() if (f / '__init__.py').is_file()}
    assert folders <= set(contract)
    assert folders <= set(documented)
    ordered = sorted(documented, key=lambda name: contract[name])
    assert [documented[n] for n in ordered] == sorted(documented.values()), ordered
