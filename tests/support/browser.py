"""A real browser for pages that stand alone: everything it says or asks for is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path('/usr/bin/chromium')
# As it runs without a sandbox of its own, and without calling home.
FLAGS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
)
DESKTOP, PHONE = (1280, 900), (390, 844)


@contextmanager
def started() -> Iterator[Any]:
    """A browser; skips the test where there is none."""
    api = pytest.importorskip(
        'playwright.sync_api', reason='needs playwright: pip install playwright'
    )
    if not CHROMIUM.exists():
        pytest.skip(f'needs a browser: {CHROMIUM}, of the package chromium')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, path: Path, size: tuple[int, int] = DESKTOP, **context: Any
) -> Iterator[Any]:
    """A page of a file; fails if it wrote to the console, raised an error or asked for anything."""
    said: list[str] = []
    address = path.absolute().as_uri()
    holder = browser.new_context(viewport={'width': size[0], 'height': size[1]}, **context)

    def answer(route: Any) -> None:
        if route.request.url == address:
            route.continue_()
        else:
            said.append(f'request: {route.request.url[:200]}')
            route.abort()

    holder.route('**/*', answer)
    page = holder.new_page()
    page.set_default_timeout(20_000)
    page.on('console', lambda message: said.append(f'{message.type}: {message.text}'))
    page.on('pageerror', lambda error: said.append(f'error: {error}'))
    page.goto(address)
    page.wait_for_selector('html[data-charts=drawn]', state='attached')
    yield page
    holder.close()
    assert not said, said
