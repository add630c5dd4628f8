"""What `toolkit list` prints: kinds, parts and shipped configs, from sources alone (no torch)."""

from __future__ import annotations

import textwrap

from toolkit import plugins
from toolkit.config.find import named_configs
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import Kind, kinds


def listing(kind: str | None = None) -> str:
    """All kinds with the names of their parts, or one kind with a line for each part.

    Raises:
        ToolkitError: no such kind.
    """
    known = kinds()
    if kind is None:
        width = max(map(len, known))
        lines = [_names(k, width) for k in known.values()]
        configs = textwrap.fill(
            '  '.join(named_configs()), 98, break_long_words=False, break_on_hyphens=False
        )
        lines += ['', 'configs', textwrap.indent(configs, '  ')]
    elif kind in known:
        lines = _parts(known[kind])
    else:
        hint = did_you_mean(kind, known) or '; there are: ' + ', '.join(known)
        raise ToolkitError(f'no kind is named {kind!r}{hint}')
    for module, error in plugins.failures().items():
        lines.append(f'\nthe plugin {module} cannot be used: {error}')
    return '\n'.join(lines)


def _names(kind: Kind, width: int) -> str:
    names = kind.names() + ([f'all of {kind.library}'] if kind.library else [])
    text = ', '.join(names) or '-'
    return textwrap.fill(
        f'{kind.name:<{width}}  {text}',
        98,
        subsequent_indent=' ' * (width + 2),
        break_long_words=False,
    )


def _parts(kind: Kind) -> list[str]:
    wired = ', '.join(kind.wired) or 'nothing'
    lines = [f'{kind.name}: implements {kind.interface_path}; its parent supplies {wired}']
    entries = [e for e in plugins.index().entries if e.kind == kind.name]
    width = max((len(e.name) for e in entries), default=0)
    lines += [f'  {e.name:<{width}}  {e.summary}  [{e.module}]' for e in sorted(entries, key=_name)]
    if kind.library:
        lines.append(f'  and all of {kind.library}')
    return lines


def _name(entry: plugins.Entry) -> str:
    return entry.name
