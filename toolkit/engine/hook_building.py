"""Builds the hooks of a run, and checks the metrics that they monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from toolkit.config.schema import RunConfig
from toolkit.engine import mmengine_compat
from toolkit.engine.evaluator import collect_directions
from toolkit.engine.hooks import STANDARD_HOOKS
from toolkit.engine.tracking.tracker import Tracker
from toolkit.errors import ComponentError, ToolkitError, did_you_mean
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.components import RunComponents


def build_hooks(run: RunConfig) -> dict[str, Hook]:
    """Builds the configured hooks by name, or the standard ones if none is configured."""
    factories: Mapping[str, Callable[..., Hook]] = run.default_hooks or STANDARD_HOOKS
    hooks = {}
    for section, group in (('default_hooks', factories), ('custom_hooks', run.custom_hooks)):
        for name, factory in group.items():
            if name in hooks:
                raise ComponentError(
                    f'custom_hooks.{name}', 'default_hooks has a hook of that name too'
                )
            hook = factory()
            if base := mmengine_compat.find_refused_base(hook):
                raise ComponentError(
                    f'{section}.{name}',
                    f"mmengine's {base} is not used here: {HOOKS.refused[base]}",
                )
            if isinstance(hook, Tracker):
                message = f'{type(hook).__name__} is a tracker: it belongs under trackers'
                raise ComponentError(f'{section}.{name}', message)
            hooks[name] = hook
    return hooks


def check_hook(components: RunComponents, path: str, hook: Hook) -> None:
    """Lets a hook check that a run gives what it needs, by its `check_run(system, metrics)`.

    Raises:
        ComponentError: it does not.
    """
    if hasattr(hook, 'check_run'):
        try:
            hook.check_run(components.system, components.metrics)
        except ToolkitError as error:
            raise ComponentError(path, str(error)) from error


def name_hooks(components: RunComponents) -> dict[str, Hook]:
    """Returns the hooks of a run by dotted path."""
    custom = components.run.custom_hooks
    return {
        f'{"custom_hooks" if name in custom else "default_hooks"}.{name}': hook
        for name, hook in components.hooks.items()
    }


def check_monitors(components: RunComponents) -> None:
    """Checks that hooks and schedules follow metrics of the validation, in their direction.

    Raises:
        ComponentError: there is no such metric, or its better values are at the other end.
    """
    known = collect_directions(components.metrics.get('val', {}))
    hooks = name_hooks(components)
    schedulers = {f'param_scheduler.{name}': s for name, s in components.schedulers.items()}
    followed = [
        (path, attribute, component)
        for path, component in (hooks | schedulers).items()
        for attribute in ('save_best', 'monitor')
    ]
    for path, attribute, component in followed:
        name = getattr(component, attribute, None)
        if isinstance(name, str) and name not in known:
            there = ', '.join(known) if known else 'none, as there is no val_evaluator'
            raise ComponentError(
                f'{path}.{attribute}',
                f'no metric is named {name!r}{did_you_mean(name, known)}; '
                f'validation measures: {there}',
            )
        rule = getattr(component, 'rule', None)
        better = {'greater': True, 'less': False}.get(str(rule))
        if isinstance(name, str) and better is not None and better != known[name]:
            right = 'greater' if known[name] else 'less'
            raise ComponentError(
                f'{path}.rule',
                f'{rule!r} follows {name} to its worse values; set rule: {right}',
            )
