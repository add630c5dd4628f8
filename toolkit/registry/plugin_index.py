"""The index of plugins: finds them and lists their components without importing them.

Plugins are the built-in `plugins` package, packages named by the entry-point group
`ablakit.plugins`, and modules or paths named in a config (`plugins:`) or by `--plugin`. Their
sources are parsed, not run, for `@KIND.register` and `KIND = Kind('name', ...)`; a module is
imported when one of its components is used. So listing components needs no torch, a run imports
only the plugins that it names, and a broken plugin stops only the runs that need it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Collection
from pathlib import Path

from toolkit.errors import RegistryError
from toolkit.registry.component_errors import describe_with_origin
from toolkit.registry.sources.entries import Entry, Index, KindDeclaration
from toolkit.registry.sources.files import is_taken, list_imports, list_modules, list_siblings
from toolkit.registry.sources.loader import SourceFinder
from toolkit.registry.sources.parsing import PluginSource, parse_source

ENTRY_POINTS = 'ablakit.plugins'


def add(plugin: str, base: Path | None = None) -> str:
    """Adds a plugin: the name of a module, or the path of a .py file or of a package.

    Args:
        plugin: name or path, as the user wrote it.
        base: folder of relative paths, that of the config; the working folder if None.
    Returns:
        The name of the module, or its absolute path, which names the plugin from any folder.
    Raises:
        RegistryError: no such module or path.
    """
    path = find_path(plugin, base)
    if path is not None:
        name, root = _module_of_path(path.resolve())
    elif (source := find_source(plugin)) is not None:
        name, root = plugin, source
    else:
        raise RegistryError(
            f'no plugin module {plugin!r} can be imported and no file or folder has that path; '
            'give a module name, or a path ending in .py'
        )
    if name not in _roots:
        _roots[name] = root
        _clear()
    return plugin if path is None else str(root)


def find_path(plugin: str, base: Path | None = None) -> Path | None:
    """Finds the path that names a plugin, which need not exist; None for the name of a module."""
    path = (base or Path.cwd()) / plugin
    return path if plugin.endswith('.py') or '/' in plugin or path.is_dir() else None


def get_index() -> Index:
    """Returns the index of all known plugins; a source is parsed again only after it changed."""
    global _index
    if _index is None:
        _index = Index()
        files = [
            source for name, root in _all_roots().items() for source in list_modules(name, root)
        ]
        sources = [(module, file, _read_source(module, file)) for module, file in files]
        _index.kinds = [
            KindDeclaration(*declared, module)
            for module, _, source in sources
            for declared in source.kinds
        ]
        kind_names = {kind.variable: kind.name for kind in _index.kinds}
        for module, file, source in sources:
            entries = [
                Entry(kind_names[variable], name, module, str(file), *rest)
                for variable, name, *rest in source.registered
                if variable in kind_names
            ]
            _index.entries += entries
            if entries:
                _index.modules.append(module)
    return _index


def get_roots() -> dict[str, Path]:
    """Returns files and folders of all known plugins by module, the toolkit itself included."""
    return {name: root for name, root in _all_roots().items() if root is not None}


def import_module(name: str) -> None:
    """Imports a module of a plugin once; a failure is kept and raised again, not retried."""
    if name in _failures:
        raise RegistryError(f'the plugin {name} failed to import: {_failures[name]}')
    if name in sys.modules:
        return
    try:
        if not any(isinstance(finder, SourceFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, SourceFinder(_get_path_root, _check_imports))
        importlib.import_module(name)
    except Exception as error:  # any exception is a failure of that plugin
        _failures[name] = _explain(error)
        raise RegistryError(f'the plugin {name} failed to import: {_failures[name]}') from error


def import_all() -> None:
    """Imports every module of a plugin that registers something; keeps failures."""
    for module in [*_roots, *get_index().modules]:
        try:
            import_module(module)
        except RegistryError:
            continue  # kept in get_failures(), which errors about missing names quote


def get_failures() -> dict[str, str]:
    """Returns the reason by plugin that could not be parsed or imported."""
    get_index()
    return dict(_failures)


_roots: dict[str, Path | None] = {}
_path_roots: set[str] = set()
_failures: dict[str, str] = {}
_index: Index | None = None


def _clear() -> None:
    global _index
    _index = None


def _all_roots() -> dict[str, Path | None]:
    roots: dict[str, Path | None] = {'toolkit': Path(__file__).parents[1]}
    roots['plugins'] = _find_own_plugins()
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        roots[point.value.split(':')[0]] = find_source(point.value.split(':')[0])
    roots.update(_roots)
    return roots


def _find_own_plugins() -> Path | None:
    """Finds the package `plugins` that lies beside the toolkit."""
    found, own = find_source('plugins'), Path(__file__).resolve().parents[2] / 'plugins'
    if found is not None and own.is_dir() and found.resolve() != own:
        raise RegistryError(
            f'the package plugins was imported from {found} before the toolkit, whose own package '
            'has that name: rename yours, or import the toolkit first'
        )
    return found


def find_source(module: str) -> Path | None:
    """Finds the file or folder of a module without importing it; its parents may be imported."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # importing a parent package ran its code
        _failures[module] = _explain(error)
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _module_of_path(path: Path) -> tuple[str, Path]:
    if path.is_dir() and not (path / '__init__.py').is_file():
        raise RegistryError(f'the plugin folder {path} has no __init__.py')
    if not path.exists():
        raise RegistryError(f'no plugin file {path}')
    for known, root in _roots.items():
        if root is not None and (root == path or _is_copy(root, path)):
            return known, root
    name = path.stem if path.is_file() else path.name
    # A name that no installed module has.
    name = f'plugin_{name}' if _roots.get(name, path) != path or is_taken(name, path) else name
    _path_roots.add(name)
    return name, path


def _is_copy(root: Path, path: Path) -> bool:
    """Tells whether two plugins have the same name and sources, as a run's copy of a plugin has."""
    return root.name == path.name and _read_texts(root) == _read_texts(path)


def _read_texts(root: Path, seen: Collection[Path] = ()) -> dict[str, bytes]:
    """Reads the sources of a plugin, and those of other plugins beside it that it imports."""
    found = {}
    for name, file in list_modules('', root):
        found[name] = file.read_bytes()
        try:
            siblings = list(list_siblings(file, root))
        except (SyntaxError, ValueError):
            continue  # told when it is used
        for sibling in siblings:
            if sibling.name in _path_roots and sibling.path not in seen:
                texts = _read_texts(sibling.path, (*seen, root, sibling.path))
                found |= {f'{sibling.name}:{key}': text for key, text in texts.items()}
    return found


def _get_path_root(name: str) -> Path | None:
    return _roots.get(name) if name in _path_roots else None


def _check_imports(module: str, file: Path) -> None:
    """Checks that a plugin imports nothing from beside it that is no plugin itself.

    Python finds such a file in some folders and not in others, and a run would have no copy of it.

    Raises:
        ImportError: it does.
    """
    root = _roots[module.partition('.')[0]]
    assert root is not None
    if root.is_file():
        for name, line in list_imports(file):
            if name == '.':
                raise ImportError(
                    f'a relative import at {file}:{line}, which a file that is a plugin cannot '
                    f'have: {_WAYS.format("NAME")}'
                )
    for sibling in list_siblings(file, root):
        known = _find_name(sibling.path)
        if known == sibling.name:
            continue
        found = f'`import {sibling.name}` at {file}:{sibling.line}'
        if known is not None:
            raise ImportError(
                f'{found} may mean the plugin {sibling.path} or another module of that name, which '
                'Python finds; rename the plugin'
            )
        # A package of the toolkit, or an installed module, goes first everywhere.
        if sibling.name not in _all_roots() and not is_taken(sibling.name, sibling.path):
            raise ImportError(
                f'{found} is of {sibling.path.name} beside it, which is no plugin: '
                f'{_WAYS.format(sibling.path.name)}'
            )


def _find_name(path: Path) -> str | None:
    """Finds the module of a plugin by its path, or by that of a copy with the same content."""
    for name in _path_roots:
        root = _roots.get(name)
        if root is not None and (root == path or _is_copy(root, path)):
            return name
    return None


_WAYS = (
    'name it too (`plugins: [{0}, ...]`) and write `import NAME`, or put both into a folder with '
    '__init__.py and name the folder; then every run and study has it'
)


def _read_source(module: str, file: Path) -> PluginSource:
    try:
        state = file.stat()
        return parse_source(file, state.st_mtime_ns, state.st_size)
    except (OSError, SyntaxError, ValueError) as error:
        _failures[module] = _explain(error)
        return PluginSource()


def _explain(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f'{type(error).__name__} at {error.filename}:{error.lineno}: {error.msg}'
    return describe_with_origin(error)
