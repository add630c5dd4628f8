"""Components alone: the built-in ones keep their contracts, broken ones and the command say so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from plugins.timm_zoo.attention import Name
from tests.support import broken_components
from tests.support.plugins_of_one_test import plugins_of_this_test  # noqa: F401
from toolkit.cli import main
from toolkit.interfaces import Dataset, Transform
from toolkit.registry import get_kinds, plugin_index
from toolkit.registry.contracts import find_contract
from toolkit.testing.component import check_component, find_component_faults

GUIDE = Path(__file__).parents[3] / 'docs' / 'guides' / 'component_kinds.md'
FENCE = re.compile(r'^```python (\S+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
EXAMPLES = dict(FENCE.findall(GUIDE.read_text()))
# Arguments that have no default.
GIVEN: dict[str, dict[str, Any]] = {
    'TimmBackbone': {'model': 'test_resnet'},
    'TimmAttention': {'name': Name.__args__[0]},
    'CascadedAttention': {'channel': {'type': 'SE'}},
    'Classifier': {
        'tasks': {'first': {'classes': ['a', 'b']}},
        'branches': {'one': {'type': 'TimmBackbone', 'model': 'test_resnet'}},
        'head': {'type': 'LinearHead'},
        'losses': {'ce': {'type': 'CrossEntropy'}},
        'size': 64,
    },
    'Pansharpener': {
        'bands': 4,
        'ratio': 4,
        'generator': {'type': 'PNN'},
        'losses': {'l1': {'type': 'ReferenceL1'}},
    },
    'ClassBalanced': {'task': 'first', 'transforms': {'x': {'type': 'Speckle'}}},
}
# Kinds whose components need data files or a slot that only a config fills.
APART = ('dataset', 'metric', 'scene')


def list_built_in() -> list[Any]:
    found = []
    for entry in plugin_index.get_index().entries:
        kind = get_kinds()[entry.kind]
        if not entry.module.startswith(('plugins.', 'toolkit.')) or entry.kind in APART:
            continue
        if find_contract(kind.interface) is None and entry.kind not in ('transform', 'hook'):
            continue
        quick = entry.kind in ('head', 'transform') or 'classification' in entry.module
        marks = () if quick else (pytest.mark.slow,)
        found.append(pytest.param(entry.kind, entry.name, marks=marks))
    return found


@pytest.mark.parametrize(('kind', 'name'), list_built_in())
def test_a_built_in_component_keeps_its_contract(kind, name):
    cls = get_kinds()[kind].get(name)
    if find_contract(cls) is None:
        pytest.skip('a transform of patches, checked with its data set')
    assert find_component_faults(cls, GIVEN.get(name, {})) == []


@pytest.mark.parametrize('name', EXAMPLES)
def test_an_example_of_the_guide_keeps_its_contract(name, tmp_path, capsys):
    (tmp_path / name).write_text(EXAMPLES[name])
    assert main(['check-component', str(tmp_path / name)]) == 0
    told = capsys.readouterr()
    assert told.err == '' and re.search(r'\w+ \(\w+\): no fault found\n', told.out)


def test_the_guide_has_an_example_of_each_kind_that_authors_write():
    texts = ' '.join(EXAMPLES.values())
    kinds = ('BACKBONES', 'NECKS', 'ATTENTIONS', 'HEADS', 'GENERATORS', 'LOSSES', 'METRICS')
    for kind in (*kinds, 'DATASETS', 'TRANSFORMS'):
        assert f'@{kind}.register' in texts, kind


def test_the_command_names_faults_with_file_and_line(tmp_path, capsys):
    path = tmp_path / 'my_bad_head.py'
    path.write_text(EXAMPLES['my_head.py'].replace('(self.norm(features))', '(features)'))
    assert main(['check-component', str(path)]) == 2
    told = capsys.readouterr()
    assert re.match(
        rf'NormedHead \({path}:\d+\) has 2 of 4 parameters that no gradient reaches', told.err
    )
    assert main(['check-component', str(path), 'NormdHead.x=1']) == 2
    assert "did you mean 'NormedHead'" in capsys.readouterr().err
    path.with_name('nothing.py').write_text('x = 1\n')
    assert main(['check-component', str(path.with_name('nothing.py'))]) == 2
    assert 'registers no component' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('line', 'option', 'message'),
    [
        ('', '--export', ''),
        ('', '--compile', ''),
        (
            'x = x if x.sum() > 0 else x * 1',
            '--export',
            r'cannot be exported \(.*\), where .*: \w+',
        ),
        ('x = x if x.sum() > 0 else x * 1', '--compile', ''),
        (
            'x = x * 2 if torch.compiler.is_compiling() else x',
            '--compile',
            r'gives other values of features \(2, \d+\) once it is compiled \(torch.compile\)',
        ),
    ],
)
def test_a_component_is_held_to_export_and_to_compiling_where_asked(
    line, option, message, tmp_path, capsys
):
    path = tmp_path / 'own_head.py'
    path.write_text(
        'import torch\n'
        'from toolkit.interfaces import Head\n'
        'from toolkit.registry import HEADS\n\n\n'
        '@HEADS.register\n'
        'class OwnHead(Head):\n'
        '    """A linear head: (B, C) -> (B, num_classes)."""\n\n'
        '    def __init__(self, in_channels: int, num_classes: int) -> None:\n'
        '        super().__init__()\n'
        '        self.linear = torch.nn.Linear(in_channels, num_classes)\n\n'
        '    def forward(self, features: torch.Tensor) -> torch.Tensor:\n'
        '        x = self.linear(features)\n'
        f'        {line}\n'
        '        return x\n'
    )
    assert main(['check-component', str(path)]) == 0  # no contract asks for it
    capsys.readouterr()
    assert main(['check-component', str(path), option]) == (2 if message else 0)
    told = capsys.readouterr().err
    assert re.fullmatch(rf'OwnHead \({path}:\d+\) {message}.*\n' if message else '', told)


# Faults that a system would not show, or that are no fault alone.
ONLY_IN_A_SYSTEM = {
    'Loss_names_no_output',
    'Loss_detached',  # from the image that a system trains, and not from the reference
    'Loss_takes_anything',
    'ClassLoss_of_images',
    'TaskWeighting_drops_a_task',
}


@pytest.mark.parametrize(
    'name', ['Generator_two_pixels_short', 'Head_of_three_classes', 'Loss_is_a_vector']
)
def test_one_line_of_a_test_finds_a_broken_component(name):
    cls = getattr(broken_components, name)
    with pytest.raises(AssertionError, match=rf'{name} \(.*broken_components.py:\d+\) gives'):
        check_component(cls)


@pytest.mark.slow
def test_broken_components_are_found_alone_too():
    broken = [
        cls
        for name, cls in vars(broken_components).items()
        if isinstance(cls, type) and cls.__module__ == broken_components.__name__
        if '_' in name and name not in ONLY_IN_A_SYSTEM
    ]
    silent = [
        cls.__name__
        for cls in broken
        if all('docstring' in fault.message for fault in find_component_faults(cls, {}))
    ]
    assert silent == []
    assert len(broken) > 70


# -- data sets and transforms ------------------------------------------------------------------


class Numbers(Dataset):
    """Numbers by index."""

    def __init__(self) -> None:
        self.values = torch.rand(3, 2)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return {'x': self.values[index].clone(), 'meta': {'item': f'n{index}'}}


class OneName(Numbers):
    """All of one name."""

    def __getitem__(self, index: int) -> Any:
        return {**super().__getitem__(index), 'meta': {'item': 'n'}}


class NoName(Numbers):
    """Without a name."""

    def __getitem__(self, index: int) -> Any:
        return {'x': self.values[index].clone(), 'meta': {}}


class Shared(Numbers):
    """Tensors of its cache."""

    def __getitem__(self, index: int) -> Any:
        return {**super().__getitem__(index), 'x': self.values[index]}


class OwnGenerator(Numbers):
    """Its own random numbers."""

    def __getitem__(self, index: int) -> Any:
        self.values.add_(1)
        return super().__getitem__(index)


class Pair(Numbers):
    """A pair."""

    def __getitem__(self, index: int) -> Any:
        return self.values[index], 0


class Unpicklable(Numbers):
    """A lambda."""

    def __init__(self) -> None:
        super().__init__()
        self.function = lambda x: x


@pytest.mark.parametrize(
    ('cls', 'message'),
    [
        (OneName, "names two samples 'n'"),
        (NoName, r"gives samples without meta\['item'\]"),
        (Shared, 'gives tensors of its cache'),
        (OwnGenerator, 'gives other values for the same index and seed'),
        (Pair, 'gives a tuple; a sample is a dict'),
        (Unpicklable, 'cannot be pickled'),
    ],
)
def test_a_broken_data_set_is_found(cls, message):
    check_component(Numbers)
    with pytest.raises(AssertionError, match=rf'{cls.__name__} \(.*\) {message}'):
        check_component(cls)


def test_a_kind_without_a_contract_is_told():
    assert find_contract(Transform) is None
