"""Adapts a training config to a single scene: data, sensor, length, validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from plugins.pansharpening.inference.scene_model import choose_upsampling, find_sensor_parts
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.system import Pansharpener
from toolkit.config import Config
from toolkit.config.composition.override import assign
from toolkit.config.load import Draft
from toolkit.config.yaml_file import COMMAND_LINE
from toolkit.errors import ToolkitError
from toolkit.registry import HOOKS, LOSSES, SYSTEMS
from toolkit.registry.build import get_signature

# The metric by which weights are chosen, and what else is measured on the way.
SCORE = 'HQNR_rho'
WATCHED = ('HQNR_rho', 'D_lambda_K', 'D_s', 'D_rho')
# Validations of a whole run; after so many without a gain it ends. Half of them, since much is
# gained at the end, as the learning rate falls. A short run has fewer, so far apart at least.
VALIDATIONS = 12
PATIENCE = 6
LEAST_INTERVAL = 20
LEAST_GAIN = 1e-3
PATCH = 256  # PAN pixels, of a config whose data state none

# Numbers of iterations, or of epochs, in the schedules of mmengine.
LENGTHS = ('begin', 'end', 'T_max', 'total_iters', 'step_size', 'milestones', 'total_steps')


class SceneSettings(NamedTuple):
    """A scene and the settings of its training.

    Attributes:
        scene: scene to train on.
        config: config of the scene.
        patch: side of the patches in PAN pixels.
        window: part of the scene for validation.
        seed: random seed.
        device: 'auto', 'cpu' or 'cuda'; None for that of the config.
        start: checkpoint to start from; None for none.
        minutes: time limit of the training.
    """

    scene: Scene
    config: Mapping[str, Any]
    patch: int
    window: Window
    seed: int
    device: str | None
    start: str | None
    minutes: float


def check_trainable(draft: Draft, name: str) -> None:
    """Refuses a config that cannot be trained on a scene without a reference.

    Raises:
        ToolkitError: another system than a `Pansharpener`, no training, no losses, or one that
            takes the reference.
    """
    tree = draft.resolve().tree
    model = tree.get('model') or {}
    kind = model.get('type')
    if not isinstance(kind, str) or not issubclass(SYSTEMS.get(kind), Pansharpener):
        raise ToolkitError(f'{name}: model.type is {kind}; expected a Pansharpener')
    losses = {key: loss for key, loss in (model.get('losses') or {}).items() if loss}
    training = ('train_dataloader', 'optim_wrapper', 'train_cfg')
    if not losses or not all(tree.get(key) for key in training):
        raise ToolkitError(
            f'{name} has nothing to train; sharpen with it by `toolkit predict {name}`, or choose '
            'a config with losses, such as ldpnet/ldpnet_plus'
        )
    for key, loss in losses.items():
        if 'reference' in get_signature(LOSSES.get(loss['type']).forward):
            raise ToolkitError(
                f'{name}: model.losses.{key} ({loss["type"]}) takes a reference, which the scene '
                'has not; choose a config without it, such as ldpnet/ldpnet_plus'
            )


def wanted_patch(draft: Draft) -> int:
    """Returns the side of the patches of a config, in PAN pixels."""
    data = draft.resolve().tree['train_dataloader'].get('dataset') or {}
    size = data.get('size', PATCH)
    if not isinstance(size, int) or size < 1:
        raise ToolkitError(f'train_dataloader.dataset.size must be at least 1, found {size!r}')
    return size


def length(draft: Draft) -> int:
    """Computes the number of iterations of a config.

    Raises:
        ToolkitError: it counts epochs of data whose length it does not state.
    """
    tree = draft.resolve().tree
    train_cfg = tree['train_cfg']
    if train_cfg.get('max_iters'):
        return int(train_cfg['max_iters'])
    return int(train_cfg.get('max_epochs') or 0) * _epoch(tree, 'train_cfg.max_epochs')


def adapt_config(
    draft: Draft, to: SceneSettings, iterations: int, validations: int = VALIDATIONS
) -> Config:
    """Adapts a config to one scene and resolves it.

    Model, losses, optimizer and augmentation stay; schedules keep their shape over another number
    of iterations.

    Args:
        draft: config with the overrides of the user.
        to: scene and settings.
        iterations: number of iterations.
        validations: number of validations, including the one at the end.
    Raises:
        ToolkitError: an upsampling or a sensor that the scene cannot have.
    """
    draft = draft.copy()
    tree = draft.resolve().tree
    scene, bands, ratio = dict(to.config), to.scene.bands, to.scene.ratio
    piece = {'type': 'WholeScene', 'scene': scene, 'protocol': 'full', 'window': list(to.window)}
    data = tree['train_dataloader'].get('dataset') or {}
    batch_size = int(tree['train_dataloader'].get('batch_size') or 1)
    scale = iterations / length(draft)
    epochs = tree['train_cfg'].get('max_epochs')
    epoch = max(round(_epoch(tree) * scale), 1) if _states_length(tree) else iterations
    if epochs:
        epoch = max(iterations // int(epochs), 1)
    changes: dict[str, Any] = {
        'model.bands': bands,
        'model.ratio': ratio,
        'model.upsample': choose_upsampling(
            str(tree['model'].get('upsample', 'interp23tap')), ratio
        ),
        # The scene is not one of the toolbox's, whose tables depend on borders that wrap around.
        'model.border': 'extrapolate',
        **{f'{path}.sensor': to.scene.sensor.spec for path, _ in find_sensor_parts(tree['model'])},
        'train_dataloader.dataset': {
            'type': 'ScenePatches',
            'scene': scene,
            'size': to.patch,
            'length': epoch * batch_size,
            'transforms': data.get('transforms'),
        },
        'val_dataloader': {'dataset': piece},
        'val_evaluator': {'metrics': {name: {'type': name} for name in WATCHED}},
        'test_dataloader': {'dataset': piece},
        'test_evaluator': {'metrics': {name: {'type': name} for name in WATCHED}},
        'param_scheduler': {
            name: schedule and _stretch(schedule, scale)
            for name, schedule in (tree.get('param_scheduler') or {}).items()
        },
        'train_cfg': _train_cfg(iterations, epoch, epochs, validations, to.minutes),
        'randomness.seed': to.seed,
        **({} if to.device is None else {'runtime.device': to.device}),
        'load_from': to.start,
        **_hooks(tree),
    }
    for path, value in changes.items():
        _set(draft, path, value)
    return draft.resolve()


def _epoch(tree: Mapping[str, Any], counted: str = 'train_cfg') -> int:
    loader = tree['train_dataloader']
    if not _states_length(tree):
        raise ToolkitError(
            f'{counted} counts epochs, and train_dataloader.dataset states no length: set '
            '+train_dataloader.dataset.length=1600'
        )
    return -(-int(loader['dataset']['length']) // int(loader.get('batch_size') or 1))


def _states_length(tree: Mapping[str, Any]) -> bool:
    return bool((tree['train_dataloader'].get('dataset') or {}).get('length'))


def _stretch(schedule: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Stretches a schedule to another number of iterations; schedules by epoch stay."""
    if schedule.get('by_epoch', True):
        return dict(schedule)

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(one) for one in value]
        # A tiny one of zero iterations would be none.
        return max(round(value * scale), min(value, 1)) if isinstance(value, int) else value

    return {key: number(v) if key in LENGTHS else v for key, v in schedule.items()}


def _train_cfg(
    iterations: int, epoch: int, epochs: int | None, validations: int, minutes: float
) -> dict[str, Any]:
    if epochs:
        span: dict[str, Any] = {'max_epochs': int(epochs)}
        every = max(int(epochs) // validations, 1)
    else:
        validations = min(validations, max(iterations // LEAST_INTERVAL, 1))
        span, every = {'max_iters': iterations}, max(-(-iterations // validations), 1)
    return {**span, 'val_interval': every, 'max_minutes': minutes}


def _hooks(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to the hooks of a config: keep the best weights, and stop without improvement."""
    hooks = tree.get('default_hooks') or {}
    kept = [key for key, hook in hooks.items() if hook and _is_checkpoint(hook)]
    changes: dict[str, Any] = {f'default_hooks.{key}.save_best': SCORE for key in kept}
    if not kept:
        changes['default_hooks.checkpoint'] = {'type': 'Checkpoint', 'save_best': SCORE}
    if not hooks:  # naming one would leave the others out
        changes['default_hooks.progress'] = {'type': 'Progress'}
        changes['default_hooks.log'] = {'type': 'MetricsLog'}
    changes['custom_hooks.plateau'] = {
        'type': 'EarlyStoppingHook',
        'monitor': SCORE,
        'rule': 'greater',
        'min_delta': LEAST_GAIN,
        'patience': PATIENCE,
        'check_finite': False,
    }
    return changes


def _is_checkpoint(hook: Mapping[str, Any]) -> bool:
    from toolkit.engine.hooks import Checkpoint

    return issubclass(HOOKS.get(hook['type']), Checkpoint)


def _set(draft: Draft, path: str, value: Any) -> None:
    keys = tuple(path.split('.'))
    node: Any = draft.tree
    for key in keys[:-1]:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node
        node = {} if node is None else node
    assign(draft.tree, draft.origins, keys, value, {(): COMMAND_LINE}, adding=keys[-1] not in node)
