"""Facts of a run about the network, its training and its use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.classification.interfaces import NOTE
from plugins.classification.reporting.card_training import format_inline
from plugins.classification.reporting.standards.data_facts import describe_preprocessing
from plugins.classification.reporting.standards.run_files import RunFiles
from toolkit.engine import checkpoint


def describe_architecture(run: RunFiles) -> str:
    """Describes the parts of the network; '' if the files do not say."""
    model = run.config.get('model') or {}
    branches = {k: v for k, v in (model.get('branches') or {}).items() if v}
    parts = [f'branch {name}: {format_inline(node)}' for name, node in branches.items()]
    for name in ('neck', 'attention', 'trunk', 'head', 'task_weighting', 'views'):
        if model.get(name):
            parts.append(f'{name}: {format_inline(model[name])}')
    return f'{model.get("type")}; {"; ".join(parts)}. The output is a probability of each class.'


def describe_software(run: RunFiles) -> str:
    """Describes code and packages; '' if the files do not say."""
    record = run.trained or run.record
    packages = record.get('packages') or {}
    if not packages:
        return ''
    git = record.get('git') or {}
    shown = ', '.join(
        f'{name} {packages[name]}'
        for name in ('torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'scikit-learn')
        if name in packages
    )
    code = f', code {git["commit"]}' if git.get('commit') else ''
    dirty = ' with uncommitted changes' if git.get('dirty') else ''
    version = f'Python {record.get("python", "?")}, Ablakit {record.get("toolkit", "?")}'
    return f'{version}{code}{dirty}; {shown}.'


def describe_initialization(run: RunFiles) -> str:
    """Describes the weights that a training starts from; '' if the files do not say."""
    branches = (run.config.get('model') or {}).get('branches') or {}
    seed = (run.trained or run.record).get('seed')
    if start := run.config.get('load_from'):
        return f'The training starts from the weights {start}; seed {seed}.'
    shown = ', '.join(
        f'{name}: {_describe_weights(node)}' for name, node in branches.items() if node
    )
    return f'{shown}; parameters after the branches start at random, seed {seed}.' if shown else ''


def _describe_weights(node: Mapping[str, Any]) -> str:
    if source := node.get('weights'):
        return f'pretrained weights {source}'
    if node.get('type') == 'TimmBackbone':  # whose default is none
        return 'random weights'
    return f'as {node.get("type")} starts, which the files do not say'


def describe_training(run: RunFiles) -> str:
    """Describes optimizer, length and losses; '' if the files do not say."""
    optimizer = (run.config.get('optim_wrapper') or {}).get('optimizer')
    length = {k: v for k, v in (run.config.get('train_cfg') or {}).items() if v is not None}
    if run.trained is None or not optimizer:
        return ''
    batch = (run.config.get('train_dataloader') or {}).get('batch_size', '?')
    losses = {k: v for k, v in ((run.config['model'].get('losses')) or {}).items() if v}
    schedule = {k: v for k, v in (run.config.get('param_scheduler') or {}).items() if v}
    return (
        f'Optimizer {format_inline(optimizer)}; {format_inline(length)}; batches of {batch}; '
        f'losses {format_inline(losses)}; schedule {format_inline(schedule) or "constant"}.'
    )


def describe_augmentation(run: RunFiles) -> str:
    """Describes the augmentation of the training; '' if the files do not say."""
    node = run.datasets().get('train')
    if node is None or run.trained is None:
        return ''
    transforms = {k: v for k, v in (node.get('transforms') or {}).items() if v}
    shown = format_inline(transforms) if transforms else 'none'
    mixing = (run.config.get('model') or {}).get('mixing')
    return f'Augmentation: {shown}' + (f'; mixing {format_inline(mixing)}.' if mixing else '.')


def describe_selection(run: RunFiles) -> str:
    """Describes how the tested checkpoint was chosen; '' if the files do not say."""
    if run.tested is None or run.trained is None:
        return ''
    hooks = run.hooks()
    by = next((h.get('save_best') for h in hooks.values() if h and h.get('save_best')), None)
    name = Path(str(run.tested.get('checkpoint'))).name
    rule = f'the best by {by} of the validation' if by and name.startswith('best') else 'not chosen'
    return f'Tested is {name} of iteration {run.tested.get("iter")}, {rule}.'


def describe_ensembling(run: RunFiles) -> str:
    """Describes whether predictions are averaged; '' if the files do not say."""
    if run.tested is None:
        return ''
    views = (run.tested.get('prediction') or {}).get('views')
    averaged = f'; its logits are averaged over {views}' if views else ''
    return f'No ensemble: one network of one seed{averaged}.'


def describe_imbalance(run: RunFiles) -> str:
    """Describes what is done about rare classes; '' if the files do not say."""
    if run.trained is None:
        return ''
    losses = {k: v for k, v in ((run.config['model'].get('losses')) or {}).items() if v}
    sampler = (run.config.get('train_dataloader') or {}).get('sampler')
    hooks = run.hooks()
    rule = next((h for h in hooks.values() if h and h.get('type') == 'Calibrate'), None)
    weights = ', '.join(
        f'{node.get("type")}, class weights {node.get("class_weights") or "none stated"}'
        for node in losses.values()
    )
    return (
        f'Losses: {weights}; sampler: {format_inline(sampler) if sampler else "every image once"}; '
        f'recalibration: {format_inline(rule) if rule else "none"}.'
    )


def describe_config(run: RunFiles) -> str:
    """Describes where the technical details are; '' if the files do not say."""
    there = [
        n for n in ('config.yaml', 'capsule.json', 'MODEL_CARD.md') if (run.folder / n).exists()
    ]
    return f'The whole config and the record of the run: {", ".join(there)}.' if there else ''


def describe_availability(run: RunFiles) -> str:
    """Describes the file of the weights; '' if the files do not say."""
    weights = _find_weights(run)
    if weights is None:
        return ''
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return (
        f'Weights {weights.name}, SHA-256 {digest}; `toolkit export` writes them '
        'as ONNX with the preparation of images. Where they can be had is for the authors.'
    )


def _find_weights(run: RunFiles) -> Path | None:
    """Finds the tested weights, whose values the card has; they need not be the best ones."""
    if run.tested is None:
        return checkpoint.find_best_or_last(run.folder)
    tested = Path(str(run.tested.get('checkpoint')))
    # The folder of the run may have been moved since.
    places = (tested, checkpoint.get_folder(run.folder) / tested.name)
    return next((path for path in places if path.is_file()), None)


def describe_predicting(run: RunFiles) -> str:
    """Describes how the test predicted; '' if the files do not say."""
    if run.tested is None:
        return ''
    return (
        'By `toolkit test`: the network of the checkpoint on each test image, then temperature and '
        f'decision rule as stored. {describe_preprocessing(run)}'
    )


def describe_bad_input(run: RunFiles) -> str:
    """Describes what happens to input that cannot be read; '' if the files do not say."""
    return (
        'A file that cannot be read, or whose probabilities are not finite, stops `toolkit '
        'predict`, or is left out and named (--on-error skip); the quality of an image is not '
        'judged.'
    )


def describe_use(run: RunFiles) -> str:
    """Describes the intended use; '' if the files do not say."""
    return f'{NOTE} Implications for practice are for the authors.'
