"""Explains an exception by the component in which it was raised and the line of its author."""

from __future__ import annotations

import inspect
import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import toolkit
from toolkit import registry
from toolkit.errors import ComponentError
from toolkit.registry.built import recall

# Characters of an error's own message.
LONGEST = 600
_LIBRARIES = (
    *{
        str(Path(sysconfig.get_path(name)).resolve())
        for name in ('stdlib', 'platstdlib', 'purelib', 'platlib')
    },
    '<',
)
_ENGINE = f'{Path(toolkit.__file__).resolve().parent}{os.sep}'


@dataclass(frozen=True)
class ComponentFailure:
    """An exception inside a component.

    Args:
        path: dotted path of the component in the config.
        component: its class.
        message: the author's line, and the error.
        trace: the whole traceback.
    """

    path: str
    component: type
    message: str
    trace: str

    @property
    def text(self) -> str:
        """The message with the name of the component."""
        return f'{self.component.__name__} {self.message}'


def explain_failure(error: BaseException) -> ComponentFailure | None:
    """Explains an exception by the innermost component that was running.

    Returns:
        None if no component that a config built was running.
    """
    if 'DataLoader worker' in str(error):
        return None  # a signal raises it wherever the main process is
    frames = list(_walk_frames(error.__traceback__))
    for position in range(len(frames) - 1, -1, -1):
        frame, _ = frames[position]
        component = frame.f_locals.get('self')
        record = recall(component) if component is not None else None
        if record is not None:
            inside = frames[position:]
            where = _find_own_line([f for f in inside if not _is_engine(f[0])] or inside)
            if where is None:
                # A method of a library, such as nn.Module's __getattr__, ran for the component.
                of_component = [f for f in frames if f[0].f_locals.get('self') is component]
                where = _find_own_line(of_component) or frames[position]
                frame = where[0]
            message = f'fails at {_locate(where)}{_describe_tensors(frame)}: '
            return ComponentFailure(
                record.path,
                type(component),
                message + describe_error(error),
                format_traceback(error),
            )
    return None


def explain_construction(cls: Any, error: BaseException) -> str:
    """Explains why a class could not be built; a mistake that its author foresaw stays as it is.

    An error that the author's own code raises is meant for the user. For another, such as a
    KeyError or an error of a library, the line of the author's code is named.
    """
    name = getattr(cls, '__name__', str(cls))
    frames = list(_walk_frames(error.__traceback__))
    own = _find_own_line([f for f in frames if not _is_engine(f[0])])
    if own is None or isinstance(error, OSError):
        if isinstance(error, TypeError) and 'abstract' in str(error):
            return f'{name} ({registry.locate_source(cls)}): {describe_error(error)}; write it'
        known = isinstance(error, (TypeError, ValueError, ArithmeticError, OSError, AssertionError))
        return f'{name}: {error if known else describe_error(error)}'
    if own[0] is frames[-1][0] and _is_raise(own) and not isinstance(error, SystemExit):
        return f'{name}: {error}'
    return f'{name} fails at {_locate(own)}: {describe_error(error)}'


def refuse_component(component: Any, path: str, message: str) -> ComponentError:
    """Makes the error of a parent that cannot use a component.

    Args:
        component: that does not fit.
        path: in the parent, if no config built the component.
        message: what it does, after its name: `takes 'x', ...`.
    """
    record = recall(component)
    cls = type(component)
    return ComponentError(
        record.path if record else path, f'{cls.__name__} ({registry.locate_source(cls)}) {message}'
    )


def describe_error(error: BaseException) -> str:
    """Describes an error as one line: its type and message."""
    text = ' '.join(str(error).split())
    text = text if len(text) <= LONGEST else f'{text[:LONGEST]} ...'
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def format_origin(error: BaseException) -> str:
    """Formats ` at FILE:LINE` of the innermost line outside libraries; '' if there is none."""
    own = _find_own_line([f for f in _walk_frames(error.__traceback__) if not _is_engine(f[0])])
    return f' at {_locate(own)}' if own else ''


def describe_with_origin(error: BaseException) -> str:
    """Describes an error by its class, the line of `format_origin` and its message."""
    return f'{type(error).__name__}{format_origin(error)}: {error}'


def format_traceback(error: BaseException) -> str:
    """Formats the whole traceback, with those of the causes."""
    return ''.join(traceback.format_exception(error))


Place = tuple[FrameType, int]


def _walk_frames(trace: TracebackType | None) -> Iterator[Place]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _find_own_line(frames: list[Place]) -> Place | None:
    """The innermost frame that is no library's."""
    own = [f for f in frames if not f[0].f_code.co_filename.startswith(_LIBRARIES)]
    return own[-1] if own else None


def _is_engine(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_ENGINE)


def _is_raise(place: Place) -> bool:
    """Tells whether an author's line raises the error itself."""
    frame, line = place
    # Of a statement over several lines Python names the first.
    text = linecache.getline(frame.f_code.co_filename, line).strip()
    return text.startswith(('raise', 'assert'))


def _locate(place: Place) -> str:
    frame, line = place
    return f'{frame.f_code.co_filename}:{line}'


def _describe_tensors(frame: FrameType) -> str:
    """Describes the shapes of the tensors that a method was called with."""
    shown = []
    for name in inspect.getargs(frame.f_code).args[1:]:
        value = frame.f_locals.get(name)
        shape = getattr(value, 'shape', None)
        if shape is not None and not callable(shape):
            shown.append(f'{name} {tuple(shape)}')
        elif isinstance(value, dict):
            shown += [
                f'{name}[{key!r}] {tuple(v.shape)}'
                for key, v in value.items()
                if hasattr(v, 'shape')
            ]
    return f' ({", ".join(shown[:6])})' if shown else ''
