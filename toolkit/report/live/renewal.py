"""Renders a report anew in the background whenever its files have changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.report import page
from toolkit.report.live.stamps import stamp_folders

SECONDS = 3.0  # between two looks at the files


@dataclass(frozen=True)
class Edition:
    """A page as it was rendered last.

    Attributes:
        page: the HTML.
        version: of the files that it shows.
        error: why it could not be rendered anew since; '' if it could.
    """

    page: bytes
    version: str
    error: str = ''


class Renewal:
    """Keeps the report of some folders up to date.

    Args:
        folders: of studies and runs.
        seconds: between two looks at their files.

    Attributes:
        edition: the page as it was rendered last; empty before the start.
    """

    def __init__(self, folders: Sequence[Path], seconds: float = SECONDS) -> None:
        self.folders = list(folders)
        self.seconds = seconds
        self.edition = Edition(b'', '')
        self._seen = ''
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Renders the page, and starts to look at its files.

        Raises:
            ToolkitError: see `toolkit.report.page.render`.
        """
        self._seen = stamp_folders(self.folders)
        self.edition = self._render(self._seen)
        self._thread.start()

    def stop(self) -> None:
        """Ends the looks; a page that is being rendered is given up with the process."""
        self._ended.set()

    def renew(self) -> bool:
        """Renders the page anew if a file has changed, and tells whether one had."""
        stamp = stamp_folders(self.folders)
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            self.edition = self._render(stamp)
        except Exception as error:  # the last page stays, whatever a plugin or a file does
            what = str(error) if isinstance(error, ToolkitError) else repr(error)
            self.edition = Edition(self.edition.page, self.edition.version, what)
        return True

    def _follow(self) -> None:
        while not self._ended.wait(self.seconds):
            self.renew()

    def _render(self, version: str) -> Edition:
        html, _ = page.render(self.folders, live=version)
        return Edition(html.encode(), version)
