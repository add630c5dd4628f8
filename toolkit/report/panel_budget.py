"""Renders panels within a budget of bytes that they share by need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from toolkit.registry.component_errors import describe_with_origin
from toolkit.report.panel import Panel, PanelRun


@dataclass(frozen=True)
class PanelRequest:
    """A panel and the runs that it is to show."""

    name: str
    kind: type[Panel]
    runs: Sequence[PanelRun]

    @property
    def title(self) -> str:
        """The heading."""
        return getattr(self.kind, 'title', self.name)


@dataclass(frozen=True)
class RenderedPanel:
    """The section of a panel.

    Attributes:
        title: heading.
        html: from the panel; '' if it failed or is too large.
        notes: what was left out, or the reason for an empty section.
    """

    title: str
    html: str
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the HTML."""
        return len(self.html.encode())


def render_panels(requests: Sequence[PanelRequest], budget: int) -> list[RenderedPanel | None]:
    """Renders panels so that all of them together keep to the budget.

    Each is first offered the whole budget, which tells how much it needs. If they need more
    together, those that need less than an equal share get all of it, and the others share what is
    left.

    Returns:
        For each request its panel; None if it has nothing to show.
    """
    found = [_render(request, budget) for request in requests]
    needs = {place: panel.size for place, panel in enumerate(found) if panel and panel.html}
    rest = budget
    # From the smallest need on, so that what one leaves is shared by those that need more.
    for waiting, place in zip(range(len(needs), 0, -1), sorted(needs, key=needs.__getitem__)):
        if needs[place] > rest // waiting:
            found[place] = _render(requests[place], rest // waiting)
        panel = found[place]
        rest -= panel.size if panel else 0
    return found


def _render(request: PanelRequest, budget: int) -> RenderedPanel | None:
    """Renders a panel; one that fails or takes too much leaves a note in its place."""
    try:
        rendered = request.kind().render(request.runs, budget)
    except Exception as error:  # whatever a plugin raises must not cost the rest of the report
        note = f'the panel {request.name} failed: {describe_with_origin(error)}'
        return RenderedPanel(request.title, '', (note,))
    if rendered is None:
        return None
    size = len(rendered.html.encode())
    if size > budget:
        note = f'{request.title} left out: {size / 1e6:.1f} MB, and {budget / 1e6:.1f} MB are left'
        return RenderedPanel(request.title, '', (*rendered.notes, note))
    return RenderedPanel(request.title, Markup(rendered.html), rendered.notes)
