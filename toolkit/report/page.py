"""The report: one HTML file that makes no request to any server."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from markupsafe import Markup

import toolkit
from toolkit.analysis.aggregate import Analysis, analyze_study
from toolkit.analysis.results import holds_study, load
from toolkit.analysis.search.trials import is_search, select_trials
from toolkit.analysis.table_cells import Table
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import CAPSULE, PLAN, REPORT, list_run_files
from toolkit.registry.component_errors import describe_with_origin
from toolkit.report import plotly_bundle
from toolkit.report.jinja_environment import TEMPLATES, make_environment, read_style
from toolkit.report.panel import Panel, find_panels
from toolkit.report.panel_budget import PanelRequest, render_panels
from toolkit.report.runs.run_tables import make_studies_table
from toolkit.report.runs.single_runs import holds_run, read_single_runs
from toolkit.report.section import Section, list_panel_runs, make_sections

LIMIT = 8_000_000  # bytes of the whole file, if tables and curves leave room for images in it
MOST = 20_000_000  # bytes of the whole file
_IMAGES = 4_000_000  # that panels can have even where tables and curves take much
_GENERATOR = '<meta name="generator" content="Ablakit">'
_MARGIN = 20_000  # for headings and notes of panels
_SCRIPTS = (
    *('page', 'state', 'tables', 'filters', 'charts', 'curves', 'score_charts', 'axis_charts'),
    *('search_charts', 'compare', 'download'),
)
_PANEL_PARTS = ('contents', 'body')
_LIVE = 'live'  # the script of a page that renews itself


def write(folders: Sequence[Path | str], output: Path, overwrite: bool = False) -> list[str]:
    """Writes the report of studies and single runs.

    Args:
        folders: of studies and runs; the runs make a section together.
        output: the HTML file. An earlier report is replaced.
        overwrite: replace another file too, unless it belongs to one of the folders.
    Returns:
        Notes on parts that were left out.
    Raises:
        ToolkitError: a folder holds neither a study nor a run, is given twice, or is damaged; the
            output is a file of a run, or a file that is no report.
        RunError: the file cannot be written.
    """
    if output.is_dir():
        raise RunError(f'cannot write {output}: it is a folder; give the file: {output / REPORT}')
    if output.exists() and not output.is_file():
        raise RunError(f'cannot write {output}: it is no regular file')  # a device, a pipe
    inputs = [path for folder in folders for path in list_run_files(Path(folder))]
    check_outputs([output], inputs, overwrite=overwrite or is_report(output))
    page, notes = render(folders)
    atomic_write.write(output, page)
    return notes


def render(folders: Sequence[Path | str], live: str = '') -> tuple[str, list[str]]:
    """Renders the report of studies and single runs.

    Args:
        folders: of studies and runs.
        live: version of the files, for a page that a server renews; '' for a file.
    Returns:
        The page, and notes on parts that were left out.
    Raises:
        ToolkitError: a folder holds neither a study nor a run, is given twice, or is damaged.
    """
    analyses = _analyze_folders([Path(folder) for folder in folders])
    content = make_sections(analyses)
    kinds, notes = find_panels([analysis.results for analysis, _ in analyses])
    tested = [(analysis, study) for analysis, study in analyses if not is_search(analysis.results)]
    studies = make_studies_table([analysis for analysis, study in tested if study])
    # Panels get the room that the rest of the page leaves; their places are filled afterwards.
    places = [{name: _make_place() for name in _PANEL_PARTS} for _ in content]
    page = _render_page(content, kinds, notes, studies, places, live)
    size = len(page.encode()) + _MARGIN
    budget = max(0, min(max(LIMIT - size, _IMAGES), MOST - size))
    requests = [
        PanelRequest(name, kind, list_panel_runs(analysis))
        for analysis, _ in tested
        for name, kind in kinds
    ]
    rendered = iter(render_panels(requests, budget))
    for part, place in zip(content, places):
        if not part.search:
            part.panels = [panel for _ in kinds if (panel := next(rendered)) is not None]
        for name in _PANEL_PARTS:
            page = page.replace(place[name], _render_panels(part, name), 1)
    notes += [note for part in content for panel in part.panels for note in panel.notes]
    if len(page.encode()) > MOST:
        notes.append(f'the report takes {len(page.encode()) / 1e6:.1f} MB; report fewer studies')
    return page, notes


def write_panel_files(folder: Path) -> None:
    """Writes the files that panels make of a whole study, and prints their paths.

    Raises:
        RunError: runs contradict each other, or a file cannot be written; the other panels have
            written theirs.
    """
    analysis = analyze_study(load(folder))
    kinds, _ = find_panels([analysis.results])
    errors = []
    for name, kind in kinds:
        try:
            for path in kind().write_files(list_panel_runs(analysis), folder):
                print(f'wrote {path}')
        except ToolkitError as error:
            errors.append(str(error))
        except Exception as error:  # whatever a plugin raises must not cost the other results
            errors.append(f'the panel {name} failed: {describe_with_origin(error)}')
    if errors:
        raise RunError('; '.join(errors))


def is_report(path: Path) -> bool:
    """Tells whether a file is a report that `write` has written."""
    try:
        with path.open('rb') as file:
            return _GENERATOR.encode() in file.read(1000)
    except OSError:
        return False


def _analyze_folders(folders: Sequence[Path]) -> list[tuple[Analysis, bool]]:
    """Analyzes the studies in the order given, then all single runs together."""
    if not folders:
        raise ToolkitError('which DIR? give folders of studies or runs')
    seen: set[Path] = set()
    studies, runs = [], []
    for folder in folders:
        if folder.resolve() in seen:
            raise ToolkitError(f'{folder} is given twice')
        seen.add(folder.resolve())
        if holds_study(folder):
            studies.append(folder)
        elif holds_run(folder):
            runs.append(folder)
        elif not folder.is_dir():
            raise ToolkitError(f'no folder {folder}; give folders of studies or runs')
        else:
            raise ToolkitError(f'{folder} holds neither a study ({PLAN}) nor a run ({CAPSULE})')
    found = []
    for folder in studies:
        results = load(folder)
        trials = select_trials(results)
        found += [(analyze_study(r), True) for r in (results, trials) if r is not None]
    return found + ([(analyze_study(read_single_runs(runs)), False)] if runs else [])


def _make_place() -> Markup:
    """Makes a mark for what is filled in afterwards, which nothing else in the page can hold."""
    return Markup(f'<!-- {secrets.token_hex(16)} -->')


def _render_panels(part: Section, name: str) -> str:
    """Renders the panels of a section: their entries in the contents, or the panels."""
    template = make_environment().get_template('panels.html.j2')
    return getattr(template.module, name)(part)


def _render_page(
    content: Sequence[Section],
    kinds: Sequence[tuple[str, type[Panel]]],
    notes: Sequence[str],
    studies: Table | None,
    places: Sequence[dict[str, Markup]],
    live: str,
) -> str:
    names = (*_SCRIPTS, *([_LIVE] if live else []))
    sources = [(TEMPLATES / f'{name}.js').read_text(encoding='utf-8') for name in names]
    scripts = [_escape_script(source) for source in (*sources, *(kind.script for _, kind in kinds))]
    filled = make_environment()
    filled.filters['script'] = _escape_script
    return filled.get_template('report.html.j2').render(
        generator=Markup(_GENERATOR),
        title=', '.join(part.title for part in content),
        sections=content,
        panel_places=places,
        studies=studies,
        comparable=sum(len(part.data['runs']) for part in content) > 1,
        live=live,
        styles=[read_style()] + [kind.style for _, kind in kinds],
        scripts=scripts,
        script_sources=Markup(' '.join(map(_hash_script, (*scripts, plotly_bundle.read_plotly())))),
        library=plotly_bundle.pack_plotly(),
        licence=plotly_bundle.read_licence(),
        made=datetime.now(timezone.utc),
        version=toolkit.__version__,
        notes=notes,
    )


def _hash_script(text: str) -> str:
    """Returns a script as a source of a Content-Security-Policy, by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _escape_script(text: str) -> Markup:
    """Escapes the source of a script or style for its HTML element."""
    text = text.replace('\r\n', '\n').replace('\r', '\n')  # as a browser reads it, and hashes it
    return Markup(re.sub(r'</(?=script|style)', r'<\\/', text, flags=re.IGNORECASE))
