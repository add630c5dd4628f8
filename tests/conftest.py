"""Fixtures for all tests: one thread, real data where it can be reached, a browser."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported, and for child processes

# The record of trusted plugins is the user's; tests and their processes have one of their own.
os.environ['XDG_STATE_HOME'] = tempfile.mkdtemp(prefix='ablakit-tests-')

import pytest

from tests.support.browser import started

ROOT = Path(__file__).parents[1]


def _data_root() -> Path | None:
    given = os.environ.get('TOOLKIT_DATA')
    path = Path(given) if given else ROOT.parent / 'shared' / 'data'
    return path if path.is_dir() else None


if (_found := _data_root()) is not None:
    os.environ['TOOLKIT_DATA'] = str(_found)


@pytest.fixture(scope='session')
def data_root() -> Path:
    """The folder of real imagery; tests that ask for it are skipped where it is not."""
    found = _data_root()
    if found is None:
        pytest.skip('needs real data: set TOOLKIT_DATA')
    return found


@pytest.fixture(scope='module')
def browser() -> Iterator[Any]:
    """A real browser; tests that ask for it are skipped where there is none."""
    with started() as found:
        yield found


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ['XDG_STATE_HOME'], ignore_errors=True)
