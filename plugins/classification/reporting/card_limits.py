"""What a model card says of a run's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEW_PATIENTS = 100

Tree = Mapping[str, Any]


def limits(
    config: Tree, record: Tree, items: Mapping[str, Tree], clinical: Tree | None
) -> Iterator[str]:
    """What the run's files show to be weak, a line of Markdown each; each is a fact of theirs.

    Args:
        config: of the run.
        record: its capsule.
        items: test images by id, with `patient` and `centre`.
        clinical: `clinical.json`, None where there is none.
    """
    found = []
    if (status := record.get('status')) != 'finished':
        found.append(f'The run is not finished: its status is {status}.')
    data = {k: v for k, v in (record.get('data') or {}).items() if v}
    for one, other in (('train', 'test'), ('val', 'test'), ('train', 'val')):
        if data.get(one) is not None and data.get(one) == data.get(other):
            found.append(f'**Leak**: the {one} and the {other} data are the same ({data[one]}).')
    if items:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        if all((row.get('patient') or row['id']) == row['id'] for row in items.values()):
            found.append(
                'Patients are not known: images of one patient may lie in several parts of the '
                'split, and intervals take each image for a patient.'
            )
        if len(patients) < FEW_PATIENTS:
            found.append(f'The test has {len(patients)} patients, so that intervals are wide.')
        centres = {row.get('centre') or '' for row in items.values()}
        if len(centres) == 1:
            found.append('The test images are of one centre, or of none that is known.')
    for name, task in ((clinical or {}).get('tasks') or {}).items():
        counts = task['counts']
        if counts['missing_labels']:
            found.append(f'{name}: {counts["missing_labels"]} test images have no label.')
        for label, number in counts['by_class'].items():
            if number['images'] < 10:
                found.append(f'{name}: the test has {number["images"]} images of {label}.')
        if task['threshold'] is not None and str(task['chosen']).startswith('the defaults'):
            found.append(f'{name}: threshold and temperature were not chosen on validation data.')
    if config.get('val_dataloader') is None:
        found.append('There was no validation data.')
    found += [
        'One run of one seed: what another seed would give is not known from it.',
        'Tested on data of the same source as the training unless the data above say otherwise; '
        'other scanners, centres and populations may give other results.',
        "Duplicates and leaks between the parts of the split: no audit is among the run's files "
        '(`toolkit audit MANIFEST` makes one).',
    ]
    yield from (f'- {line}' for line in found)
