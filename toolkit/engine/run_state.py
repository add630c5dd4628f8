"""State that a resumed run needs: collected for a checkpoint, and restored from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from toolkit.engine import checkpoint, mmengine_compat
from toolkit.engine.process import distributed, seeding
from toolkit.engine.training import schedule_length
from toolkit.errors import RunError

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


def collect_state(runner: Runner) -> dict[str, Any]:
    """Collects the state that a resumed run needs; a collective call of all processes.

    Raises:
        RunError: a loss or a weight is not finite, so that the state must not be saved.
    """
    runner.losses.read()
    _check_finite(runner.system, runner.iter)
    content: dict[str, Any] = {
        'state_dict': dict(runner.system.state_dict()),
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': {
            name: state.save() for name, state in runner.components.scheduler_states.items()
        },
        'loop': runner.train_loop.state_dict(),
        'losses': distributed.gather(runner.losses.state_dict()),
        'hooks': {
            name: state
            for name, hook in runner.hooks_by_name.items()
            if (state := mmengine_compat.get_hook_state(hook)) is not None
        },
        'randomness': distributed.gather(seeding.get_state()),
        'gradients': distributed.gather(_get_pending_gradients(runner)),
        'meta': runner.get_meta(),
    }
    runner.call_hook('before_save_checkpoint', checkpoint=content)
    return content


def _get_pending_gradients(runner: Runner) -> dict[str, torch.Tensor]:
    """Gets the gradients that are accumulated for the next step, by parameter."""
    if runner.optim_wrapper.should_update():
        return {}
    return {
        name: p.grad.cpu() for name, p in runner.system.named_parameters() if p.grad is not None
    }


def restore_training(runner: Runner, content: Mapping[str, Any], path: Path) -> None:
    """Restores loop, optimizer, schedules, hooks, losses and gradients from a checkpoint.

    Raises:
        CheckpointError: it is of another optimizer.
    """
    loop, schedules = runner.train_loop, runner.components.schedulers
    loop.load_state_dict(content['loop'])
    moved = {}
    if runner.follows_length:
        moved = {n: s for n, s in schedules.items() if not schedule_length.follows_metric(s)}
        schedule_length.move_forward(moved.values(), loop.iter, loop.epoch_length)
        settings = schedule_length.get_settings(moved.values())
    try:
        runner.optim_wrapper.load_state_dict(content['optimizer'])
    except (ValueError, KeyError) as error:
        raise checkpoint.CheckpointError(
            f'the checkpoint {path} is of another optimizer: {error}'
        ) from error
    if moved:
        for group, values in zip(runner.optim_wrapper.param_groups, settings, strict=True):
            group.update(values)
    for name, state in runner.components.scheduler_states.items():
        if name not in moved:
            state.load(content['param_schedulers'].get(name, {}))
    for name, hook in runner.hooks_by_name.items():
        if name in content['hooks']:
            mmengine_compat.load_hook_state(hook, content['hooks'][name])
    runner.losses.load_state_dict(_share_losses(runner, content['losses']))
    gradients = _share_gradients(runner, content['gradients'])
    for name, parameter in runner.system.named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter.device)


def _share_gradients(
    runner: Runner, saved: list[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Gets this process's share of the gradients that are accumulated for the next step.

    The step averages over the processes, so that on another number of them each takes the mean.
    """
    if len(saved) == runner.world_size:
        return saved[runner.rank]
    names = dict.fromkeys(name for gradients in saved for name in gradients)
    return {
        name: torch.stack([g[name] for g in saved if name in g]).sum(0) / len(saved)
        for name in names
    }


def _share_losses(runner: Runner, saved: Any) -> dict[str, Any]:
    """Gets this process's sums of losses since the last line of the log, which averages them.

    On another number of processes each takes the mean.
    """
    states = [saved] if isinstance(saved, Mapping) else saved  # once that of the first alone
    if len(states) == runner.world_size:
        return states[runner.rank]
    return {
        key: {
            name: sum(state[key].get(name, 0) for state in states) / len(states)
            for name in dict.fromkeys(name for state in states for name in state[key])
        }
        for key in ('sums', 'counts')
    }


def _check_finite(system: nn.Module, iteration: int) -> None:
    """Refuses to save weights that are not finite.

    A finite loss may have a gradient that is not finite, which only the next loss would show.

    Raises:
        RunError: a weight is NaN or infinite; names the first.
    """
    for name, parameter in system.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise RunError(
                f'the weights {name} are not finite after iteration {iteration}; lower the '
                'learning rate, clip gradients (optim_wrapper.clip_grad) or check the data'
            )
