"""Benchmarks of a classifier's training: beside a plain loop, and with cached features."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from plugins.classification.data.feature_cache import FeatureCache
from plugins.classification.interfaces import LabelledImages
from plugins.classification.system import Classifier
from toolkit.bench.turns import Taken, device_name, in_turns
from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.config.schema import RunConfig, Runtime
from toolkit.engine.collation import unwrap
from toolkit.engine.components import build_system
from toolkit.engine.dataloader import build_loader
from toolkit.engine.process import precision
from toolkit.engine.training.optim import OptimWrapper, build_optim_wrapper
from toolkit.errors import ToolkitError
from toolkit.registry import BENCHES
from toolkit.registry.command import Command


@BENCHES.register(name='classifier')
class ClassifierBench(Command):
    """Measure the seconds of a classifier's training step, beside a plain loop.

    The plain loop trains the same timm models with random weights, a linear layer on their joined
    features, AdamW and fp32. The system runs in bf16 and channels_last, with all that its config
    adds. Both train all weights, in turns.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('name', nargs='?', default='csasn/csasn', metavar='CONFIG', help='(csasn/csasn)')
        add('changes', nargs='*', metavar='KEY=VALUE', help='changes of the config')
        add('--batch-size', type=int, default=8, help='images a step (8)')
        add('--repeats', type=int, default=5, help='steps of each that count (5)')
        add('--device', default='auto', choices=('auto', 'cpu', 'cuda'), help="('auto')")

    def run(self, arguments: argparse.Namespace) -> int:
        run = _load_run(arguments)
        device = precision.choose_device(Runtime(device=arguments.device))
        steps = {
            'plain loop, fp32': _make_plain_step(run, device, arguments.batch_size),
            'this system, fp32': _make_system_step(run, Runtime(), device, arguments.batch_size),
            'this system, bf16 and channels_last': _make_system_step(
                run, Runtime(precision='bf16', channels_last=True), device, arguments.batch_size
            ),
        }
        print(_format_table(in_turns(steps, arguments.repeats, device, warm_up=True)))
        print(
            f'batch {arguments.batch_size}, medians of {arguments.repeats}, {device_name(device)}'
        )
        return 0


@BENCHES.register(name='features')
class FeaturesBench(Command):
    """Measure the seconds of an epoch behind frozen branches, with and without cached features.

    Both read the training data of the config, in turns. The time to compute the features once is
    printed separately.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('name', metavar='CONFIG', help='of a classifier with frozen branches')
        add('changes', nargs='*', metavar='KEY=VALUE', help='changes of the config')
        add('--repeats', type=int, default=3, help='epochs of each (3)')
        add('--device', default='auto', choices=('auto', 'cpu', 'cuda'), help="('auto')")

    def run(self, arguments: argparse.Namespace) -> int:
        run = _load_run(arguments)
        device = precision.choose_device(Runtime(device=arguments.device))
        if run.train_dataloader is None:
            raise ToolkitError(f'{arguments.name} has no train_dataloader to read images from')
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            kept = _make_epoch(run, device, FeatureCache(folder))
            computing = time.perf_counter() - start
            epochs = {'without': _make_epoch(run, device, None), 'with cached features': kept}
            print(_format_table(in_turns(epochs, arguments.repeats, device, warm_up=True)))
        print(f'computing the features once took {computing:.1f} s; {device_name(device)}')
        return 0


Step = Callable[[], None]


def _load_run(arguments: argparse.Namespace) -> RunConfig:
    if arguments.repeats < 1:
        raise ToolkitError(f'--repeats must be at least 1, found {arguments.repeats}')
    run = fill_checked(load(arguments.name, arguments.changes))
    if not issubclass(run.model.cls, Classifier):  # type: ignore[attr-defined]
        raise ToolkitError(f'{arguments.name} is not a config of a Classifier')
    if run.optim_wrapper is None:
        raise ToolkitError(f'{arguments.name} has no training: it needs optim_wrapper')
    return run


class PlainNetwork(nn.Module):
    """Linear layer for each task on the joined, pooled features of all models."""

    def __init__(self, system: Classifier) -> None:
        super().__init__()
        self.models = nn.ModuleList(
            timm.create_model(
                branch.name,
                num_classes=0,
                in_chans=system.in_channels,
                **({'img_size': system.size} if branch.has_fixed_size else {}),
            )
            for branch in system.branches.values()
        )
        width = sum(model.num_features for model in self.models)
        self.heads = nn.ModuleList(nn.Linear(width, len(t.classes)) for t in system.tasks.values())

    def forward(self, image: Tensor) -> list[Tensor]:
        joint = torch.cat([model(image) for model in self.models], 1)
        return [head(joint) for head in self.heads]


def _make_plain_step(run: RunConfig, device: torch.device, batch_size: int) -> Step:
    system = build_system(run)
    network = PlainNetwork(system).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    batch = make_batch(system, batch_size)
    image, labels = batch['image'].to(device), [v.to(device) for v in batch['labels'].values()]

    def step() -> None:
        optimizer.zero_grad()
        pairs = zip(network(image), labels)
        sum(nn.functional.cross_entropy(logits, wanted) for logits, wanted in pairs).backward()
        optimizer.step()

    return step


def _make_system_step(
    run: RunConfig, runtime: Runtime, device: torch.device, batch_size: int
) -> Step:
    system, wrapper = build_trainable(run, runtime, device)
    batch = precision.move_batch(make_batch(system, batch_size), runtime, device)

    def step() -> None:
        with wrapper.optim_context(system):
            terms = system(batch, mode='loss')
        wrapper.update_params(sum(terms.values()))

    return step


def build_trainable(
    run: RunConfig, runtime: Runtime, device: torch.device
) -> tuple[Classifier, OptimWrapper]:
    """Builds a system that trains all its weights, as for data with equally many of each class."""
    assert run.optim_wrapper is not None
    system = build_system(run)
    precision.move_system(system, runtime, device)
    system.train().requires_grad_(True)
    for name, losses in system.losses.items():
        counts = dict.fromkeys(system.tasks[name].classes, 100)
        for loss in losses.values():
            loss.use_counts(counts)
    return system, build_optim_wrapper(system, run.optim_wrapper, runtime, device)


def make_batch(system: Classifier, batch_size: int) -> dict[str, Any]:
    """Makes a batch of random images, with labels of all classes in turn."""
    generator = torch.Generator().manual_seed(0)
    batch = system.example(batch_size)
    batch['image'] = torch.rand(batch['image'].shape, generator=generator)
    for name, task in system.tasks.items():
        batch['labels'][name] = torch.arange(batch_size) % len(task.classes)
    return batch


def _make_epoch(run: RunConfig, device: torch.device, cache: FeatureCache | None) -> Step:
    config = run.train_dataloader
    assert config is not None
    system: Classifier = build_system(run)
    system.cache = cache
    precision.move_system(system, run.runtime, device)
    dataset = config.dataset()
    assert isinstance(dataset, LabelledImages)
    system.check_data(dataset)
    system.prepare(
        {'train': dataset},
        device=device,
        context=lambda: precision.autocast(run.runtime, device),
        say=lambda line: None,
    )
    wrapper = build_optim_wrapper(system.train(), run.optim_wrapper, run.runtime, device)
    loader = build_loader(config, dataset, training=True, seed=0, device=device)

    def step() -> None:
        for batch in loader:
            batch = precision.move_batch(unwrap(batch), run.runtime, device)
            with wrapper.optim_context(system):
                terms = system(batch, mode='loss')
            wrapper.update_params(sum(terms.values()))

    return step


def _format_table(taken: Mapping[str, Taken]) -> str:
    first = next(iter(taken.values())).seconds
    width = max(map(len, taken))
    lines = [f'{"":{width}}  seconds  times as fast']
    for name, (seconds, _) in taken.items():
        lines.append(f'{name:{width}}  {seconds:7.3f}  {first / seconds:13.2f}')
    return '\n'.join(lines)
