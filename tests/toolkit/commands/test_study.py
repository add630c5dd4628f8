"""The command `toolkit study`: what it runs, writes and prints, in this order."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import studies
from tests.toolkit.study.test_folder import ALL, Pretender
from toolkit.analysis.results import TableOptions
from toolkit.cli import main
from toolkit.commands import study as study_command
from toolkit.errors import RunError
from toolkit.study.spec import Study
from toolkit.study.study_file import read_study


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class LoadedResults:
    folder: Path
    options: TableOptions = TableOptions()


@pytest.fixture
def calls(monkeypatch):
    """What the tables and the report are asked for."""
    made = []

    def study_table(results, style):
        made.append(('table', results, style))
        return f'table in {style}'

    tables = SimpleNamespace(
        study_table=study_table, write=lambda results: made.append(('write', results))
    )
    html = SimpleNamespace(
        write=lambda folders, output: made.append(('html', folders, output)),
        write_panel_files=lambda folder: made.append(('files of panels', folder)),
    )
    results = SimpleNamespace(load=LoadedResults)
    report = SimpleNamespace(page=html)
    for name, module in (
        ('toolkit.report', report),
        ('toolkit.analysis', SimpleNamespace(table_files=tables)),
        ('toolkit.analysis.table_files', tables),
        ('toolkit.report.page', html),
        ('toolkit.analysis.results', results),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return made


def pretend(monkeypatch, **options):
    launcher = Pretender(**options)
    monkeypatch.setattr(Study, 'launcher', lambda study, limit=None: launcher)
    return launcher


@pytest.mark.parametrize('fails', [(), ('full-s0',)])
def test_ends_with_tables_and_report_though_runs_failed(fails, here, calls, capsys, monkeypatch):
    launcher = pretend(monkeypatch, fails=fails)
    studies.write(here)
    assert main(['study', 'study.yaml']) == len(fails)
    assert launcher.started == ALL
    folder = here / 'work' / 'tiny'
    results = LoadedResults(folder)
    assert calls == [
        ('table', results, 'text'),
        ('write', results),
        ('files of panels', folder),
        ('html', [folder], folder / 'report.html'),
    ]
    out = capsys.readouterr().out
    assert out.endswith(f'table in text\nreport in {folder / "report.html"}\n')
    for name in fails:
        assert f'{name}: failed: no luck' in out


def test_the_table_is_printed_where_the_report_cannot_be_written(here, calls, capsys, monkeypatch):
    pretend(monkeypatch)
    studies.write(here)

    def refuse(folders, output):
        raise RunError(f'{output} cannot be written: no room')

    monkeypatch.setattr(sys.modules['toolkit.report.page'], 'write', refuse)
    assert main(['study', 'study.yaml']) == 1
    out, err = capsys.readouterr()
    assert out.endswith('table in text\n')
    assert 'cannot be written: no room' in err
    assert 'Traceback' not in err


def test_a_study_that_was_stopped_has_no_report(here, calls, monkeypatch):
    monkeypatch.setattr('toolkit.study.execute.run_study', lambda *arguments: 130)
    studies.write(here)
    assert main(['study', 'study.yaml']) == 130
    assert calls == []


def test_warnings_are_said_and_the_study_runs(here, calls, capsys, monkeypatch):
    pretend(monkeypatch)
    studies.write(here, variants={'full': {}, 'same': {'model.width': 8}})
    assert main(['study', 'study.yaml']) == 0
    assert 'warning: study.yaml:' in capsys.readouterr().out


@pytest.mark.parametrize('style', ['text', 'latex'])
def test_the_table_at_any_time(style, here, calls, capsys):
    studies.write(here)
    options = [] if style == 'text' else ['--style', style]
    assert main(['study', 'study.yaml', '--table', *options, '--work-dir', 'there']) == 0
    options_of_the_file = read_study('study.yaml').options
    assert calls == [('table', LoadedResults(here / 'there', options_of_the_file), style)]
    assert capsys.readouterr().out == f'table in {style}\n'


def test_the_folder_is_named_after_the_study(here):
    study = read_study(studies.write(here, study='named'))
    assert study_command.study_folder(study, None) == here / 'work' / 'named'
