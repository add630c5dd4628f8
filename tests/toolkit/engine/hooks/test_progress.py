"""What a run shows."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.engine.evaluator import list_main_metrics
from toolkit.engine.hooks.progress import _format_values
from toolkit.interfaces import Metric
from toolkit.run.train import train


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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


class ManyValues(Metric):
    """A metric with ten values, two of which are its main ones."""

    directions = {f'value{i}': True for i in range(10)}
    main = ('value7', 'value2')

    def measure(self, outputs: Any, batch: Any) -> list[dict[str, Any]]:
        return [dict.fromkeys(self.directions, 0.5)]


def test_a_validation_shows_the_main_values_and_where_the_others_are() -> None:
    names = list_main_metrics({'many': ManyValues(), 'again': ManyValues()})
    assert names == ['many.value7', 'many.value2', 'again.value7', 'again.value2']
    values = {f'{key}.{name}': 0.5 for key in ('many', 'again') for name in ManyValues.directions}
    assert _format_values(values, names[:2]) == (
        'many.value7 0.5000  many.value2 0.5000  (18 more in metrics.jsonl)'
    )

    class Plain(ManyValues):
        main = ()

    every = list_main_metrics({'p': Plain()})
    text = _format_values(dict.fromkeys(every, 0.25), every)
    assert text.count('0.2500') == 8 and text.endswith('(2 more in metrics.jsonl)')
    assert _format_values({'p': 0.25}, ['p']) == 'p 0.2500'


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
