"""Choice of test images: every class, mistakes first by how wrong they are."""

from __future__ import annotations

import json

import numpy as np

from plugins.classification.inference.examples import (
    choose_examples,
    rank_hits,
    rank_mistakes,
    rank_undecided,
)
from plugins.classification.tasks import Task
from tests.support.patch_classifier import clinical_metrics, run_of

P = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.01, 0.99], [0.45, 0.55]])
LABELS, DECISIONS = np.array([1, 1, 1, 0, -1]), np.array([0, 0, 1, 1, 1])


def test_rankings():
    assert rank_mistakes(LABELS, DECISIONS, P).tolist() == [3, 0, 1]
    assert rank_hits(LABELS, DECISIONS, P).tolist() == [2]
    assert rank_undecided(LABELS, P, None, None).tolist() == [1, 2, 0, 3]
    assert rank_undecided(LABELS, P, 1, 0.9).tolist() == [3, 2, 1, 0]


def rows(labels, probabilities, threshold=None):
    return [
        {'label': label, 'decision': int(np.argmax(p)), 'probabilities': p, 'threshold': threshold}
        for label, p in zip(labels, probabilities)
    ]


def test_a_sorted_manifest_shows_all_classes():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100).tolist()
    task = Task(('a', 'b', 'c'))
    given = rows(labels, generator.dirichlet(np.ones(3), 300).tolist())
    chosen = choose_examples({'t': given}, {'t': task}, 9)
    assert len(set(chosen)) == 9
    kinds = [(labels[i], given[i]['decision'] == labels[i]) for i in chosen]
    # Three mistakes, three hits, one of each class, and three that are nearly undecided.
    assert kinds[:6] == [(0, False), (1, False), (2, False), (0, True), (1, True), (2, True)]
    assert [k for k, _ in kinds[6:]] == [0, 1, 2]
    assert all(
        given[chosen[0]]['probabilities'][0] <= given[i]['probabilities'][0]
        for i in range(100)
        if given[i]['decision'] != 0
    )


def test_several_tasks_take_turns_and_no_image_comes_twice():
    tasks = {'one': Task(('a', 'b'), 'b'), 'two': Task(('x', 'y'))}
    p = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]
    given = {'one': rows([0, 1, 1, 0], p, 0.5), 'two': rows([-1, -1, 1, 0], p)}
    assert sorted(choose_examples(given, tasks, 10)) == [0, 1, 2, 3]
    assert len(choose_examples(given, tasks, 2)) == 2
    assert choose_examples(given, tasks, 0) == []
    assert choose_examples({}, tasks, 3) == []
    unlabelled = {'one': rows([-1, -1], p[:2], 0.5)}
    assert choose_examples(unlabelled, tasks, 3) == []


def test_a_run_shows_mistakes_and_hits_of_both_classes(tmp_path):
    """The images that `toolkit test` writes, through the command line."""
    hooks = {'pictures': {'type': 'Pictures', 'count': 6}}
    evaluator = {'metrics': {'p': clinical_metrics()['pathology']}}
    run = run_of(tmp_path, default_hooks=hooks, test_evaluator=evaluator)
    records = [json.loads(path.read_text()) for path in (run / 'pictures').glob('*.json')]
    said = [record['tasks']['pathology'] for record in records]
    assert len(said) == 6
    for label in ('benign', 'malignant'):
        outcomes = [one['prediction'] == label for one in said if one['label'] == label]
        assert len(outcomes) >= 2
    mistakes = [one for one in said if one['prediction'] != one['label']]
    assert mistakes
