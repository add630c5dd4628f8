"""Section of a model card on the limits that the files of a run show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEW_PATIENTS, FEW_IMAGES = 100, 10

Tree = Mapping[str, Any]


def describe_limits(
    config: Tree,
    record: Tree,
    trained: Tree | None,
    items: Mapping[str, Tree],
    clinical: Tree | None,
    external: Tree | None,
) -> Iterator[str]:
    """List the weaknesses that the run's files show, one per line.

    Args:
        config: config of the run.
        record: capsule of the run.
        trained: capsule of its training; None if it is not found.
        items: test images by id, with `patient` and `centre`.
        clinical: content of `clinical.json`; None if there is none.
        external: content of `external.json`; None if there is none.
    """
    if (status := record.get('status')) != 'finished':
        yield f'- The run is not finished: its status is {status}.'
    everything = {**((trained or {}).get('data') or {}), **(record.get('data') or {})}
    data = {k: v for k, v in everything.items() if v}
    for one, other in (('train', 'test'), ('val', 'test'), ('train', 'val')):
        if data.get(one) is not None and data.get(one) == data.get(other):
            yield f'- **Leak**: the {one} and the {other} data are the same ({data[one]}).'
    if items:
        patients = {row.get('patient') or row['id'] for row in items.values()}
        if all((row.get('patient') or row['id']) == row['id'] for row in items.values()):
            yield (
                '- Patients are not known: images of one patient may lie in several subsets, and '
                'intervals take each image for a patient.'
            )
        if len(patients) < FEW_PATIENTS:
            yield f'- The test has {len(patients)} patients, so that intervals are wide.'
        if len({row.get('centre') or '' for row in items.values()}) == 1:
            yield '- The test images are of one centre, or of none that is known.'
    for name, task in ((clinical or {}).get('tasks') or {}).items():
        counts = task['counts']
        if counts['missing_labels']:
            yield f'- {name}: {counts["missing_labels"]} test images have no label.'
        for label, number in counts['by_class'].items():
            if number['images'] < FEW_IMAGES:
                yield f'- {name}: the test has {number["images"]} images of {label}.'
        if task['threshold'] is not None and str(task['chosen']).startswith('the defaults'):
            yield f'- {name}: threshold and temperature were not chosen on validation data.'
    if config.get('val_dataloader') is None:
        yield '- There was no validation data.'
    yield '- One run of one seed: another seed may give another result.'
    if external is None:
        yield (
            '- Tested on data of the same source as the training unless the data above say '
            'otherwise; other scanners, centres and populations may give other results '
            '(`toolkit external` tests on them).'
        )
        yield (
            "- Duplicates and leaks between the subsets: no audit is among the run's files "
            '(`toolkit audit MANIFEST` makes one).'
        )
        return
    if known := external['known_images']:
        yield f'- **Leak**: {len(known)} external images are known to the training.'
    elif not external['compared_with']:
        yield '- It is not known whether the external images are new to the network.'
    for gap in external['not_compared']:
        yield f'- Not compared with the training: {gap}.'
