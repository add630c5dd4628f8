"""Kinds that tasks share; a plugin may declare others."""

from __future__ import annotations

from toolkit.registry.kind import Kind

SYSTEMS = Kind('system', 'toolkit.interfaces.System')
BACKBONES = Kind('backbone', 'toolkit.interfaces.Backbone', injected=('in_channels', 'size'))
NECKS = Kind(
    'neck', 'toolkit.interfaces.Neck', injected=('in_channels', 'strides', 'prefix_tokens')
)
ATTENTIONS = Kind(
    'attention', 'toolkit.interfaces.Attention', injected=('in_channels', 'prefix_tokens')
)
HEADS = Kind('head', 'toolkit.interfaces.Head', injected=('in_channels', 'num_classes'))
DEGRADATIONS = Kind('degradation', 'toolkit.interfaces.Degradation', injected=('bands', 'ratio'))
LOSSES = Kind('loss', 'toolkit.interfaces.Loss', injected=('num_classes',))
DATASETS = Kind('dataset', 'toolkit.interfaces.Dataset')
TRANSFORMS = Kind('transform', 'toolkit.interfaces.Transform')
METRICS = Kind('metric', 'toolkit.interfaces.Metric')
SAMPLERS = Kind('sampler', 'toolkit.interfaces.Sampler', injected=('dataset', 'seed'))
COMMANDS = Kind('command', 'toolkit.registry.command.Command')
BENCHES = Kind('bench', 'toolkit.registry.command.Command')
PREDICTORS = Kind('predictor', 'toolkit.interfaces.Predictor')
SPLITTERS = Kind('splitter', 'toolkit.interfaces.Splitter')
AUDITORS = Kind('auditor', 'toolkit.interfaces.Auditor')
VISUALIZERS = Kind('visualizer', 'toolkit.interfaces.Visualizer')
PANELS = Kind('panel', 'toolkit.report.panel.Panel')
# Hooks that mmengine's own loops need and this engine's do not: they would write checkpoints that
# cannot be loaded safely, append to buffers that are copied whole on every iteration, or step the
# schedules a second time. EMAHook starts its average at the first, random weights, which a short
# training never forgets.
HOOKS = Kind(
    'hook',
    'mmengine.hooks.Hook',
    library='mmengine.hooks',
    refused={
        'CheckpointHook': 'use Checkpoint',
        'DistSamplerSeedHook': 'samplers know the epoch',
        'EMAHook': 'use EMA, whose decay warms up (type: EMA)',
        'IterTimerHook': 'MetricsLog logs the time of iterations',
        'LoggerHook': 'use MetricsLog and Progress',
        'ParamSchedulerHook': 'the engine always has one',
        'RuntimeInfoHook': 'the engine keeps that information itself',
    },
)
OPTIMIZERS = Kind('optimizer', 'torch.optim.Optimizer', injected=('params',), library='torch.optim')
SCHEDULERS = Kind(
    'scheduler',
    'mmengine.optim.scheduler.param_scheduler._ParamScheduler',
    injected=('optimizer',),
    library='mmengine.optim.scheduler',
)
