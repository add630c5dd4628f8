"""What a run shows."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.engine.hooks.progress import duration
from toolkit.run.train import train


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.04, '0.0 s'), (9.96, '10.0 s'), (12.4, '12 s'), (75, '1 min 15 s'), (7500, '2 h 5 min')],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_where_there_is_no_terminal(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = {'val_dataloader': None, 'val_evaluator': None}
    train(config(**quiet), tmp_path / 'rare')
    assert len(capsys.readouterr().out.splitlines()) == 2
    hooks = {'progress': {'type': 'Progress', 'every': 0.0}}
    train(config(**quiet, default_hooks=hooks), tmp_path / 'often')
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[3].startswith('3/10  loss ') and lines[3].endswith(' left')


def test_a_bar_on_a_terminal(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stdout', terminal)
    monkeypatch.setenv('TERM', 'xterm')
    train(config(), tmp_path / 'run')
    shown = terminal.getvalue()
    assert '10/10' in shown
    assert 'loss 0.' in shown
    assert 'trained 10 iterations in' in shown.rstrip().splitlines()[-1]
    assert shown.count('\x1b[?25l') == shown.count('\x1b[?25h')  # the cursor is shown again
