"""A report that renews itself in a real browser."""

from __future__ import annotations

import threading

import pytest

from tests.support.study_folders import finish, study_of
from toolkit.report.live import server
from toolkit.report.live.renewal import Renewal

pytestmark = pytest.mark.slow


def test_the_page_follows_the_runs(browser, tmp_path):
    study = study_of(tmp_path / 'study', {'full': [0.5, None], 'other': [0.6, 0.7]})
    renewal = Renewal([study], seconds=0.2)
    with server.ReportServer(renewal, port=0) as found:
        renewal.start()
        threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        said = []
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.goto(found.url)
        page.wait_for_selector('html[data-charts=drawn]', state='attached')
        assert '3 of 4 runs have finished' in page.locator('.abstract').inner_text()
        finish(study / 'runs/full-s1', {'score': 0.55})
        page.wait_for_selector('text=4 of 4 runs have finished', timeout=30_000)
        found.shutdown()
        renewal.stop()
        assert said == []
        context.close()
