"""The JSON Schema of study files: no shipped one is refused, and mutants are found by it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.yaml_file import parse_yaml, read_yaml
from toolkit.study.spec import Spec
from toolkit.study.study_schema import make_study_schema

jsonschema = pytest.importorskip('jsonschema')

pytestmark = pytest.mark.slow  # it imports all plugins
ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / 'configs').rglob('studies/*.yaml'))
WHOLE = """
study: whole
base: a.yaml
common: {train_dataloader.batch_size: 4, +extra.note: x}
seeds: [0, 1]
folds: {path: train_dataloader.dataset.split.fold, values: [0, 1]}
axes: {optim_wrapper.optimizer.lr: [1e-3, 1e-4]}
variants:
  full: {}
  nothing: null
  small: {changes: 1, base: b.yaml, model.generator.width: 8, train_cfg.max_epochs: 2}
data: {a: {test_dataloader.batch_size: 1}, b: b.yaml}
compare_to: full
metrics: {SAM: lower}
table: {digits: {SAM: 2}}
budget: {time: 2 h, retries: 0}
launcher: {type: local, jobs: 2}
"""
SEARCH = """
study: search
base: a.yaml
primary: SAM
search:
  space:
    optim_wrapper.optimizer.lr: {log: [1e-4, 1e-2]}
    +model.dropout: {choice: [null, 0.1], when: {model.attention: [a, b]}}
    model.width: {integer: [8, 64], step: 8}
    model.rate: {uniform: [0, 0.5], points: 5}
  trials: 20
  sampler: random
  stop: asha
  rungs: {factor: 3, first: 1, most: 27}
"""
PROGRAM_SEARCH = """
study: search
command: python train.py {overrides}
primary: error
search: {space: {lr: {log: [1e-4, 1e-2]}}, trials: 3, metric: val_error}
"""
PROGRAM = """
study: program
command: python train.py {overrides}
program: {overrides: hydra, results: {json: r.json}}
variants: {full: {}, fast: {lr: 0.1}}
axes: {model/net: [a, b]}
metrics: {error: lower}
"""
# What is replaced in WHOLE or SEARCH, by what, and the path at which that is a mistake.
MUTANTS = [
    ('study: whole\n', '', ''),
    ('base: a.yaml\n', '', ''),
    ('base: a.yaml', 'base: 3', 'base'),
    ('study: whole', 'study: whole\nsparkle: 1', ''),
    ('seeds: [0, 1]', 'seeds: []', 'seeds'),
    ('seeds: [0, 1]', 'seeds: [0, 0]', 'seeds'),
    ('seeds: [0, 1]', "seeds: ['0']", 'seeds.0'),
    ('seeds: [0, 1]', 'seds: [0, 1]', ''),
    ('seeds: [0, 1]', 'seeds: ${extra.seeds}', 'seeds'),
    ('values: [0, 1]}', 'valeus: [0, 1]}', 'folds'),
    ('lr: [1e-3, 1e-4]', 'lr: 1e-3', 'axes.optim_wrapper.optimizer.lr'),
    ('axes: {optim_wrapper', 'axes: {optim_wraper', 'axes'),
    ('model.generator.width: 8', 'modle.generator.width: 8', 'variants.small'),
    ('max_epochs: 2', 'max_epochs: many', 'variants.small.train_cfg.max_epochs'),
    ('max_epochs: 2', 'max_epochs: 0', 'variants.small.train_cfg.max_epochs'),
    ('changes: 1', 'changes: -1', 'variants.small.changes'),
    ('base: b.yaml', 'base: [b]', 'variants.small.base'),
    ('nothing: null', 'nothing: [1]', 'variants.nothing'),
    ('batch_size: 4', 'batch_size: 0', 'common.train_dataloader.batch_size'),
    ('b: b.yaml', 'b: {changes: 1}', 'data.b'),
    ('SAM: lower', 'SAM: down', 'metrics.SAM'),
    ('digits: {SAM: 2}', 'digits: {SAM: two}', 'table.digits.SAM'),
    ('retries: 0', 'retires: 0', 'budget'),
    ('type: local', 'type: locale', 'launcher.type'),
    ('jobs: 2', 'jbos: 2', 'launcher'),
    ('jobs: 2', 'jobs: two', 'launcher.jobs'),
    ('launcher: {type: local, jobs: 2}', 'design: factorail', 'design'),
    ('trials: 20', 'trails: 20', 'search'),
    ('trials: 20', 'trials: many', 'search.trials'),
    ('sampler: random', 'sampler: randon', 'search.sampler'),
    ('stop: asha', 'stop: asaha', 'search.stop'),
    ('most: 27', 'moist: 27', 'search.rungs'),
    ('optim_wrapper.optimizer.lr: {log', 'optim_wraper.optimizer.lr: {log', 'search.space'),
    ('{log: [1e-4', '{lgo: [1e-4', 'search.space.optim_wrapper.optimizer.lr'),
    ('[8, 64]', '[8, x]', 'search.space.model.width.integer.1'),
    ('when: {model', 'wen: {model', 'search.space.+model.dropout'),
]


@pytest.fixture(scope='module')
def validator() -> Any:
    schema = json.loads(json.dumps(make_study_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def find_errors(validator: Any, text: str) -> list[str]:
    tree = parse_yaml(text, 's.yaml')[0]
    return ['.'.join(map(str, error.absolute_path)) for error in validator.iter_errors(tree)]


def test_no_shipped_study_is_refused(validator: Any) -> None:
    assert len(FILES) >= 12
    for file in FILES:
        found = list(validator.iter_errors(read_yaml(file, str(file))[0]))
        assert found == [], (file, found[0].message)
    for text in (WHOLE, SEARCH, PROGRAM, PROGRAM_SEARCH):
        assert find_errors(validator, text) == []


@pytest.mark.parametrize(('before', 'after', 'path'), MUTANTS, ids=lambda text: text[:24])
def test_mutants_have_their_place(validator: Any, before: str, after: str, path: str) -> None:
    text = next(text for text in (WHOLE, SEARCH) if before in text)
    assert text.count(before) == 1
    assert path in find_errors(validator, text.replace(before, after))


def test_every_key_is_known_and_explained_where_the_code_does(validator: Any) -> None:
    known = validator.schema['properties']
    assert set(known) == set(Spec.__dataclass_fields__)
    assert validator.schema['$defs']['section.Budget']['properties']['time']['description']
    assert validator.schema['$defs']['launcher.slurm']['properties']
