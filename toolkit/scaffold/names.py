"""Names of new components, plugins and tasks, checked before anything is written."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.errors import ToolkitError
from toolkit.registry import plugin_index

_SHAPE = re.compile(r'[A-Za-z][A-Za-z0-9_]*')
# Modules that pytest or setuptools take for their own.
_TAKEN = ('conftest', 'setup')


@dataclass(frozen=True)
class NewName:
    """A name in its spellings.

    Attributes:
        of_class: 'BoxBlur'.
        of_module: 'box_blur'.
        of_command: 'box-blur'.
    """

    of_class: str
    of_module: str
    of_command: str


def make_name(text: str) -> NewName:
    """Checks a name and derives its spellings.

    Args:
        text: 'BoxBlur' or 'box_blur'.
    Raises:
        ToolkitError: it cannot name a class or a module.
    """
    if not _SHAPE.fullmatch(text):
        words = re.findall(r'[A-Za-z0-9]+', text)
        spelled = ''.join(word[0].upper() + word[1:] for word in words).lstrip('0123456789')
        hint = f'; {spelled!r} would do' if spelled else ''
        raise ToolkitError(
            f'{text!r} cannot name a class of Python: expected a letter, then letters, digits and '
            f'underscores{hint}'
        )
    of_class = _join_words(text) if text[0].islower() or '_' in text else text
    module = re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', of_class).lower()
    for name in (text, of_class, module):
        if keyword.iskeyword(name):
            raise ToolkitError(
                f'{text!r} cannot be used: {name!r} is a keyword of Python; choose another name'
            )
    return NewName(of_class, module, module.replace('_', '-'))


def check_free(name: NewName, kinds: tuple[str, ...]) -> None:
    """Checks that neither a component of these kinds nor a module has a name.

    Raises:
        ToolkitError: it is taken; says by what.
    """
    index = plugin_index.get_index()
    for kind in kinds:
        for spelling in dict.fromkeys((name.of_class, name.of_command)):
            if entries := index.find(kind, spelling):
                raise ToolkitError(
                    f'the {kind} {spelling!r} exists already ({entries[0].place}); choose another '
                    'name'
                )
    if name.of_module in _TAKEN:
        raise ToolkitError(
            f'{name.of_module}.py is a file that pytest or setuptools run; choose another name'
        )
    if importlib.util.find_spec(name.of_module) is not None:
        raise ToolkitError(
            f'{name.of_module!r} is the name of a module that can be imported already, and tests '
            'would import that one; choose another name'
        )


def check_shadowing(sources: Iterable[str]) -> None:
    """Checks that no class of new modules has the name of what its module uses.

    Raises:
        ToolkitError: a class would take the place of an import or of a built-in name.
    """
    for source in sources:
        nodes = list(ast.walk(ast.parse(source)))
        imports = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
        used = {alias.asname or alias.name for node in imports for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ClassDef) and (
                node.name in used or hasattr(builtins, node.name)
            ):
                raise ToolkitError(
                    f'{node.name!r} is the name of something that the new module uses itself; '
                    'choose another name'
                )


def _join_words(text: str) -> str:
    return ''.join(word[0].upper() + word[1:] for word in text.split('_') if word)
