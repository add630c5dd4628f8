"""The measurements of a GPU, tried on a CPU: parts that fail or hang, the record, the page."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.bench import gpu, gpu_report
from toolkit.bench.gpu_record import Recorder, time_run
from toolkit.bench.gpu_runs import RunJob, run_jobs
from toolkit.cli import main

ROOT = Path(__file__).parents[3]
PARTS = (gpu.Part('tests', None, 20), gpu.Part('ldpnet', 'good', 20), gpu.Part('scene', 'bad', 20))
GOOD = """
import json, sys
json.dump({'tables': {'T': {'notes': ['A note.'], 'rows': {'a': {'ms': 1.5}}}}, 'errors': {},
           'targets': [{'target': 'fast', 'found': '2', 'reached': False}]}, open(sys.argv[1], 'w'))
"""


def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    scripts = {None: "print('2 failed, 3 passed')", 'good': GOOD, 'bad': 'raise SystemExit(1)'}
    scripts |= changes.pop('scripts', {})

    def command(part: gpu.Part, place: Path, *rest: Any) -> list[str]:
        return [sys.executable, '-c', scripts[part.bench], str(place)]

    monkeypatch.setattr(gpu, '_command', command)
    monkeypatch.setattr(gpu, 'PARTS', changes.pop('parts', PARTS))
    options = {
        'minutes': 1.0,
        'small': True,
        'device': 'cpu',
        'only': None,
        'logs': None,
        **changes,
    }
    output = tmp_path / 'gpu.json'
    gpu.GPUBench().run(argparse.Namespace(output=output, **options))
    return json.loads(output.read_text())


def test_a_part_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = measure(tmp_path, monkeypatch)
    status = {name: part['status'] for name, part in record['parts'].items()}
    assert status == {'tests': 'finished', 'ldpnet': 'finished', 'scene': 'failed'}
    assert record['parts']['tests']['summary'] == '2 failed, 3 passed'
    assert (
        main(
            ['bench', 'gpu-report', str(tmp_path / 'gpu.json'), '--output', str(tmp_path / 'p.md')]
        )
        == 0
    )
    text = (tmp_path / 'p.md').read_text()
    for expected in (
        '| fast | 2 | **missed** |',
        '| a | 1.5 |',
        'A note.',
        'The part failed',
        'small',
    ):
        assert expected in text


@pytest.mark.slow
def test_the_tests_of_a_gpu_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, 'TESTS', ('tests/toolkit/bench/test_turns.py',))
    command = gpu._command(PARTS[0], Path('unused'), 9.0, 'cpu', small=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    record = gpu._count_tests(done.stdout)
    assert re.match(r'[1-9]\d* passed in', record['summary']), done.stdout
    assert record['failed_tests'] == []


def test_a_part_that_hangs_is_cut_short_and_keeps_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = f'{GOOD}\nimport time\ntime.sleep(100)'
    started = time.monotonic()
    parts = (gpu.Part('ldpnet', 'good', 3),)
    record = measure(tmp_path, monkeypatch, parts=parts, scripts={'good': hanging})
    assert time.monotonic() - started < 30
    assert record['parts']['ldpnet']['status'] == 'cut short'
    assert record['parts']['ldpnet']['tables']['T']['rows'] == {'a': {'ms': 1.5}}


def test_without_time_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = measure(tmp_path, monkeypatch, minutes=0.01)
    assert {part['status'] for part in record['parts'].values()} == {'not started'}
    assert 'Not measured' in gpu_report.page(record, ['tests'])


def test_a_record_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'gpu.json').write_text('[]')
    assert main(['bench', 'gpu-report', str(tmp_path / 'gpu.json')]) == 2
    assert 'it has no parts' in capsys.readouterr().err


def test_an_error_is_recorded_and_the_part_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / 'r.json', torch.device('cpu'), True, 10)
    with recorder.attempt('one'):
        raise ValueError('no such thing')
    recorder.row('T', 'a', {'ms': 1})
    content = json.loads((tmp_path / 'r.json').read_text())
    assert content['errors'] == {'one': 'ValueError: no such thing'}
    assert content['tables']['T']['rows'] == {'a': {'ms': 1}}


def test_a_run_without_time_is_not_finished(tmp_path: Path) -> None:
    recorder = Recorder(None, torch.device('cpu'), True, -1)
    run_jobs(recorder, 'T', [RunJob('a', 'ldpnet/ldpnet_2022', (), 0)], 1, {})
    assert 'the time was over' in recorder.content['errors']['a, seed 0']


def test_timing_counts_runs() -> None:
    timing = time_run(lambda: time.sleep(0.002), torch.device('cpu'), 2)
    assert 0.002 <= timing.seconds < 0.02
