"""Weighting of the losses of several tasks: fixed, by uncertainty, by their rate of descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from plugins.classification.interfaces import TASK_WEIGHTINGS, TaskWeighting
from toolkit.engine.process import distributed
from toolkit.errors import did_you_mean
from toolkit.ranges import NonNegativeFloat, PositiveFloat


@TASK_WEIGHTINGS.register
class FixedWeights(TaskWeighting):
    """A factor for each task, the same throughout.

    Args:
        tasks: their names. Injected by the system.
        weights: by task; 1 for those not named.
    Raises:
        ValueError: an unknown task, a factor that is negative or not finite.
    """

    def __init__(
        self, tasks: Sequence[str], weights: dict[str, NonNegativeFloat] | None = None
    ) -> None:
        super().__init__(tasks)
        for name, weight in (weights or {}).items():
            if name not in tasks:
                hint = did_you_mean(name, tasks) or f'; there are: {", ".join(tasks)}'
                raise ValueError(f'weights: no task is named {name!r}{hint}')
            if not 0 <= weight < float('inf'):
                raise ValueError(f'weights.{name} must be 0 or more, found {weight}')
        self.weights = {name: (weights or {}).get(name, 1.0) for name in tasks}

    def forward(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        return {name: self.weights[name] * loss for name, loss in losses.items()}


@TASK_WEIGHTINGS.register
class UncertaintyWeights(TaskWeighting):
    """Weights each task by a learned uncertainty: exp(-s) L + s / 2 with a log variance s.

    Kendall et al. 2018, arXiv 1705.07115, eq. 10. The second term is logged as `uncertainty_TASK`,
    which is log sigma. Weight decay pulls s to 0; `custom_keys: {log_variance: {decay_mult: 0}}` of
    `optim_wrapper.paramwise_cfg` keeps it out.

    Args:
        tasks: their names. Injected by the system.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.log_variance = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(())) for name in tasks}
        )

    def forward(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        terms = {}
        for name, loss in losses.items():
            log_variance = self.log_variance[name]
            if counts[name] == 0:  # no label, no evidence on the uncertainty
                log_variance = log_variance.detach()
            terms[name] = torch.exp(-log_variance) * loss
            terms[f'uncertainty_{name}'] = log_variance / 2
        return terms


@TASK_WEIGHTINGS.register
class DynamicWeightAverage(TaskWeighting):
    """Gives tasks whose loss falls more slowly a larger weight.

    lambda_k = K softmax_k(r_k / T), r_k being the loss of the last epoch by that of the one before
    (Liu et al. 2019, arXiv 1803.10704, eq. 7).

    A task's loss of an epoch is the mean over its labelled samples, of all processes; an epoch
    without any leaves its pace as it was. In the first two epochs every lambda is 1. All of it is
    state, `pace` and `factors` (K,) too, where checkpoints show them.

    Args:
        tasks: their names. Injected by the system.
        temperature: T; the larger, the more alike the factors.
    Raises:
        ValueError: a temperature that is not above 0.
    """

    def __init__(self, tasks: Sequence[str], temperature: PositiveFloat = 2.0) -> None:
        super().__init__(tasks)
        if not 0 < temperature < float('inf'):
            raise ValueError(f'temperature must be above 0, found {temperature}')
        self.temperature = temperature
        zeros = torch.zeros(len(self.tasks), dtype=torch.float64)
        self.register_buffer('summed', zeros.clone())  # losses of the epoch's samples
        self.register_buffer('samples', zeros.clone())
        self.register_buffer('last', zeros.clone())  # mean of the last epoch, 0 before there is one
        self.register_buffer('pace', torch.ones_like(zeros))
        self.register_buffer('factors', torch.ones_like(zeros))
        self.register_buffer('epoch', torch.tensor(-1))

    def start_epoch(self, epoch: int) -> None:
        if epoch == self.epoch:
            return  # a resumed run takes it up
        if epoch < self.epoch:  # another training, which starts from this one's weights
            for zeroed in (self.summed, self.samples, self.last):
                zeroed.zero_()
            self.pace.fill_(1)
        seen = self.samples > 0
        mean = self.summed / self.samples.clamp_min(1)
        comparable = seen & (self.last > 0)
        self.pace.copy_(torch.where(comparable, mean / self.last.clamp_min(1e-12), self.pace))
        self.last.copy_(torch.where(seen, mean, self.last))
        self.factors.copy_(len(self.tasks) * torch.softmax(self.pace / self.temperature, 0))
        self.summed.zero_()
        self.samples.zero_()
        self.epoch.fill_(epoch)

    def forward(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        if self.training:
            self._follow(losses, counts)
        factors = self.factors.to(next(iter(losses.values())).dtype)
        return {name: factors[k] * losses[name] for k, name in enumerate(self.tasks)}

    @torch.no_grad()
    def _follow(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> None:
        means = torch.stack([losses[name].detach() for name in self.tasks]).double()  # (K,)
        samples = means.new_tensor([counts[name] for name in self.tasks])  # (K,)
        here = torch.stack([means * samples, samples])  # (2, K)
        summed, samples = distributed.reduce_sum(here)
        self.summed += summed
        self.samples += samples
