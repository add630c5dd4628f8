"""The kinds that classification adds; importing this costs no torch."""

from __future__ import annotations

from toolkit.registry import Kind

TASK_WEIGHTINGS = Kind(
    'task_weighting', 'plugins.classification.interfaces.TaskWeighting', injected=('tasks',)
)
