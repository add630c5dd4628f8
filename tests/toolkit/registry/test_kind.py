"""Kinds, names, plugins: what is found without importing, and what each mistake says."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from toolkit.errors import ComponentError, RegistryError
from toolkit.interfaces import Head
from toolkit.registry import HEADS, NECKS, OPTIMIZERS, Kind, find_kind, get_kinds, plugin_index
from toolkit.registry import kind as kind_module
from toolkit.registry.build import ComponentFactory, build


@pytest.fixture
def clean(monkeypatch):
    """A registry whose plugins and parts are forgotten after the test."""
    plugin_index.import_all()  # what is imported only within the test would be forgotten for good
    for name in ('_roots', '_failures'):
        monkeypatch.setattr(plugin_index, name, dict(getattr(plugin_index, name)))
    monkeypatch.setattr(plugin_index, '_path_roots', set(plugin_index._path_roots))
    monkeypatch.setattr(kind_module, '_KINDS', dict(kind_module._KINDS))
    monkeypatch.setattr(plugin_index, '_index', None)
    for kind in get_kinds().values():
        monkeypatch.setattr(kind, '_module_dict', dict(kind._module_dict))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(('my_', 'plugin_my_')):
            del sys.modules[name]


@pytest.fixture
def plugin(tmp_path, clean):
    """Writes a plugin file and makes it known."""

    def writer(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        plugin_index.add(str(path))
        return path

    return writer


HEAD = """
    from torch import nn
    from toolkit.interfaces import Head
    from toolkit.registry import HEADS

    @HEADS.register{how}
    class {cls}(Head):
        '''One layer.'''

        def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
            super().__init__()
            if not 0 <= dropout < 1:
                raise ValueError(f'dropout must be in [0, 1), found {{dropout}}')
            self.layer = nn.Linear(in_channels, num_classes)
"""


def test_a_part_is_known_before_its_plugin_is_imported(plugin):
    plugin('my_heads.py', HEAD.format(cls='MyHead', how=''))
    assert 'MyHead' in HEADS.names()
    assert 'my_heads' not in sys.modules
    head = build({'type': 'MyHead', 'dropout': 0.5}, HEADS, in_channels=3, num_classes=2)
    assert 'my_heads' in sys.modules
    assert isinstance(head, Head)
    assert (head.layer.in_features, head.layer.out_features) == (3, 2)


def test_a_name_may_be_given(plugin):
    plugin('my_heads.py', HEAD.format(cls='MyHead', how="(name='my-head')"))
    assert HEADS.get('my-head').__name__ == 'MyHead'
    assert 'MyHead' not in HEADS


def test_a_package_is_a_plugin(plugin, tmp_path):
    (tmp_path / 'my_package').mkdir()
    (tmp_path / 'my_package' / '__init__.py').write_text('')
    (tmp_path / 'my_package' / 'heads.py').write_text(
        textwrap.dedent(HEAD.format(cls='PackagedHead', how=''))
    )
    plugin_index.add(str(tmp_path / 'my_package'))
    assert HEADS.get('PackagedHead').__module__ == 'my_package.heads'


def test_parts_registered_in_ways_that_sources_do_not_show_are_found(plugin):
    plugin(
        'my_loop.py',
        HEAD.format(cls='Base', how='')
        + """
    for width in (1, 2):
        HEADS.register(name=f'Head{width}')(type(f'Head{width}', (Base,), {}))
    """,
    )
    assert issubclass(HEADS.get('Head2'), Head)


def test_missing_names_say_what_is_near_and_which_kind_has_it(plugin):
    plugin('my_heads.py', HEAD.format(cls='LinearHead', how=''))
    with pytest.raises(RegistryError, match=r"no head is named 'LinearHed'; did you mean 'LinearH"):
        HEADS.get('LinearHed')
    with pytest.raises(RegistryError, match=r"no neck is named 'LinearHead'; 'LinearHead' is a he"):
        NECKS.get('LinearHead')
    with pytest.raises(RegistryError, match=r"no neck is named 'linearhed'; 'LinearHead' is a hea"):
        NECKS.get('linearhed')
    with pytest.raises(RegistryError, match=r"no optimizer is named 'adam'; did you mean 'Adam'"):
        OPTIMIZERS.get('adam')


def test_a_duplicate_shows_both_places(plugin):
    first = plugin('my_one.py', HEAD.format(cls='TwiceHead', how=''))
    second = plugin('my_two.py', HEAD.format(cls='TwiceHead', how=''))
    with pytest.raises(RegistryError) as caught:
        HEADS.get('TwiceHead')
    assert str(first) + ':7' in str(caught.value)
    assert str(second) + ':7' in str(caught.value)


def test_a_duplicate_made_while_running_shows_both_places(clean):
    def one():
        class Again(Head):
            pass

        return Again

    def two():
        class Again(Head):
            pass

        return Again

    HEADS.register(one())
    with pytest.raises(RegistryError, match=r"the head 'Again' is registered twice: .*:\d+ and .*"):
        HEADS.register(two())


@pytest.mark.parametrize(
    ('kind', 'name', 'place'),
    [
        ('attention', 'ChannelAttention', r'attention\.py:\d+'),  # in a plugin that is not imported
        ('hook', 'EarlyStoppingHook', r'mmengine\.hooks\.EarlyStoppingHook'),
        ('optimizer', 'AdamW', r'torch\.optim\.AdamW'),
    ],
)
def test_a_notebook_does_not_take_the_name_of_a_shipped_component(monkeypatch, kind, name, place):
    kind = get_kinds()[kind]
    monkeypatch.setattr(kind, '_module_dict', {})
    component = type(name, (kind.interface,), {'__module__': '__main__'})
    with pytest.raises(
        RegistryError, match=f'{name!r} is registered twice: .*{place} and .*rename'
    ):
        kind.register(component)
    assert not kind._module_dict


def test_a_cell_of_a_notebook_can_be_run_again(clean):
    first, again = (type('Cell', (Head,), {'__module__': '__main__'}) for _ in range(2))
    HEADS.register(first)
    HEADS.register(again)
    assert HEADS.get('Cell') is again


def test_a_part_must_implement_its_interface(clean):
    with pytest.raises(RegistryError, match='is no subclass of toolkit.interfaces.Head'):

        @HEADS.register
        class NoHead:
            pass


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        (
            'import not_installed_anywhere\n',
            'ModuleNotFoundError at .*my_bad.py:1: No module',
        ),
        ('1 / 0\n', 'ZeroDivisionError at .*my_bad.py:1: division by zero'),
    ],
)
def test_a_broken_plugin_stops_only_those_who_need_it(plugin, text, error):
    plugin('my_good.py', HEAD.format(cls='GoodHead', how=''))
    plugin('my_bad.py', text + textwrap.dedent(HEAD.format(cls='BadHead', how='')))
    assert HEADS.get('GoodHead').__name__ == 'GoodHead'
    with pytest.raises(RegistryError, match=f'the plugin my_bad failed to import: {error}'):
        HEADS.get('BadHead')
    with pytest.raises(RegistryError, match=f'plugin that failed to import: my_bad .{error}'):
        HEADS.get('Nowhere')


def test_a_plugin_that_is_no_python_is_named_where_a_part_is_missing(plugin):
    plugin('my_bad.py', '@HEADS.register\nclass X(:\n')
    with pytest.raises(RegistryError, match=r'my_bad \(SyntaxError at .*my_bad.py:2: invalid synt'):
        HEADS.get('X')


def test_no_such_plugin(clean, tmp_path):
    with pytest.raises(RegistryError, match='no plugin file '):
        plugin_index.add(str(tmp_path / 'nothing.py'))
    with pytest.raises(RegistryError, match="no plugin module 'not_a_module' can be imported"):
        plugin_index.add('not_a_module')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(RegistryError, match='has no __init__.py'):
        plugin_index.add(str(tmp_path / 'folder'))


def test_plugins_declare_kinds(plugin):
    plugin(
        'my_kind.py',
        """
        from toolkit.registry import Kind

        class Shape:
            pass

        SHAPES = Kind('shape', 'my_kind.Shape', injected=('size',))

        @SHAPES.register
        class Square(Shape):
            def __init__(self, size: int) -> None:
                self.size = size
        """,
    )
    shapes = get_kinds()['shape']
    assert build({'type': 'Square'}, shapes, size=3).size == 3
    assert find_kind(sys.modules['my_kind'].Shape) is shapes


def test_a_kind_is_declared_once(clean):
    with pytest.raises(RegistryError, match="the kind 'head' is declared twice"):
        Kind('head', 'toolkit.interfaces.Head')


def test_entry_points_are_plugins(tmp_path, clean, monkeypatch):
    (tmp_path / 'my_installed.py').write_text(textwrap.dedent(HEAD.format(cls='FarHead', how='')))
    info = tmp_path / 'my_installed-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: my-installed\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[ablakit.plugins]\nmine = my_installed\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugin_index, '_index', None)
    assert HEADS.get('FarHead').__module__ == 'my_installed'


def test_errors_of_a_constructor_carry_the_path(plugin):
    plugin('my_heads.py', HEAD.format(cls='MyHead', how=''))
    part = ComponentFactory(HEADS.get('MyHead'), {'dropout': 2.0}, 'model.heads.a')
    with pytest.raises(ComponentError) as caught:
        part(in_channels=3, num_classes=2, not_taken=1)
    expected = 'model.heads.a: MyHead: dropout must be in [0, 1), found 2.0'
    assert str(caught.value) == expected


def test_listing_parts_needs_no_torch():
    code = (
        'import sys; from toolkit.cli import main; main(["list"]); main(["list", "hook"]); '
        'sys.exit("torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'optimizer' in done.stdout


def test_an_error_of_a_plugin_names_the_line_of_its_author(plugin):
    path = plugin('my_wrong.py', HEAD.format(how='', cls='MyWrong') + '\n    x = {}["y"]\n')
    with pytest.raises(RegistryError, match=rf'KeyError at {path}:\d+: '):
        HEADS.get('MyWrong')


BESIDE = [
    'import my_beside',
    'from my_beside import WIDTH',
    'import os, my_beside as helper',
    'def late():\n    import my_beside',
    "from importlib import import_module; my_beside = import_module('my_beside')",
    "my_beside = __import__('my_beside')",
    'from . import my_beside',
    'from .my_beside import WIDTH',
]


def write_beside(folder, line, text='WIDTH = 1\n', name='my_part'):
    folder.mkdir(exist_ok=True)
    (folder / 'my_beside.py').write_text(text)
    (folder / f'{name}.py').write_text(
        f'{line}\n' + textwrap.dedent(HEAD.format(how='', cls='MyP'))
    )


@pytest.mark.parametrize('line', BESIDE)
@pytest.mark.parametrize('is_found', [True, False])
def test_a_plugin_that_imports_what_is_no_plugin_is_told_the_way(
    line, is_found, clean, tmp_path, monkeypatch
):
    write_beside(tmp_path, line)
    if is_found:  # as in the working folder, where `python -m toolkit` would find it
        monkeypatch.syspath_prepend(tmp_path)
    plugin_index.add(str(tmp_path / 'my_part.py'))
    number = 2 if line.startswith('def') else 1
    with pytest.raises(RegistryError, match=rf'my_part.py:{number}.*name it too.*import NAME'):
        HEADS.get('MyP')


@pytest.mark.parametrize('is_found', [True, False])
def test_a_folder_without_init_beside_a_plugin_is_refused_too(
    is_found, clean, tmp_path, monkeypatch
):
    (tmp_path / 'my_folder').mkdir()
    (tmp_path / 'my_folder' / 'my_beside.py').write_text('WIDTH = 1\n')
    write_beside(tmp_path, 'from my_folder.my_beside import WIDTH')
    if is_found:  # Python imports such a folder from where it searches
        monkeypatch.syspath_prepend(tmp_path)
    plugin_index.add(str(tmp_path / 'my_part.py'))
    with pytest.raises(RegistryError, match=r'my_part.py:1 is of my_folder beside it.*__init__.py'):
        HEADS.get('MyP')


@pytest.mark.parametrize('line', BESIDE[:-2])
@pytest.mark.parametrize('is_first', [True, False])
def test_plugins_import_each_other(line, is_first, clean, tmp_path):
    write_beside(tmp_path, line)
    for name in sorted(('my_beside.py', 'my_part.py'), reverse=not is_first):
        plugin_index.add(str(tmp_path / name))
    module = sys.modules[HEADS.get('MyP').__module__]
    if hasattr(module, 'late'):
        module.late()
    assert sys.modules['my_beside'].__file__ == str(tmp_path / 'my_beside.py')


def test_another_version_of_an_imported_plugin_is_not_taken_for_it(clean, tmp_path):
    for folder, text in (('one', 'WIDTH = 1\n'), ('copy', 'WIDTH = 1\n'), ('two', 'WIDTH = 2\n')):
        write_beside(tmp_path / folder, BESIDE[1], text)
        for name in ('my_beside.py', 'my_part.py'):
            plugin_index.add(str(tmp_path / folder / name))
        if folder != 'two':
            assert HEADS.get('MyP').__module__ == 'my_part'
    with pytest.raises(RegistryError, match="the head 'MyP' is registered twice"):
        HEADS.get('MyP')
    with pytest.raises(RegistryError, match=r'my_part.py:1 may mean the plugin .*two/my_beside'):
        plugin_index.import_module('plugin_my_part')


def test_a_copy_is_used_though_the_working_folder_has_another_version(clean, tmp_path, monkeypatch):
    write_beside(tmp_path / 'work', BESIDE[1], 'WIDTH = 2\n')
    write_beside(tmp_path / 'copy', BESIDE[1], 'WIDTH = 1\n')
    monkeypatch.chdir(tmp_path / 'work')
    monkeypatch.setattr(sys, 'path', [*sys.path, str(tmp_path / 'work')])
    for name in ('my_beside.py', 'my_part.py'):
        plugin_index.add(str(tmp_path / 'copy' / name))
    assert sys.modules[HEADS.get('MyP').__module__].WIDTH == 1


def test_a_plugin_that_python_finds_under_the_name_of_another_is_told(clean, tmp_path, monkeypatch):
    write_beside(tmp_path / 'found', '', 'WIDTH = 2\n')
    write_beside(tmp_path / 'copy', BESIDE[1], 'WIDTH = 1\n')
    monkeypatch.syspath_prepend(tmp_path / 'found')
    for name in ('my_beside.py', 'my_part.py'):
        plugin_index.add(str(tmp_path / 'copy' / name))
    with pytest.raises(RegistryError, match='may mean the plugin .*copy/my_beside.py or another'):
        HEADS.get('MyP')


def test_an_installed_module_goes_before_one_beside_a_plugin(clean, tmp_path):
    write_beside(tmp_path, 'import json')
    (tmp_path / 'json.py').write_text('1 / 0\n')
    plugin_index.add(str(tmp_path / 'my_part.py'))
    assert HEADS.get('MyP')


def test_a_component_is_found_and_built_alone():
    import toolkit
    from toolkit.errors import ComponentError, RegistryError

    attentions = toolkit.kinds()['attention']
    assert attentions['SimAM'].__name__ == 'SimAM'
    built = attentions.build('ECA', in_channels=8, prefix_tokens=1)  # of which it takes the first
    assert isinstance(built, attentions['ECA'])
    assert isinstance(attentions.build(attentions['ECA'], in_channels=8), attentions['ECA'])
    cascade = attentions.build('CascadedAttention', in_channels=8, channel={'type': 'SE'})
    assert any(isinstance(module, attentions['SE']) for module in cascade.modules())
    with pytest.raises(ComponentError, match="CascadedAttention has no argument 'chanel'.*channel"):
        attentions.build('CascadedAttention', in_channels=8, chanel={'type': 'SE'})
    with pytest.raises(ComponentError, match='ECA'):
        attentions.build('ECA')
    with pytest.raises(RegistryError, match="did you mean 'CBAM'"):
        attentions['CBMA']
