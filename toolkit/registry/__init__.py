"""Kinds of components, the index of plugins, and how components are built from configs.

Importing this package imports nothing: `toolkit list` and `toolkit show` read the index alone, and
mmengine, on whose Registry a kind is built, costs a third of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.registry.kind import Kind, Slot, find_kind, get_kinds, locate_source, with_article
    from toolkit.registry.kinds import (
        ATTENTIONS,
        AUDITORS,
        BACKBONES,
        BENCHES,
        COMMANDS,
        DATASETS,
        DEGRADATIONS,
        HEADS,
        HOOKS,
        LOSSES,
        METRICS,
        NECKS,
        OPTIMIZERS,
        PANELS,
        PREDICTORS,
        SAMPLERS,
        SCHEDULERS,
        SPLITTERS,
        SYSTEMS,
        TRANSFORMS,
        VISUALIZERS,
    )

__all__ = [
    'AUDITORS',
    'ATTENTIONS',
    'BACKBONES',
    'BENCHES',
    'DATASETS',
    'DEGRADATIONS',
    'HEADS',
    'HOOKS',
    'LOSSES',
    'METRICS',
    'NECKS',
    'OPTIMIZERS',
    'PANELS',
    'PREDICTORS',
    'SAMPLERS',
    'SCHEDULERS',
    'SPLITTERS',
    'SYSTEMS',
    'TRANSFORMS',
    'VISUALIZERS',
    'COMMANDS',
    'Kind',
    'Slot',
    'with_article',
    'find_kind',
    'get_kinds',
    'locate_source',
]


if not TYPE_CHECKING:  # for a type checker any name would be one of this module

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        from toolkit.registry import kind, kinds

        return getattr(kinds if name.isupper() else kind, name)
