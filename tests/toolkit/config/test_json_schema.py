"""The JSON Schema of configs: no shipped config is refused, and mutants are found by it alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.config_mutants import make_mutants
from tests.support.plugins_of_one_test import plugins_of_this_test
from toolkit import cli
from toolkit.config import ConfigError, load
from toolkit.config.find import list_configs
from toolkit.config.json_schema import make_schema
from toolkit.config.yaml_file import parse_yaml, read_yaml

__all__ = ['plugins_of_this_test']

jsonschema = pytest.importorskip('jsonschema')

ROOT = Path(__file__).parents[3]
FILES = [
    file
    for file in sorted((ROOT / 'configs').rglob('*.yaml'))
    if 'studies' not in file.relative_to(ROOT).parts
]
# Changes that a schema of one file can see; others need bases, references or several keys.
BY_NAME_AND_TYPE = {
    'misspell',
    'look_alike',
    'look_alike_type',
    'add_argument',
    'give_injected',
    'other_kind',
    'wrong_type',
    'short_list',
    'null',
    'out_of_range',
    'seed_as_text',
}


@pytest.fixture(scope='module')
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(make_schema()))


@pytest.fixture(scope='module')
def validator(schema: dict[str, Any]) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def find_errors(validator: Any, text: str) -> list[str]:
    """Paths of the errors in a YAML text."""
    tree = parse_yaml(text, 'c.yaml')[0]
    return ['.'.join(map(str, e.absolute_path)) for e in validator.iter_errors(tree)]


def test_no_shipped_file_is_refused(validator: Any) -> None:
    refused = {
        str(file.relative_to(ROOT)): [error.message for error in validator.iter_errors(tree)]
        for file in FILES
        if not validator.is_valid(tree := read_yaml(file, str(file))[0])
    }
    assert refused == {} and len(FILES) > 40


def count_found(validator: Any, names: list[str], count: int) -> tuple[Counter[str], list[str]]:
    """Counts mutants by operator, and names those that the schema does not find."""
    made: Counter[str] = Counter()
    passed = []
    for number, name in enumerate(names):
        for mutant in make_mutants(load(name).tree, number, count):
            if mutant.operator not in BY_NAME_AND_TYPE:
                continue
            try:
                tree = parse_yaml(mutant.text, 'c.yaml')[0]
            except ConfigError:
                continue
            made[mutant.operator] += 1
            if validator.is_valid(tree):
                passed.append(f'{name}: {mutant.operator} at {".".join(mutant.path)}')
    print(f'{sum(made.values()) - len(passed)} of {sum(made.values())} mutants are found', *passed)
    return made, passed


def test_a_sample_of_mutants_is_found(validator: Any) -> None:
    made, passed = count_found(validator, ['ldpnet/ldpnet_2022_synthetic'], 20)
    assert len(passed) <= 0.1 * sum(made.values()) and sum(made.values()) >= 8


@pytest.mark.slow
def test_nine_of_ten_mutants_of_every_config_are_found(validator: Any) -> None:
    made, passed = count_found(validator, list_configs(), 10)
    assert set(made) == BY_NAME_AND_TYPE
    assert len(passed) <= 0.1 * sum(made.values())


@pytest.mark.parametrize(
    ('text', 'path'),
    [
        ('modle: {}', ''),
        ('train_cfg: {max_epoch: 3}', 'train_cfg'),
        ('train_cfg: {max_epochs: 0}', 'train_cfg.max_epochs'),
        ('randomness: {seed: "3"}', 'randomness.seed'),
        ('runtime: {precision: fp8}', 'runtime.precision'),
        ('model: {type: Pansharpner}', 'model.type'),
        ('model: {generator: {type: LDPNet, widht: 3}}', 'model.generator'),
        ('model: {generator: {type: LDPNet, bands: 3}}', 'model.generator'),
        ('model: {generator: {widht: 3}}', 'model.generator'),
        ('test_evaluator: {metrics: {a: {type: CBAM}}}', 'test_evaluator.metrics.a.type'),
    ],
)
def test_mistakes_have_their_place(validator: Any, text: str, path: str) -> None:
    assert path in find_errors(validator, text)


@pytest.mark.parametrize(
    'text',
    [
        '{_base_: a.yaml, train_cfg: {max_epochs: 3}}',
        'model: {generator: {width: 3}}',
        'model: {generator: {_delete_: true, type: GSA}}',
        'model: {losses: {kl: null}}',
        'randomness: {seed: "${extra.seed}"}',
        'extra: {anything: [1, {a: b}]}',
    ],
)
def test_partial_configs_and_references_pass(validator: Any, text: str) -> None:
    assert find_errors(validator, text) == []


def test_arguments_are_explained(schema: dict[str, Any]) -> None:
    width = schema['$defs']['generator.LDPNet']['properties']['width']
    assert width['default'] == 16 and width['description']
    assert width['else'] == {'type': 'integer', 'minimum': 1}
    assert 'bands' not in schema['$defs']['generator.LDPNet']['properties']


def test_the_command_writes_a_file_and_takes_plugins(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / 'mine.py').write_text(
        'from toolkit.interfaces import Transform\n'
        'from toolkit.registry import TRANSFORMS\n\n\n'
        '@TRANSFORMS.register\n'
        'class SchemaTransform(Transform):\n'
        '    """Does nothing."""\n\n'
        '    def __init__(self, amount: float) -> None: ...\n\n'
        '    def __call__(self, sample):\n'
        '        return sample\n'
    )
    output = tmp_path / 'schema.json'
    words = ['schema', '--plugin', str(tmp_path / 'mine.py'), '--output', str(output)]
    assert cli.main(words) == 0
    found = json.loads(output.read_text())['$defs']['transform.SchemaTransform']
    assert found['properties']['amount']['else'] == {'type': 'number'}
    assert cli.main(words) == 2
    assert '--overwrite' in capsys.readouterr().err
