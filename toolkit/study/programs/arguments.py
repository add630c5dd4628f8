"""Makes the command line of a program: a list of arguments, which no shell reads."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.dump import dump_inline
from toolkit.study.programs.keys import FILE_STYLES

OVERRIDES, RUN, SEED = 'overrides', 'run', 'seed'
PLACEHOLDERS = (OVERRIDES, RUN, SEED)
_PLACEHOLDER = re.compile(r'\{\{|\}\}|\{([^{}]*)\}')
# Characters that Hydra's grammar reads in a value without quotes:
# https://hydra.cc/docs/advanced/override_grammar/basic/
_HYDRA_WORD = re.compile(r'[A-Za-z_/.][\w/.%+?|@-]*')


def split_command(command: str | Sequence[str]) -> list[str]:
    """Split a command into arguments by the rules of a POSIX shell, without running one.

    Raises:
        ValueError: a quotation is not closed.
    """
    return shlex.split(command) if isinstance(command, str) else list(command)


def list_placeholders(arguments: Sequence[str]) -> list[str]:
    """List the names in braces of some arguments; `{{` and `}}` stand for braces."""
    found = [match[1] for text in arguments for match in _PLACEHOLDER.finditer(text)]
    return [name for name in found if name is not None]


def fill_command(
    arguments: Sequence[str], values: Mapping[str, str], overrides: Sequence[str] = ()
) -> list[str]:
    """Put values in place of placeholders; each argument stays one argument.

    Args:
        arguments: from `split_command`.
        values: text by placeholder.
        overrides: arguments in place of an argument `{overrides}`, if it has no value.
    """

    def replace(match: re.Match[str]) -> str:
        return values[match[1]] if match[1] is not None else match[0][0]

    filled: list[str] = []
    for text in arguments:
        if text == f'{{{OVERRIDES}}}' and OVERRIDES not in values:
            filled += overrides
        else:
            filled.append(_PLACEHOLDER.sub(replace, text))
    return filled


def explain_override(style: str, path: str, value: Any) -> str:
    """Explain why a style cannot write an override; '' if it can."""
    name = path.removeprefix('+')
    if path.startswith('+') and style != 'hydra':
        return f"+ in front of a key is Hydra's; write {name!r}"
    if not name or (style in FILE_STYLES and not all(name.split('.'))):
        return f'{path!r} is no name of an option'
    if re.search(r'\s', name) or (name.startswith('-') or '=' in name) and style not in FILE_STYLES:
        return f'{path!r} is no name of an option: write it without dashes, `=` and spaces'
    if style == 'argparse':
        if value is False:
            return (
                'argparse has no way to say false: name the option that switches it off '
                f"(no-{name}: true), give the text ('false'), or leave it out"
            )
        if isinstance(value, Mapping) or _holds_list(value):
            return f'found {dump_inline(value)}; argparse takes plain values and lists of them'
    return ''


def _holds_list(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(x, (list, Mapping)) for x in value)


def format_overrides(style: str, values: Mapping[str, Any]) -> list[str]:
    """Write overrides as arguments.

    | style | 0.1 | true | null | [1, 2] |
    |---|---|---|---|---|
    | argparse | `--a 0.1` | `--a` | nothing | `--a 1 2` |
    | equals | `--a=0.1` | `--a=true` | `--a=null` | `--a=[1, 2]` |
    | hydra | `a=0.1` | `a=true` | `a=null` | `a=[1,2]` |

    Args:
        style: argparse, equals or hydra.
        values: by key; dots stay.
    """
    found: list[str] = []
    for name, value in values.items():
        if style == 'hydra':
            found.append(f'{name}={_format_hydra(value)}')
        elif style == 'equals':
            found.append(f'{_add_dashes(name)}={_format_plain(value)}')
        elif value is not None:
            found += _format_option(_add_dashes(name), value)
    return found


def _add_dashes(name: str) -> str:
    return f'-{name}' if len(name) == 1 else f'--{name}'


def _format_option(option: str, value: Any) -> list[str]:
    if value is True:
        return [option]
    if isinstance(value, list):
        return [option, *map(_format_argument, value)]
    text = _format_argument(value)
    if text.startswith('-') and not isinstance(value, (int, float)):
        return [f'{option}={text}'] if option.startswith('--') else [f'{option}{text}']
    return [option, text]  # a number may be negative


def _format_argument(value: Any) -> str:
    return str(value) if _is_not_finite(value) else _format_plain(value)


def _is_not_finite(value: Any) -> bool:
    """Tell whether a value is inf or nan, which YAML alone writes with a dot in front."""
    return isinstance(value, float) and not math.isfinite(value)


def _format_plain(value: Any) -> str:
    """Write a value as text; lists and mappings as YAML in one line, which is JSON's form too."""
    return value if isinstance(value, str) else dump_inline(value)


def _format_hydra(value: Any) -> str:
    if isinstance(value, Mapping):
        return '{' + ','.join(f'{k}:{_format_hydra(v)}' for k, v in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ','.join(map(_format_hydra, value)) + ']'
    if not isinstance(value, str):
        return str(value) if _is_not_finite(value) else dump_inline(value)
    # A text that reads as another type would not stay a text.
    is_word = _HYDRA_WORD.fullmatch(value) and dump_inline(value) == value
    if is_word and value.lower() not in ('inf', 'nan', 'true', 'false', 'null'):
        return value
    escaped = re.sub(r"(\\*)(?='|$)", r'\1\1', value).replace("'", "\\'")
    return f"'{escaped}'"
