"""Turns any config into a training of so many iterations, with its schedules scaled.

Works on a config whose references are not resolved yet, so that later changes still reach them.
"""

from __future__ import annotations

from typing import Any

from toolkit.config.composition.override import assign
from toolkit.config.yaml_file import Origins, split_path

# Places in a training, in the unit of a schedule.
PLACES = ('begin', 'end', 'T_max')
# What does not depend on the length.
KEPT = ('max_minutes', 'on_nonfinite', 'max_skips')
# What counts epochs of the data and not the length of the training.
COUNTS = ('step_size', 'milestones', 'monitor')
REFERENCES = ('${train_cfg.max_epochs}', '${train_cfg.max_iters}')


def set_iterations(
    tree: dict[str, Any], origins: Origins, iterations: int, value_origins: Origins
) -> None:
    """Sets the length of a training in iterations, with a single validation at its end.

    Schedules that follow the length of the training are scaled with it: those by epochs then count
    iterations. Schedules with steps or milestones keep them.

    Args:
        tree: the config, which is changed; without `train_cfg` it does not train, and stays.
        origins: where its values were written.
        iterations: length of the training.
        value_origins: where that is written; `()` is the value itself.
    """
    cfg = tree.get('train_cfg')
    if not isinstance(cfg, dict):
        return
    epochs, before = cfg.get('max_epochs'), cfg.get('max_iters')
    by_epoch = isinstance(epochs, int)
    length = epochs if by_epoch else before

    def set_value(path: str, value: Any) -> None:
        *parents, last = split_path(path)
        node: Any = tree
        for key in parents:
            node = node[key]
        assign(tree, origins, (*parents, last), value, value_origins, last not in node)

    set_value('train_cfg', {'max_iters': iterations})
    for key in KEPT:
        if cfg.get(key) is not None:
            set_value(f'train_cfg.{key}', cfg[key])
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        return  # the check of the config says what is wrong with it

    def scale(value: Any) -> Any:
        if value in REFERENCES:
            return iterations
        if isinstance(value, int) and not isinstance(value, bool):
            return round(value * iterations / length)
        return value

    schedules = tree.get('param_scheduler')
    for name, schedule in (schedules if isinstance(schedules, dict) else {}).items():
        if not isinstance(schedule, dict):
            continue
        if any(key in schedule for key in COUNTS):
            if by_epoch and schedule.get('end') in REFERENCES:
                # Without it, the end is that of the training.
                schedule = {key: value for key, value in schedule.items() if key != 'end'}
                set_value(f'param_scheduler.{name}', schedule)
            if by_epoch and 'by_epoch' not in schedule and 'monitor' not in schedule:
                set_value(f'param_scheduler.{name}.by_epoch', True)  # no longer the default
            continue
        if schedule.get('by_epoch', by_epoch) is not by_epoch:
            continue
        path = f'param_scheduler.{name}'
        scaled = {key: scale(schedule[key]) for key in PLACES if key in schedule}
        if isinstance(scaled.get('end'), int) and scaled['end'] <= scaled.get('begin', 0):
            # A part that is shorter than an iteration is left out.
            set_value(path, None)
            continue
        if 'T_max' in scaled and isinstance(scaled['T_max'], int):
            scaled['T_max'] = max(1, scaled['T_max'])
        for key, value in scaled.items():
            set_value(f'{path}.{key}', value)
        if by_epoch:
            set_value(f'{path}.by_epoch', False)
    hooks = tree.get('default_hooks')
    for name, hook in (hooks if isinstance(hooks, dict) else {}).items():
        interval = hook.get('interval') if isinstance(hook, dict) else None
        if isinstance(interval, int) and hook.get('type') == 'Checkpoint' and by_epoch:
            set_value(f'default_hooks.{name}.interval', max(1, scale(interval)))
