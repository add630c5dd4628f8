"""The loop of validation and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from toolkit.engine.collation import SHOWN, BatchCheck, find_nan, unwrap
from toolkit.engine.dataloader import BatchSampler, SampleRequest
from toolkit.engine.evaluator import Evaluation, Evaluator, get_item_names
from toolkit.engine.process import distributed, precision, seeding
from toolkit.testing import guards

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


class EvalLoop(BaseLoop):
    """Runs the system over a dataset and measures its outputs.

    Random numbers used here do not change the training.

    Attributes:
        result: result of the last evaluation; None before the first.
        requests: requests of the samples of the current batch.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any],
        evaluator: Evaluator,
        subset: Literal['val', 'test'],
    ) -> None:
        super().__init__(runner, dataloader)
        self.evaluator = evaluator
        self.subset = subset
        self.result: Evaluation | None = None
        self.requests: list[SampleRequest] = []
        self._warned: set[str] = set()

    def run(self) -> dict[str, float]:
        runner, subset = self.runner, self.subset
        sampler: BatchSampler = self.dataloader.batch_sampler  # type: ignore[assignment]
        distributed.sync_buffers(runner.system)
        runner.call_hook(f'before_{subset}')
        runner.call_hook(f'before_{subset}_epoch')
        runner.system.eval()
        self.evaluator.reset()
        batch_check = BatchCheck(runner.system, self.dataloader.dataset.dataset)
        with seeding.isolate(seeding.derive_seed(runner.seed, subset, distributed.get_rank())):
            for index, (requests, batch) in enumerate(zip(sampler, self.dataloader, strict=True)):
                batch, self.requests = unwrap(batch), requests
                runner.call_hook(f'before_{subset}_iter', batch_idx=index, data_batch=batch)
                batch_check.check(batch)
                batch = precision.move_batch(batch, runner.runtime, runner.device)
                with (
                    torch.no_grad(),
                    precision.autocast(runner.runtime, runner.device),
                    guards.keep_unchanged(batch, runner.system),
                ):
                    outputs = runner.system(batch, mode='predict')
                outputs = precision.cast_to_float32(outputs)
                self._look_for_nan(outputs, batch)
                self.evaluator.add(requests, outputs, batch)
                runner.call_hook(
                    f'after_{subset}_iter', batch_idx=index, data_batch=batch, outputs=outputs
                )
        self.result = self.evaluator.finish()
        metrics = dict(self.result.metrics)
        runner.call_hook(f'after_{subset}_epoch', metrics=metrics)
        runner.call_hook(f'after_{subset}')
        return metrics

    def _look_for_nan(self, outputs: Mapping[str, Any], batch: dict[str, Any]) -> None:
        """Refuses NaN in outputs, and warns of NaN in a batch, where it may mean "not known".

        Raises:
            ComponentRunError: an output has NaN, which a metric may turn into a good number.
        """
        items = ', '.join(str(name) for name in get_item_names(batch, self.requests)[:SHOWN])
        for name in find_nan({key: value for key, value in batch.items() if key != 'meta'}):
            if name not in self._warned:
                self._warned.add(name)
                self.runner.say(f'warning: {name!r} of the {self.subset} data has NaN ({items})')
        if found := find_nan(outputs):
            raise guards.make_run_error(
                self.runner.system, f'gives NaN in its output {found[0]!r} ({items})'
            )
