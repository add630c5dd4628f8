"""Groups of parameters: rules by name or kind, decay of the learning rate by layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from toolkit.errors import ComponentError, did_you_mean

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)
PARAMWISE = (
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'layer_decay',
)
# Options of torch's optimizers that change how a step is computed and not its result.
COMPUTED = ('foreach', 'fused', 'capturable', 'differentiable')


def get_class(factory: Callable[..., Any]) -> Any:
    """Returns the class that a slot or a partial function creates."""
    return getattr(factory, 'cls', None) or getattr(factory, 'func', factory)


def build_param_groups(
    system: nn.Module, config: Mapping[str, Any], lr: float | None, weight_decay: float | None
) -> list[dict[str, Any]]:
    """Groups trainable parameters by their settings, after mmengine's `paramwise_cfg`.

    `custom_keys` maps parts of parameter names to `lr_mult`, `decay_mult` or any option of the
    optimizer; the longest match wins over all other rules.

    `layer_decay`, also an option of a custom key, multiplies the rate of a parameter by
    `layer_decay ** n`; n is the number of layers above the parameter. Modules with a method
    `layers_above(name)` give n for their parameters; other parameters keep their rate.

    Raises:
        ComponentError: a rule is unknown, a custom key matches nothing, there is no rate or decay
            to multiply, or `layer_decay` is set and no module has `layers_above`.
    Source: `layer_decay` is that of Clark et al., "ELECTRA", ICLR 2020.
    """
    path = 'optim_wrapper.paramwise_cfg'
    for rule in config:
        if rule not in PARAMWISE:
            raise ComponentError(f'{path}.{rule}', f'no such rule{did_you_mean(rule, PARAMWISE)}')
    custom: Mapping[str, Mapping[str, Any]] = config.get('custom_keys') or {}
    keys = sorted(custom, key=lambda key: (-len(key), key))
    used: set[str] = set()
    layered = {k: m.layers_above for k, m in system.named_modules() if hasattr(m, 'layers_above')}
    groups: dict[str, dict[str, Any]] = {}
    for name, module, short, parameter in _named_parameters(system):
        key = next((k for k in keys if k in name), None)
        if key is not None:
            used.add(key)
            options = dict(custom[key])
        else:
            options = _apply_rules(config, module, short, parameter)
        if (decay := options.pop('layer_decay', config.get('layer_decay'))) is not None:
            where = f'{path}.custom_keys.{key}' if key and 'layer_decay' in custom[key] else path
            _decay_rate(
                options, _validate_decay(decay, layered, where), _count_layers_above(name, layered)
            )
        settings = _compute_settings(
            options, lr, weight_decay, f'{path}.custom_keys.{key}' if key else path
        )
        group = groups.setdefault(repr(sorted(settings.items())), {'params': [], **settings})
        group['params'].append(parameter)
    for key in keys:
        if key not in used:
            names = [name for name, *_ in _named_parameters(system)]
            tops = {'.'.join(n.split('.')[:depth]) for n in names for depth in (1, 2)}
            raise ComponentError(
                f'{path}.custom_keys.{key}',
                f'no trainable parameter has {key!r} in its name{did_you_mean(key, tops)}',
            )
    return list(groups.values())


def _named_parameters(
    system: nn.Module,
) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    seen: set[int] = set()
    for prefix, module in system.named_modules():
        for short, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield f'{prefix}.{short}' if prefix else short, module, short, parameter


def _apply_rules(
    config: Mapping[str, Any], module: nn.Module, short: str, parameter: nn.Parameter
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    norm = isinstance(module, NORMS)
    if short == 'bias' and not norm and 'bias_lr_mult' in config:
        options['lr_mult'] = config['bias_lr_mult']
    depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
    applies = {
        'norm_decay_mult': norm,
        'bias_decay_mult': short == 'bias' and not norm,
        'dwconv_decay_mult': depthwise,
        'flat_decay_mult': parameter.ndim == 1,
    }
    for rule, applicable in applies.items():
        if applicable and rule in config:
            options['decay_mult'] = config[rule]
            break
    return options


def _validate_decay(decay: Any, layered: Mapping[str, Any], path: str) -> float:
    if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 < decay <= 1:
        raise ComponentError(f'{path}.layer_decay', f'must be a number in (0, 1], found {decay!r}')
    if not layered:
        raise ComponentError(
            f'{path}.layer_decay',
            'no module of this system has `layers_above`, as TimmBackbone has; leave '
            'layer_decay out',
        )
    return float(decay)


def _count_layers_above(name: str, layered: Mapping[str, Callable[[str], int]]) -> int:
    """Counts the layers above a parameter by the innermost module that knows them; else 0."""
    owners = [path for path in layered if not path or name.startswith(f'{path}.')]
    if not owners:
        return 0
    owner = max(owners, key=len)
    return layered[owner](name[len(owner) + 1 :] if owner else name)


def _decay_rate(options: dict[str, Any], decay: float, above: int) -> None:
    if not above or decay == 1:
        return
    which = 'lr' if 'lr' in options else 'lr_mult'
    options[which] = options.get(which, 1.0) * decay**above


def _compute_settings(
    options: dict[str, Any], lr: float | None, weight_decay: float | None, path: str
) -> dict[str, Any]:
    for multiplier, base, name in (
        ('lr_mult', lr, 'lr'),
        ('decay_mult', weight_decay, 'weight_decay'),
    ):
        if multiplier in options:
            if base is None:
                raise ComponentError(path, f'{multiplier} needs {name} in optim_wrapper.optimizer')
            options[name] = base * options.pop(multiplier)
    return options


def find_argument(factory: Callable[..., Any], name: str) -> Any:
    """Returns an argument of a component: the configured value, the default, or None."""
    given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
    if name in given:
        return given[name]
    default = inspect.signature(get_class(factory)).parameters.get(name)
    return (
        None if default is None or default.default is inspect.Parameter.empty else default.default
    )
