"""Output that is only shown cannot fail."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import pytest

from toolkit.io.shown_output import ShownStream, protect_output


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
