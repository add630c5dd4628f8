"""Facts of a run about its results."""

from __future__ import annotations

from plugins.classification.reporting import card_limits
from plugins.classification.reporting.clinical.clinical_text import format_value
from plugins.classification.reporting.standards.data_facts import LOCATION, describe_sources
from plugins.classification.reporting.standards.run_files import RunFiles


def describe_metrics(run: RunFiles) -> str:
    """Describes the metrics; '' if the files do not say."""
    names = {name.partition('/')[0] for task in run.tasks().values() for name in task['values']}
    if not names:
        return ''
    return f'{", ".join(sorted(names))}; calibration: ECE, Brier, NLL; risk against coverage.'


def describe_statistics(run: RunFiles) -> str:
    """Describes how intervals are made; '' if the files do not say."""
    found = run.clinical
    if found is None:
        return ''
    return (
        f'Intervals: {found["interval"]}, {found["resamples"]} resamples, seed {found["seed"]}; '
        'exact ones (Clopper and Pearson, by patient) where a bootstrap says too little; DeLong '
        'for AUC. Models are compared by `toolkit compare` and by a study over seeds.'
    )


def describe_subgroups(run: RunFiles) -> str:
    """Describes values by subgroup; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        for attribute, groups in task['subgroups'].items():
            values = [
                f'{group} (n {one["images"]}): '
                + ', '.join(f'{n} {format_value(v)}' for n, v in list(one['values'].items())[:2])
                for group, one in groups.items()
            ]
            parts.append(f'{name} by {attribute}: {"; ".join(values)}')
    return '. '.join(parts)


def describe_selective(run: RunFiles) -> str:
    """Describes the errors of the surest decisions; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        if found := task.get('selective'):
            shown = ', '.join(f'{n} {format_value(v)}' for n, v in found['values'].items())
            parts.append(f'{name}: {shown}')
    return f'Errors of the surest decisions: {"; ".join(parts)}.' if parts else ''


def describe_explanation(run: RunFiles) -> str:
    """Describes the maps of explanation; '' if the files do not say."""
    folder = run.folder / 'pictures'
    count = len(list(folder.glob('*.json'))) if folder.is_dir() else 0
    return f'Grad-CAM and attention maps of {count} test images in `pictures/`.' if count else ''


def describe_internal(run: RunFiles) -> str:
    """Describes the internal test; '' if the files do not say."""
    if run.tested is None or run.external is not None:
        return ''
    data = run.datasets()
    train, test = (
        {key: data.get(subset, {}).get(key) for key in ('type', *LOCATION)}
        for subset in ('train', 'test')
    )
    same = (
        'Training and test are subsets of the same data'
        if train == test and any(test[key] for key in LOCATION)
        else 'The files do not say that training and test are of the same source'
    )
    return f'{same}: {describe_sources(run)}.'


def describe_external(run: RunFiles) -> str:
    """Describes the external test; '' if the files do not say."""
    if run.external is None:
        return ''
    return (
        f'External test on {run.external["manifest"]}: external.md has case mix, values, '
        'calibration and thresholds beside the internal test.'
    )


def describe_performance(run: RunFiles) -> str:
    """Describes the main values; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        whole = {n: v for n, v in task['values'].items() if '/' not in n}
        shown = ', '.join(f'{n} {format_value(v)}' for n, v in whole.items())
        parts.append(f'{name}: {shown}')
    return f'{"; ".join(parts)} [95 % intervals].' if parts else ''


def describe_operating_point(run: RunFiles) -> str:
    """Describes threshold and values at it; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        values = task['values']
        if task['positive'] is None:
            shown = [f'{n} {format_value(v)}' for n, v in values.items() if '/' in n][:12]
            parts.append(
                f'{name}, decided for the likeliest class unless costs say otherwise: '
                + ', '.join(shown)
            )
            continue
        names = ('sensitivity', 'specificity', 'PPV', 'NPV')
        shown = [f'{n} {format_value(values[n])}' for n in names if n in values]
        parts.append(
            f'{name}: threshold {task["threshold"]:.4f} on the probability of {task["positive"]} '
            f'({task["chosen"]}): {", ".join(shown)}'
        )
    return '; '.join(parts)


def describe_calibration(run: RunFiles) -> str:
    """Describes calibration before and after; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        before, after = (task['calibration'][when]['ECE'] for when in ('before', 'after'))
        parts.append(
            f'{name}: temperature {task["temperature"]}, {task["chosen"]}; ECE '
            f'{format_value(before)} before, {format_value(after)} after'
        )
    return '; '.join(parts)


def describe_failures(run: RunFiles) -> str:
    """Describes the mistakes; '' if the files do not say."""
    parts = []
    for name, task in run.tasks().items():
        matrix = task['confusion']
        wrong = sum(n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j)
        pairs = sorted(
            (
                (n, task['classes'][i], task['classes'][j])
                for i, row in enumerate(matrix)
                for j, n in enumerate(row)
                if i != j and n
            ),
            reverse=True,
        )
        most = ', '.join(f'{n} {true} called {said}' for n, true, said in pairs[:3])
        parts.append(
            f'{name}: {wrong} of {task["counts"]["images"]} wrong' + (f' ({most})' if most else '')
        )
    pictures = (
        '; the surest mistakes are in `figures/`' if (run.folder / 'figures').exists() else ''
    )
    return f'{"; ".join(parts)}{pictures}.' if parts else ''


def describe_limits(run: RunFiles) -> str:
    """Describes the limits that the files show; '' if the files do not say."""
    lines = card_limits.describe_limits(
        run.config, run.record, run.trained, run.items, run.clinical, run.external
    )
    return ' '.join(line.removeprefix('- ') for line in lines)
