"""Metrics of programs: found in files and output, and every mistake said in one line."""

from __future__ import annotations

import re

import pytest

import toolkit
from toolkit.errors import ToolkitError
from toolkit.io.reported_metrics import REPORT_FILE
from toolkit.study.programs.keys import ResultsSpec
from toolkit.study.programs.read_results import read_results


def read(results, metrics, folder, log=''):
    return read_results(results, metrics, folder, log, folder / 'reported.json')


@pytest.mark.parametrize(
    ('results', 'text', 'value'),
    [
        ({'json': 'f'}, '{"acc": 0.5, "x": "text"}', 0.5),
        ({'json': 'f', 'keys': {'acc': 'a.b.c'}}, '{"a": {"b.c": 2}}', 2),
        ({'json': 'f'}, '{"acc": NaN}', None),
        ({'jsonl': 'f'}, '{"acc": 1}\n\n{"loss": 3}\n{"acc": 2}\n{"loss": 2}\n', 2),
        ({'csv': 'f'}, 'epoch, acc\n0,1\n1,2\n2,\n', 2),
        ({'csv': 'f', 'keys': {'acc': 'test/acc'}}, '"test/acc"\n1e-3\n', 0.001),
        ({'log': {'acc': r'^acc[:=] *(\S+)$'}}, 'acc: 1\nacc= 2.5\nloss 3', 2.5),
        ({'log': {'acc': r'a(\d)|b(?:x)'}}, 'a1 bx', 1),
    ],
)
def test_the_last_value_of_a_metric_counts(tmp_path, results, text, value):
    (tmp_path / 'f').write_text(text)
    assert read(ResultsSpec(**results), ['acc'], tmp_path, text) == {'acc': value}


@pytest.mark.parametrize(
    ('results', 'text', 'message'),
    [
        ({'json': 'f'}, '{"acc": "high"}', "the metric acc is 'high', expected a number"),
        ({'json': 'f'}, '{"acc": true}', 'the metric acc is True, expected a number'),
        ({'json': 'f'}, '{"acc": null}', 'the metric acc is None, expected a number'),
        ({'json': 'f'}, '{"acc": [1]}', 'expected a number'),
        ({'json': 'f'}, '{"test": {"accc": 1}}', "f in {run} has no 'acc'; there are: test.accc"),
        ({'json': 'f'}, '[1]', 'expected an object, found list'),
        ({'json': 'f'}, '{', 'f in {run} cannot be read'),
        ({'jsonl': 'f'}, '{"a": 1}\nnot json\n', 'line 2'),
        ({'jsonl': 'f'}, '', "f in {run} has no 'acc'"),
        ({'csv': 'f'}, 'acc\nhigh\n', "the metric acc is 'high', expected a number"),
        ({'csv': 'f'}, 'acc\n1_0\n', "the metric acc is '1_0', expected a number"),
        ({'csv': 'f'}, 'acc,b\n,1\n', "f in {run} has no 'acc'"),
        ({'csv': 'f'}, 'a"b"\n"x', 'f in {run} cannot be read'),
        ({'log': {'acc': r'acc (\S+)'}}, 'loss 1', 'no match of'),
        ({'log': {'acc': r'acc (\S+)'}}, 'acc 12%', "the metric acc is '12%', expected a number"),
        ({'json': 'g.json'}, '', 'ended without writing g.json into {run}'),
        ({}, '', 'calls toolkit.report_metrics nowhere'),
    ],
)
def test_results_that_cannot_be_used(tmp_path, results, text, message):
    (tmp_path / 'f').write_text(text)
    with pytest.raises(ToolkitError, match=re.escape(message)) as error:
        read(ResultsSpec(**results), ['acc'], tmp_path, text)
    assert '\n' not in str(error.value)


def test_metrics_are_reported_by_a_call(tmp_path, monkeypatch):
    import numpy as np
    import torch

    toolkit.report_metrics({'acc': 1})  # outside of a study it does nothing
    monkeypatch.setenv(REPORT_FILE, str(tmp_path / 'reported.json'))
    toolkit.report_metrics({'acc': torch.tensor(0.5), 'b': np.float32(2)})
    toolkit.report_metrics({'b': float('nan')})
    assert read(ResultsSpec(), ['acc', 'b'], tmp_path) == {'acc': 0.5, 'b': None}
    with pytest.raises(ToolkitError, match="does not report 'bb'; did you mean 'b'"):
        read(ResultsSpec(), ['bb'], tmp_path)
    for wrong in ('high', None, True, [1], torch.zeros(2), np.zeros(2)):
        with pytest.raises(ToolkitError, match='expected a number'):
            toolkit.report_metrics({'acc': wrong})
    with pytest.raises(ToolkitError, match='expected? a mapping|expects a mapping'):
        toolkit.report_metrics([1])
