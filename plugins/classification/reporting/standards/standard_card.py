"""A reporting standard filled from the files of a run, as Markdown."""

from __future__ import annotations

from pathlib import Path

from plugins.classification.interfaces import NOTE
from plugins.classification.reporting.card_training import read_training
from plugins.classification.reporting.model_card import read_items, read_json
from plugins.classification.reporting.standards.checklists import STANDARDS, Standard
from plugins.classification.reporting.standards.facts import collect_facts
from plugins.classification.reporting.standards.run_files import RunFiles
from toolkit.errors import ToolkitError
from toolkit.io.tables.formatting import neutralize_markdown
from toolkit.run import capsule

OPEN = '**Open**: for the authors; no file of a run knows it.'


def make_standard_card(folder: Path, name: str) -> str:
    """Makes the checklist of a standard as Markdown.

    Each item is filled from the run, or named as open: what no run can know, and what the files of
    this run lack.

    Args:
        folder: of a run.
        name: of the standard, one of STANDARDS.
    Raises:
        ToolkitError: the folder holds no run of a classifier, or one of its files is damaged.
    """
    return _format(STANDARDS[name], folder, collect_facts(_read_run(folder)))


def count_filled(standard: Standard, known: dict[str, str]) -> tuple[int, int]:
    """Counts the items that a run can know, and those of them that are filled.

    Args:
        standard: the standard.
        known: facts of the run.
    Returns:
        Filled, and all that a run can know.
    """
    possible = [item for item in standard.items if item.facts]
    filled = [item for item in possible if any(name in known for name in item.facts)]
    return len(filled), len(possible)


def _format(standard: Standard, folder: Path, known: dict[str, str]) -> str:
    filled, possible = count_filled(standard, known)
    lines = [
        f'# {standard.title}: {folder.absolute().name}',
        '',
        f'**{NOTE}**',
        '',
        f'Source of the items: {standard.source}. They are in our own words; their numbers '
        'were compared with lists that authors had filled in, and the standard itself decides.',
        '',
        f'Filled from the run: {filled} of the {possible} items that a run can know. The other '
        f'{len(standard.items) - possible} of {len(standard.items)} are for the authors.',
    ]
    section = ''
    for item in standard.items:
        if item.section != section:
            section = item.section
            lines += ['', f'## {section}']
        lines += ['', f'### {item.number}. {item.text}', '']
        answers = [known[name] for name in item.facts if name in known]
        if answers:
            lines.append(' '.join(answers))
        elif item.facts:
            lines.append('**Open**: a run can know it, and the files of this one do not say it.')
        else:
            lines.append(OPEN)
    return neutralize_markdown('\n'.join(lines) + '\n')


def _read_run(folder: Path) -> RunFiles:
    record = capsule.read(folder)
    config = record.get('config') or {}
    if not isinstance((config.get('model') or {}).get('tasks'), dict):
        raise ToolkitError(
            f'{folder} holds no run of a classifier: its config has no model.tasks; a reporting '
            'standard is filled from a classifier'
        )
    tested = read_json(folder / 'metrics.json')
    return RunFiles(
        folder,
        config,
        record,
        read_training(record),
        tested,
        read_json(folder / 'clinical.json'),
        read_json(folder / 'external.json'),
        read_items(tested),
    )
