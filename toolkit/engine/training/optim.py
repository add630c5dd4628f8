"""Optimizer, gradient accumulation and clipping, mixed precision and schedules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper as MMOptimWrapper
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from toolkit.config import schema
from toolkit.engine.process import precision
from toolkit.errors import ComponentError, ToolkitError, did_you_mean

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


class OptimWrapper(MMOptimWrapper):
    """mmengine's wrapper with mixed precision on CPUs too and without logging per iteration.

    Args:
        optimizer: torch's optimizer.
        config: accumulation and clipping.
        runtime: precision; with fp16 the loss is scaled so that small gradients do not vanish.
        device: device of the system.

    Attributes:
        grad_norm: norm of the gradients at the last step before clipping; None without clipping
            by norm.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        config: schema.OptimWrapperConfig,
        runtime: schema.Runtime,
        device: torch.device,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=config.accumulative_counts)
        self._clip = config.clip_grad
        self._runtime = runtime
        self._device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=runtime.precision == 'fp16')
        self.grad_norm: Tensor | None = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with precision.autocast(self._runtime, self._device), super().optim_context(model):
            yield

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        # mmengine's also warns that accumulated gradients are lost; here they are resumed.
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    @property
    def count(self) -> int:
        """Number of backward passes so far."""
        return self._inner_count

    @count.setter
    def count(self, count: int) -> None:
        self._inner_count = count

    def count_replay(self) -> None:
        """Counts a step that a CUDA graph has computed."""
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        if self._clip is not None:
            self.scaler.unscale_(self.optimizer)
            self._clip_gradients(self._clip)
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def _clip_gradients(self, clip: schema.ClipGrad) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group['params']]
        if clip.max_norm is not None:
            self.grad_norm = clip_grad_norm_(parameters, clip.max_norm, clip.norm_type).detach()
        elif clip.clip_value is not None:
            clip_grad_value_(parameters, clip.clip_value)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the parameters that `paramwise_cfg` does not change."""
        return float(self.param_groups[-1 if self.base_param_settings else 0]['lr'])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), 'scaler': self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rest = dict(state_dict)
        scaler = rest.pop('scaler', None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        # The device decides how a step is computed, and not the checkpoint.
        saved, groups = rest.get('param_groups'), self.optimizer.param_groups
        if isinstance(saved, list) and len(saved) == len(groups):
            own = [{k: group[k] for k in COMPUTED if k in group} for group in groups]
            rest['param_groups'] = [{**old, **new} for old, new in zip(saved, own)]
        super().load_state_dict(rest)


def build_optim_wrapper(
    system: nn.Module,
    config: schema.OptimWrapperConfig,
    runtime: schema.Runtime,
    device: torch.device,
) -> OptimWrapper:
    """Builds the optimizer of a system's trainable parameters.

    Raises:
        ToolkitError: the system has no trainable parameters.
        ComponentError: `paramwise_cfg` does not fit the system.
    """
    if not any(p.requires_grad for p in system.parameters()):
        raise ToolkitError(
            f'{type(system).__name__} has no trainable parameters; test it instead of training it'
        )
    if config.paramwise_cfg:
        lr, decay = (
            _find_argument(config.optimizer, 'lr'),
            _find_argument(config.optimizer, 'weight_decay'),
        )
        groups: Any = build_param_groups(system, config.paramwise_cfg, lr, decay)
    else:
        groups = [p for p in system.parameters() if p.requires_grad]
    options = _choose_device_options(config.optimizer, runtime, device)
    optimizer = config.optimizer(params=groups, **options)
    # The steps before a capture run uncaptured on purpose.
    optimizer._warned_capturable_if_run_uncaptured = True
    return OptimWrapper(optimizer, config, runtime, device)


def _choose_device_options(
    factory: Callable[..., Any], runtime: schema.Runtime, device: torch.device
) -> dict[str, bool]:
    """Chooses options for few kernels per step on a GPU, and for capture in a CUDA graph.

    Raises:
        ComponentError: `runtime.cuda_graph` is set and the optimizer cannot be captured.
    """
    if device.type != 'cuda':
        return {}
    accepted = inspect.signature(_get_class(factory)).parameters
    given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
    options = {}
    if 'fused' in accepted and not set(COMPUTED) & set(given):
        options['fused'] = True
    if runtime.cuda_graph:
        if 'capturable' not in accepted:
            raise ComponentError(
                'runtime.cuda_graph',
                f'{_get_class(factory).__name__} cannot be captured in a CUDA graph; set it to '
                'false, or choose an optimizer with `capturable`, such as Adam or AdamW',
            )
        options['capturable'] = True
    return options


def _get_class(factory: Callable[..., Any]) -> Any:
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


def _find_argument(factory: Callable[..., Any], name: str) -> Any:
    """Returns an argument of a component: the configured value, the default, or None."""
    given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
    if name in given:
        return given[name]
    default = inspect.signature(_get_class(factory)).parameters.get(name)
    return (
        None if default is None or default.default is inspect.Parameter.empty else default.default
    )


def build_schedulers(
    factories: Mapping[str, Callable[..., Any]],
    wrapper: OptimWrapper,
    train_cfg: schema.TrainCfg,
    epoch_length: int,
) -> dict[str, Any]:
    """Builds schedules by name.

    A schedule counts in the unit of `train_cfg` unless it has `by_epoch`, and ends with the
    training unless it has `end`.
    """
    epochs = train_cfg.max_epochs or -(-(train_cfg.max_iters or 0) // epoch_length)
    iterations = train_cfg.max_iters or (train_cfg.max_epochs or 0) * epoch_length
    schedulers = {}
    for name, factory in factories.items():
        given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
        cls = getattr(factory, 'cls', None) or getattr(factory, 'func', factory)
        # A schedule that follows a metric counts validations, whatever the training counts.
        by_epoch = given.get('by_epoch', train_cfg.by_epoch or hasattr(cls, 'need_val_args'))
        injected = {'optimizer': wrapper, 'by_epoch': by_epoch}
        if 'end' not in given:
            injected['end'] = max(epochs if by_epoch else iterations, given.get('begin', 0) + 1)
        schedulers[name] = factory(**injected)
    return schedulers
