"""Components and kinds as the sources of plugins show them."""

from __future__ import annotations

from dataclasses import dataclass, field


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
