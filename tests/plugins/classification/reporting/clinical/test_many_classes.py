"""Time and memory of the clinical report of many classes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import time
import numpy as np
from scipy.special import softmax
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting.clinical.clinical_summary import (
    ReportSettings, summarize_predictions,
)
from plugins.classification.tasks import Task
from toolkit.io.process import read_peak_memory

items, classes = 10_000, 1_000
generator = np.random.default_rng(0)
task = Task(tuple(f'c{i}' for i in range(classes)))
labels = np.arange(items) % classes
logits = generator.normal(size=(items, classes)) + 3 * np.eye(classes)[labels]
probabilities = softmax(logits, 1)
ids = np.arange(items).astype(str).astype(object)
patients = (np.arange(items) // 2).astype(str).astype(object)
found = Predictions(
    task, ids, patients, labels, logits, probabilities, probabilities.argmax(1), None, {}
)
start = time.process_time()
metric = ClinicalMetrics('t', {'t': task})
report = summarize_predictions(metric, found, ReportSettings(), 'mean')
assert report['values']['accuracy']['low'] < report['values']['accuracy']['high']
assert len(report['values']) > 7 * classes
print(time.process_time() - start, read_peak_memory() / 1e9)
"""


@pytest.mark.slow
def test_ten_thousand_items_of_a_thousand_classes_take_half_a_minute_and_two_gigabytes() -> None:
    ran = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    seconds, gigabytes = map(float, ran.stdout.split())
    assert seconds < 30 and gigabytes < 2, (seconds, gigabytes)
