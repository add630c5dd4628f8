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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import RegistryError
from toolkit.registry.component_errors import format_origin
from toolkit.registry.plugin_loader import SourceFinder, SourceLoader
from toolkit.registry.plugin_source import PluginSource, parse_source

ENTRY_POINTS = 'ablakit.plugins'


@dataclass(frozen=True)
class Entry:
    """A component as its plugin's source shows it.

    Args:
        kind: name of the kind.
        name: under which it is registered.
        module: that registers it.
        file: of the module.
        line: of the class.
        summary: first line of its docstring.
        system: name of the class in `system = CLASS` of its body; '' if there is none.
    """

    kind: str
    name: str
    module: str
    file: str
    line: int
    summary: str
    system: str = ''

    @property
    def place(self) -> str:
        return f'{self.file}:{self.line}'


@dataclass(frozen=True)
class KindDeclaration:
    """A kind as the source that declares it shows it: `HEADS = Kind('head', ...)`.

    Args:
        variable: 'HEADS'.
        name: 'head'.
        interface: dotted path of the abstract class; '' if it is not written as a string.
        injected: arguments that parents supply.
        library: dotted path of a module of another package, or None.
        module: that declares it.
    """

    variable: str
    name: str
    interface: str
    injected: tuple[str, ...]
    library: str | None
    module: str


@dataclass
class Index:
    """Components and kinds that the sources of all plugins register and declare."""

    entries: list[Entry] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    kinds: list[KindDeclaration] = field(default_factory=list)

    @property
    def kind_modules(self) -> list[str]:
        """Modules that declare kinds."""
        return list(dict.fromkeys(kind.module for kind in self.kinds))

    def find(self, kind: str, name: str) -> list[Entry]:
        return [e for e in self.entries if e.kind == kind and e.name == name]

    def of_kind(self, kind: str) -> list[Entry]:
        """Components of a kind, sorted by name."""
        return sorted((e for e in self.entries if e.kind == kind), key=lambda e: e.name)

    def names(self, kind: str) -> list[str]:
        return sorted({e.name for e in self.entries if e.kind == kind})


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
        files = [source for name, root in _all_roots().items() for source in _walk(name, root)]
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


def list_roots() -> list[Path]:
    """Lists the files and folders of all known plugins, the toolkit itself included."""
    return [root for root in _all_roots().values() if root is not None]


def import_module(name: str) -> None:
    """Imports a module of a plugin once; a failure is kept and raised again, not retried."""
    if name in _failures:
        raise RegistryError(f'the plugin {name} failed to import: {_failures[name]}')
    if name in sys.modules:
        return
    try:
        root = name.split('.')[0]
        if root in _roots and root in _path_roots:
            _load_path(root, _roots[root])
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
    name = f'plugin_{name}' if _roots.get(name, path) != path or _is_taken(name, path) else name
    _path_roots.add(name)
    return name, path


def _is_copy(root: Path, path: Path) -> bool:
    """Tells whether two plugins have the same name and sources, as a run's copy of a plugin has."""
    return root.name == path.name and _texts(root) == _texts(path)


def _texts(root: Path) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in _walk('', root)}


def _is_taken(name: str, path: Path) -> bool:
    """Tells whether a module other than the plugin's own has its name.

    Python may find the plugin itself too, in a folder that it searches. The name must not depend
    on that, or the plugin would be imported twice.
    """
    spec = getattr(sys.modules.get(name), '__spec__', None) or importlib.util.find_spec(name)
    if spec is None:
        return name in sys.modules
    own = path / '__init__.py' if path.is_dir() else path
    return spec.origin is None or Path(spec.origin).resolve() != own


def _load_path(name: str, path: Path | None) -> None:
    if name in sys.modules or path is None:
        return
    file = path / '__init__.py' if path.is_dir() else path
    locations = [str(path)] if path.is_dir() else None
    if not any(isinstance(finder, SourceFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SourceFinder(_get_path_root))
    spec = importlib.util.spec_from_file_location(
        name, file, loader=SourceLoader(name, str(file)), submodule_search_locations=locations
    )
    if spec is None or spec.loader is None:
        raise ImportError(f'{file} is no Python source')
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _get_path_root(name: str) -> Path | None:
    return _roots.get(name) if name in _path_roots else None


def _walk(name: str, root: Path | None) -> Iterator[tuple[str, Path]]:
    if root is None:
        return
    if root.is_file():
        yield name, root
        return
    for file in sorted(root.rglob('*.py')):
        parts = file.relative_to(root).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        yield '.'.join((name, *parts)), file


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
    return f'{type(error).__name__}{format_origin(error)}: {error}{_suggest_package(error)}'


def _suggest_package(error: BaseException) -> str:
    """Suggests a package if a plugin file imports a file that lies beside it."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    for root in _roots.values():
        if name and root is not None and root.is_file():
            sibling = root.with_name(f'{name}.py')
            if sibling.is_file():
                return (
                    f'; {sibling.name} lies beside it: put both into a folder with __init__.py, '
                    f'write `from .{name} import ...`, and name the folder as the plugin'
                )
    return ''
