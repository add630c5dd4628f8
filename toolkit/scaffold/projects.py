"""Files of a new component, plugin or task, by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.registry import with_article
from toolkit.scaffold.names import NewName, check_free, check_shadowing, make_name
from toolkit.scaffold.template_files import find_kind_template, find_template, render

# Templates of a task, whose components name each other.
_TASK = (
    '__init__.py',
    'data.py',
    'metrics.py',
    'prediction.py',
    'system.py',
)


def make_component(text: str, kind: str) -> dict[str, str]:
    """Makes the files of a component: block, test, config and page.

    Args:
        text: its name.
        kind: name of its kind.
    Returns:
        Texts by file name. Kinds that no config names have no config.
    Raises:
        ToolkitError: a name that cannot be used, or no template of the kind.
    """
    block = find_kind_template(kind)
    name = make_name(text)
    check_free(name, (kind,))
    module = name.of_module
    values = _list_values(name, kind, plugin=f'{module}.py', import_path=module)
    config = block.with_name(f'{kind}.yaml.j2')
    files = {f'{module}.py': render(block, **values)}
    values['config_file'] = f'{module}.yaml' if config.is_file() else ''
    files[f'test_{module}.py'] = _render('test.py.j2', values)
    if config.is_file():
        files[f'{module}.yaml'] = render(config, **values)
    files[f'{module}.md'] = _render('page.md.j2', values)
    _check_sources(files)
    return files


def make_plugin(text: str, kind: str) -> dict[str, str]:
    """Makes the files of a package with one component, which can be installed.

    Args:
        text: name of the package.
        kind: of its component, which has the package's name in the spelling of classes.
    Raises:
        ToolkitError: see `make_component`.
    """
    block = find_kind_template(kind)
    name = make_name(text)
    check_free(name, (kind,))
    package = name.of_module
    values = _list_values(
        name, kind, plugin=f'../{package}', import_path=f'{package}.{kind}', package=package
    )
    values.update(file=f'{package}/{kind}.py', test_file=f'tests/test_{package}.py')
    config = block.with_name(f'{kind}.yaml.j2')
    values['config_file'] = f'configs/{package}.yaml' if config.is_file() else ''
    values['description'] = f'{with_article(kind)[0].upper()}{with_article(kind)[1:]} for Ablakit'
    root = name.of_command
    files = {
        f'{package}/__init__.py': f'"""{values["description"]}."""\n',
        f'{package}/{kind}.py': render(block, **values),
        f'tests/test_{package}.py': _render('test.py.j2', values),
        'README.md': _render('page.md.j2', values),
        'pyproject.toml': _render('pyproject.toml.j2', values),
    }
    if config.is_file():
        files[f'configs/{package}.yaml'] = render(config, **values)
    _check_sources(files)
    return {f'{root}/{path}': content for path, content in files.items()}


def make_task(text: str) -> dict[str, str]:
    """Makes the files of a package with a task: system, data, metrics, predictor, images, config.

    Raises:
        ToolkitError: a name that cannot be used.
    """
    name = make_name(text)
    check_free(name, ('system', 'dataset', 'predictor', 'visualizer', 'metric'))
    package = name.of_module
    values = _list_values(name, 'task', plugin=f'../{package}', import_path='', package=package)
    values['description'] = 'A task for Ablakit'
    files = {f'{package}/{path}': _render(f'task/{path}.j2', values) for path in _TASK}
    files[f'tests/test_{package}.py'] = _render('task/test.py.j2', values)
    files[f'configs/{package}.yaml'] = _render('task/config.yaml.j2', values)
    files[f'configs/study_{package}.yaml'] = _render('task/study.yaml.j2', values)
    files['README.md'] = _render('task/README.md.j2', values)
    files['pyproject.toml'] = _render('pyproject.toml.j2', values)
    _check_sources(files)
    return {f'{name.of_command}/{path}': content for path, content in files.items()}


def _check_sources(files: Mapping[str, str]) -> None:
    modules = [text for path, text in files.items() if path.endswith('.py')]
    check_shadowing(modules)


def _list_values(name: NewName, kind: str, **more: str) -> dict[str, Any]:
    """Values for templates; see the templates for their use."""
    article = with_article(kind)
    return {
        'name': name.of_class,
        'module': name.of_module,
        'command': name.of_command,
        'distribution': name.of_command,
        'package': '',
        'description': '',
        'kind': kind,
        'article': f'{article[0].upper()}{article[1:]}',
        'file': f'{name.of_module}.py',
        'test_file': f'test_{name.of_module}.py',
        'config_file': '',
        **more,
    }


def _render(template: str, values: dict[str, Any]) -> str:
    path: Path | None = find_template(template)
    if path is None:
        raise ToolkitError(f'the template {template} is missing; install the toolkit again')
    return render(path, **values)
