"""Class weights that follow the recall of validations: what trainings store, resume and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.tasks import Task
from plugins.csasn.losses import DynamicClassWeights
from plugins.csasn.validation_recall_hook import ValidationRecall
from tests.support import patients
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.run.train import train

LOSS = {'type': 'DynamicClassWeights', 'recall': 'validation', 'class_weights': None}


@pytest.fixture(autouse=True)
def parts() -> Any:
    with patients.parts():
        yield


def config(epochs: int = 3, **changes: Any) -> Any:
    tree = patients.tree()
    model = {**tree['model'], 'losses': {'classes': LOSS}}
    hooks = {**tree['custom_hooks'], 'recall': {'type': 'ValidationRecall'}}
    given = {'model': model, 'custom_hooks': hooks, 'train_cfg': {'max_epochs': epochs}}
    return patients.run(**{**given, **changes})


def stored(folder: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load(folder / 'checkpoints/last.pth')['state_dict']
    return {k: v for k, v in state.items() if k.startswith('losses.')}


def test_weights_follow_the_validation(tmp_path: Path) -> None:
    train(config(), tmp_path / 'run')
    state = stored(tmp_path / 'run')
    hits, seen = (state[f'losses.kind.classes.{name}'].numpy() for name in ('hits', 'seen'))
    # The last validation's counts, for the epoch after it.
    lines = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
    last = [line['val'] for line in lines if 'val' in line][-1]
    recalls = [last[f'kind.sensitivity/{name}'] for name in patients.TASKS['kind']['classes']]
    np.testing.assert_allclose(hits / seen, recalls)
    assert seen.sum() == sum(1 for i in range(40) if i % 7)
    assert state['losses.kind.classes.measured'].tolist() == [2, 2, 2]
    assert not np.allclose(state['losses.kind.classes.current'].numpy(), 1)


def test_costs_of_decisions_do_not_shape_the_weights() -> None:
    # Costs that decide for the rare class nearly always, which its recall must not follow.
    task = Task(('common', 'rare'), costs=((0, 1), (99, 0)))
    loss = DynamicClassWeights(2, recall='validation')
    probabilities, labels = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]], [0, 0, 1, 1]
    rows = [
        {
            'id': str(i),
            'item': str(i),
            'label': label,
            'logits': np.log(p).tolist(),
            'probabilities': p,
            'decision': 1,
        }
        for i, (p, label) in enumerate(zip(probabilities, labels, strict=True))
    ]
    evaluator = SimpleNamespace(metrics={'kind': ClinicalMetrics('kind', {'kind': task})})
    loop = SimpleNamespace(evaluator=evaluator, result=SimpleNamespace(rows={'kind': rows}))
    system = SimpleNamespace(losses={'kind': {'classes': loss}})
    ValidationRecall().after_val_epoch(SimpleNamespace(val_loop=loop, system=system))
    assert loss.hits.tolist() == [2, 1] and loss.seen.tolist() == [2, 2]


def test_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    train(config(), tmp_path / 'whole')
    train(config(2), tmp_path / 'half')
    train(config(), tmp_path / 'half', resume=True)
    whole, half = (
        checkpoint.load(tmp_path / name / 'checkpoints/last.pth')['state_dict']
        for name in ('whole', 'half')
    )
    assert all(torch.equal(value, half[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'val_dataloader': None, 'val_evaluator': None}, 'needs validation data'),
        ({'custom_hooks': {}}, r'custom_hooks.recall: \{type: ValidationRecall\}'),
        ({'model': patients.tree()['model']}, 'serves a DynamicClassWeights'),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    if 'val_dataloader' in changes:
        hooks = {'recall': {'type': 'ValidationRecall'}}
        changes = {
            **changes,
            'custom_hooks': hooks,
            'default_hooks': {'log': {'type': 'MetricsLog'}},
        }
    with pytest.raises(ToolkitError, match=said):
        train(config(**changes), tmp_path / 'run')
