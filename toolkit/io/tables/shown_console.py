"""Console of rich whose contents cannot command the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from toolkit.io.shown_output import escape_controls, find_raw_stream


class ShownConsole(Console):
    """Console that shows control characters of its contents as codes, and sends its own.

    Args:
        stderr: prints to the standard error.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(file=find_raw_stream(sys.stderr if stderr else sys.stdout))

    def render(self, *arguments: Any, **keywords: Any) -> Iterable[Segment]:
        """Renders an object to segments of text."""
        for text, style, control in super().render(*arguments, **keywords):
            yield Segment(text if control else escape_controls(text), style, control)
