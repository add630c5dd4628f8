"""Facts of a run about its data."""

from __future__ import annotations

from plugins.classification.reporting.card_training import format_inline
from plugins.classification.reporting.standards.run_files import RunFiles

LOCATION = ('manifest', 'folder', 'file')
PREPARATION = ('size', 'channels', 'fit', 'region', 'full_scale')


def describe_sources(run: RunFiles) -> str:
    """Describes the data sets of each subset; '' if the files do not say."""
    parts = []
    for name, node in run.datasets().items():
        place = ', '.join(f'{key} {node[key]}' for key in LOCATION if node.get(key))
        parts.append(f'{name}: {node.get("type", "?")}' + (f' ({place})' if place else ''))
    return '; '.join(parts)


def describe_fingerprints(run: RunFiles) -> str:
    """Describes the fingerprints of the data; '' if the files do not say."""
    data = {**((run.trained or {}).get('data') or {}), **(run.record.get('data') or {})}
    known = {name: value for name, value in data.items() if value}
    if not known:
        return ''
    shown = ', '.join(f'{name} {value}' for name, value in known.items())
    return f'Fingerprints of the data: {shown}. Whether the data are available is for the authors.'


def describe_centres(run: RunFiles) -> str:
    """Describes the centres of the test images; '' if the files do not say."""
    if not run.items:
        return ''
    names = sorted({str(row.get('centre') or '') for row in run.items.values()} - {''})
    if not names:
        return 'The test images name no centre.'
    return f'Test images of {len(names)} centres: {", ".join(names[:10])}.'


def describe_preprocessing(run: RunFiles) -> str:
    """Describes how images become inputs; '' if the files do not say."""
    node = run.datasets().get('test') or run.datasets().get('train')
    if node is None:
        return ''
    model = run.config.get('model') or {}
    stated = {key: node[key] for key in PREPARATION if node.get(key) is not None}
    size = stated.setdefault('size', model.get('size', 224))
    text = f'Images are brought to {size} x {size} pixels in [0, 1] ({format_inline(stated)})'
    transforms = {k: v for k, v in (node.get('transforms') or {}).items() if v}
    if transforms:
        names = ', '.join(str(v.get('type', k)) for k, v in transforms.items())
        text += f', transforms of the test: {names}'
    return (
        text + '; each backbone subtracts the mean of its weights and divides by their deviation.'
    )


def describe_partition(run: RunFiles) -> str:
    """Describes how images are assigned to subsets; '' if the files do not say."""
    parts = []
    for name, node in run.datasets().items():
        split = node.get('split')
        shown = f'split {format_inline(split)}' if split else 'no split stated'
        parts.append(f'{name}: subset {node.get("subset", name)}, {shown}')
    return '; '.join(parts)


def describe_disjoint(run: RunFiles) -> str:
    """Describes what training and test share; '' if the files do not say."""
    if run.tested is None or run.trained is None:
        return ''
    if overlap := run.tested.get('overlap'):
        return f'Not disjoint: {overlap}.'
    text = (
        'The training and the test share no file and no patient by name; images that are nearly '
        'the same are not looked for (`toolkit audit` finds them)'
    )
    if run.items and all((r.get('patient') or r['id']) == r['id'] for r in run.items.values()):
        text += '; patients are not named, so that each image counts as one'
    return text + '.'


def describe_missing(run: RunFiles) -> str:
    """Describes how missing labels are handled; '' if the files do not say."""
    counts = {name: task['counts']['missing_labels'] for name, task in run.tasks().items()}
    if not counts:
        return ''
    shown = ', '.join(f'{name} {count}' for name, count in counts.items())
    return (
        'A missing label is left out of the loss and of the metrics of its task. Test images '
        f'without a label: {shown}.'
    )


def describe_classes(run: RunFiles) -> str:
    """Describes the tasks and classes; '' if the files do not say."""
    tasks = (run.config.get('model') or {}).get('tasks') or {}
    parts = []
    for name, task in tasks.items():
        positive = task.get('positive')
        parts.append(
            f'{name}: {", ".join(map(str, task["classes"]))}'
            + (f' (positive: {positive})' if positive else '')
        )
    return f'Classes by task: {"; ".join(parts)}. How they were assessed is for the authors.'


def describe_inputs(run: RunFiles) -> str:
    """Describes the predictors; '' if the files do not say."""
    model = run.config.get('model') or {}
    return (
        f'The only input is the image, of {model.get("in_channels", 3)} channels; no clinical '
        'variable is used.'
    )


def describe_test_size(run: RunFiles) -> str:
    """Describes the numbers of images and patients tested; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        counts = task['counts']
        classes = ', '.join(
            f'{n} {c["images"]} images of {c["patients"]} patients'
            for n, c in counts['by_class'].items()
        )
        parts.append(f'{name}: {counts["images"]} images of {counts["patients"]} ({classes})')
    if not parts:
        return ''
    return f'Tested, by task: {"; ".join(parts)}. The run computes no size in advance.'


def describe_case_mix(run: RunFiles) -> str:
    """Describes the groups of the test images; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        for attribute, groups in task['subgroups'].items():
            shown = ', '.join(
                f'{g} {one["images"]} images of {one["patients"]}' for g, one in groups.items()
            )
            parts.append(f'{name} by {attribute}: {shown}')
    if not parts:
        return ''
    return f'Of the test: {"; ".join(parts)}. Those of the training are not among the files.'
