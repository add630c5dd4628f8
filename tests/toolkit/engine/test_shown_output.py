"""Output that is only shown cannot fail."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.table import Table

from toolkit import cli
from toolkit.io.shown_output import (
    ShownStream,
    escape_controls,
    escape_output,
    protect_output,
)
from toolkit.io.tables.shown_console import ShownConsole


def broken_pipe() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, 'w', encoding='utf-8')


def gone_terminal() -> TextIO:
    master, slave = os.openpty()
    os.close(master)
    return open(slave, 'w', encoding='utf-8')


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    'a pipe that nobody reads': broken_pipe,
    'a terminal that is gone': gone_terminal,
    'a full device': lambda: open('/dev/full', 'w', encoding='utf-8'),  # noqa: SIM115
    'a closed file': closed,
    'none': lambda: None,
}


@pytest.mark.parametrize('kind', STREAMS)
def test_printing_never_fails(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = STREAMS[kind]()
    monkeypatch.setattr(sys, 'stdout', stream)
    with protect_output():
        assert isinstance(sys.stdout, ShownStream)
        with protect_output():  # a second one is no second warning
            for _ in range(3):
                print('a line', flush=True)
        assert sys.stdout.isatty() is False
    assert sys.stdout is stream
    if stream is not None:
        assert capsys.readouterr().err.count('nothing more can be printed') == 1
        if kind != 'a closed file':
            stream.flush()  # as Python does at its end
            stream.close()


def test_characters_that_cannot_be_shown_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding='ascii'))
    with protect_output():
        print('a · b', flush=True)
    assert raw.getvalue() == b'a \\xb7 b\n'


@pytest.mark.parametrize('kind', ['a pipe that nobody reads', 'a full device'])
def test_a_training_goes_on(
    config: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.run.train import train

    monkeypatch.setattr(sys, 'stdout', STREAMS[kind]())
    result = train(config(), tmp_path / 'run')
    assert (result.status, result.iterations) == ('finished', 10)
    assert 'trained 10 iterations' in (tmp_path / 'run' / 'train.log').read_text()


HOSTILE = 'a\x1b]0;title\x07\x9b2J\x1b[2Kb\r\u202ec\t\u00fc\n'
SHOWN = 'a\\x1b]0;title\\x07\\x9b2J\\x1b[2Kb\\x0d\\u202ec\t\u00fc\n'


def test_a_received_text_does_not_command_the_terminal() -> None:
    assert escape_controls(HOSTILE) == SHOWN
    assert escape_controls(SHOWN) == SHOWN


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_every_command_shows_control_characters_as_codes(
    stream: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: list[str]) -> int:
        print(HOSTILE, end='', file=getattr(sys, stream))
        ShownConsole(stderr=stream == 'stderr').print(Table('n\x1b[2J'))
        with protect_output():
            print(HOSTILE, end='', file=getattr(sys, stream))
        return 0

    monkeypatch.setattr(cli, '_run', run)
    assert cli.main([]) == 0
    shown = getattr(capsys.readouterr(), f'{stream[3:]}')
    assert shown.count(SHOWN) == 2 and 'n\\x1' in shown and '\x1b' not in shown


def test_a_console_on_a_terminal_sends_its_own_commands_alone() -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TERM', 'xterm')
        patch.setattr(sys, 'stdout', stream)
        with escape_output(), protect_output():
            ShownConsole().print('[bold]x[/bold] \x1bc')
    assert '\x1b[1mx\x1b[0m' in stream.getvalue()
    assert '\\x1bc' in stream.getvalue() and '\x1bc' not in stream.getvalue()


def test_all_consoles_are_shown_ones() -> None:
    """Another console would pass on what a received name commands, or escape its own colours."""
    root = Path(__file__).parents[3]
    files = [path for part in ('toolkit', 'plugins') for path in (root / part).rglob('*.py')]
    found = [p.name for p in files if 'rich.console import Console' in p.read_text('utf-8')]
    assert found == ['shown_console.py']
