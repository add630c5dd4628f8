"""Hooks of the engine: components like any other, which a config may leave out."""

from __future__ import annotations

from collections.abc import Callable

from mmengine.hooks import Hook

from toolkit.engine.hooks.checkpoint import Checkpoint
from toolkit.engine.hooks.ema import EMA
from toolkit.engine.hooks.images import Pictures
from toolkit.engine.hooks.metrics_log import MetricsLog
from toolkit.engine.hooks.progress import Progress

__all__ = ['EMA', 'STANDARD_HOOKS', 'Checkpoint', 'MetricsLog', 'Pictures', 'Progress']

# The hooks of a run whose config names no default hooks.
STANDARD_HOOKS: dict[str, Callable[..., Hook]] = {
    'progress': Progress,
    'logger': MetricsLog,
    'checkpoint': Checkpoint,
    'pictures': Pictures,
}
