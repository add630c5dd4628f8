"""A report of runs that are being written: files torn, missing, or replaced while they are read."""

from __future__ import annotations

import os
import random
import re
import shutil
import threading
from pathlib import Path

import pytest

from tests.support.study_folders import begin, finish, planned, write, write_plan, write_run
from toolkit.io.run_layout import CAPSULE, CONFIG, METRICS_FILE, METRICS_LOG, STATUS
from toolkit.report import page as report_page
from toolkit.report import section_data

PICTURE, RECORD = 'pictures/scene-pan.png', 'pictures/scene.json'
FILES = (STATUS, METRICS_FILE, CAPSULE, CONFIG, METRICS_LOG, RECORD, PICTURE, 'study.yaml')
SCORE = 0.7351
STATES = {
    'missing': lambda path: path.unlink(),
    'empty': lambda path: path.write_bytes(b''),
    'half': lambda path: os.truncate(path, path.stat().st_size // 2),
    'garbage': lambda path: path.write_bytes(b'\xff\x00{]'),
    'a folder': lambda path: (path.unlink(), path.mkdir()),
}


def study_with_pictures(folder, count):
    from PIL import Image

    runs = [planned('full' if n == 0 else f'v{n}') for n in range(count)]
    write_plan(folder, runs)
    for run in runs:
        path = folder / run['folder']
        finish(path, {'score': SCORE})
        (path / 'pictures').mkdir()
        Image.new('RGB', (8, 8)).save(path / PICTURE)
        layers = [{'name': 'PAN', 'file': 'scene-pan.png'}]
        write(path / RECORD, {'item': 'scene', 'layers': layers})
    return [folder / run['folder'] for run in runs]


def shown_scores(html):
    """The scores of all runs in the data of a page."""
    packed = re.search(r'id="s1-data">(.*?)</script>', html, re.S)[1]
    return [run['metrics'].get('score') for run in section_data.unpack(packed)['runs']]


@pytest.mark.parametrize('state', STATES)
def test_no_state_of_a_file_stops_the_report_or_changes_a_number(tmp_path, state):
    runs = study_with_pictures(tmp_path, len(FILES))
    for run, name in zip(runs, FILES):
        path = tmp_path / name if name == 'study.yaml' else run / name
        STATES[state](path)
    html, _ = report_page.render([tmp_path])
    scores = shown_scores(html)
    unreadable = {FILES.index(STATUS), FILES.index(METRICS_FILE)}
    assert [score for n, score in enumerate(scores) if n not in unreadable] == [SCORE] * 6
    assert all(scores[n] is None for n in unreadable)


def test_folders_that_vanish_are_no_error(tmp_path):
    runs = study_with_pictures(tmp_path, 3)
    shutil.rmtree(runs[1])
    shutil.rmtree(runs[2] / 'pictures')
    assert shown_scores(report_page.render([tmp_path])[0]) == [SCORE, None, SCORE]


@pytest.mark.slow
def test_runs_that_start_end_and_vanish_while_the_report_reads_them(tmp_path):
    """The value of each attempt is its number, so that a mixture would show."""
    runs = study_with_pictures(tmp_path, 4)
    ended, chance = threading.Event(), random.Random(0)

    def churn():
        attempt = 1
        while not ended.is_set():
            run = runs[chance.randrange(len(runs))]
            attempt += 1
            begin_atomically(run, attempt)
            for name in (CONFIG, METRICS_LOG, RECORD, PICTURE, CAPSULE):
                if chance.random() < 0.5:
                    (run / name).unlink(missing_ok=True)
            if chance.random() < 0.3:
                shutil.rmtree(run)
            finish_atomically(run, attempt)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(12):
            html, _ = report_page.render([tmp_path])
            packed = re.search(r'id="s1-data">(.*?)</script>', html, re.S)[1]
            for run in section_data.unpack(packed)['runs']:
                if run['status'] == 'finished' and run['metrics']['score'] != SCORE:
                    assert run['metrics']['score'] == run['seconds']
    finally:
        ended.set()
        thread.join()


def begin_atomically(run: Path, attempt: int) -> None:
    _replace(run, STATUS, lambda made: begin(made, attempt))


def finish_atomically(run: Path, attempt: int) -> None:
    """Writes the metrics, then the status, each whole, as a study does."""
    value = float(attempt)
    for name in (METRICS_FILE, STATUS):
        _replace(run, name, lambda made: finish(made, {'score': value}, seconds=value))
    write_run(run)


def _replace(run: Path, name: str, make) -> None:
    made = run.parent.parent / 'made'
    make(made)
    run.mkdir(parents=True, exist_ok=True)
    os.replace(made / name, run / name)
