"""The model card: what the run's files say, and what they do not."""

from __future__ import annotations

import json

import pytest

from plugins.classification.reporting.model_card import make_card
from tests.support.patch_classifier import clinical_metrics, run_of
from tests.support.study_folders import write, write_run
from toolkit import cli
from toolkit.errors import ToolkitError

NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    hooks = {'clinical': {'type': 'ClinicalReport', 'resamples': 100}}
    return run_of(
        tmp_path_factory.mktemp('run'),
        test_evaluator={'metrics': clinical_metrics()},
        custom_hooks=hooks,
        default_hooks=NO_PICTURES,
    )


def test_it_says_what_the_runs_files_say(run, capsys):
    assert cli.main(['card', '--run', str(run)]) == 0
    assert 'Research use only' in capsys.readouterr().out
    text = (run / 'MODEL_CARD.md').read_text()
    clinical = json.loads((run / 'clinical.json').read_text())
    auc = clinical['tasks']['pathology']['values']['AUC']
    wanted = [
        '**Research use only, not a medical device.**',
        '| pathology | benign, malignant | malignant |',
        '| shape | round, oval, irregular | none is named |',
        '| branch cells | CellMeans |',
        'patches-24',
        'Test data: 24 images of 12 patients.',
        '| A | 12 |',
        f'{auc["value"]:.3f} [{auc["low"]:.3f}, {auc["high"]:.3f}]',
        '### pathology',
        '| pathology | 2.0000 | 0.4000 |',
        'The test has 12 patients',
        'shape: 2 test images have no label.',
        'no audit is among the run',
        'missing (figures of the test)',
        'SHA-256',
    ]
    for part in wanted:
        assert part in text, part
    assert text.count('\n# ') == 0 and text.startswith('# Model card')


def test_what_is_missing_is_said(run, tmp_path):
    bare = tmp_path / 'bare'
    bare.mkdir()
    record = json.loads((run / 'capsule.json').read_text())
    record.update(data={'train': 'same', 'test': 'same'}, git={}, packages={})
    record['hardware'] = {'system': '', 'cpu': '', 'gpus': []}
    write(bare / 'capsule.json', record)
    text = make_card(bare)
    for part in (
        'the run has not been tested',
        'there is no clinical.json',
        '**Leak**: the train and the test data are the same (same)',
        'There was no validation data.',
        '| code | missing |',
        '| packages | missing |',
        'Counts of the test data: missing',
    ):
        assert part in text, part
    assert '0.4000' not in text


def test_what_is_no_run_of_a_classifier_is_refused(run, tmp_path, capsys):
    (tmp_path / 'other').mkdir()
    write_run(tmp_path / 'other')
    with pytest.raises(ToolkitError, match='of a classifier'):
        make_card(tmp_path / 'other')
    assert cli.main(['card', '--run', str(tmp_path)]) == 2
    assert 'holds no run' in capsys.readouterr().err
    assert cli.main(['card', '--run', str(run), '--output', str(tmp_path)]) == 2
    (tmp_path / 'other/capsule.json').write_text((run / 'capsule.json').read_text())
    (tmp_path / 'other/metrics.json').write_text('{')
    with pytest.raises(ToolkitError, match='metrics.json is damaged'):
        make_card(tmp_path / 'other')
