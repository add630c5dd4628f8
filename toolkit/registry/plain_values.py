"""Values that YAML writes as text: paths, members of an enumeration, dtypes of torch."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, get_origin


def is_text_type(annotation: Any) -> bool:
    """Tells whether values of an annotation are written as text and converted."""
    return inspect.isclass(annotation) and (
        issubclass(annotation, (PurePath, enum.Enum)) or _is_dtype(annotation)
    )


def is_written(annotation: Any, value: Any) -> bool:
    """Tells whether a value can be converted to an annotation of `is_text_type`."""
    if not isinstance(value, str):
        return False
    return issubclass(annotation, PurePath) or value in list_choices(annotation)


def convert_text(annotation: Any, value: str) -> Any:
    """Converts the text of a checked config to an annotation of `is_text_type`."""
    if issubclass(annotation, PurePath):
        return annotation(value)
    if issubclass(annotation, enum.Enum):
        return annotation[value]
    return getattr(sys.modules['torch'], value)


def list_choices(annotation: Any) -> Sequence[str]:
    """Lists the texts of an enumeration or of torch's dtypes; none for a path."""
    if issubclass(annotation, enum.Enum):
        return list(annotation.__members__)
    if _is_dtype(annotation):
        return sorted(
            {
                str(v).removeprefix('torch.')
                for v in vars(sys.modules['torch']).values()
                if isinstance(v, annotation)
            }
        )
    return []


def is_class_type(annotation: Any) -> bool:
    """Tells whether an annotation asks for a class, which no config can give."""
    return annotation is type or get_origin(annotation) is type


def _is_dtype(annotation: Any) -> bool:
    return (annotation.__module__, annotation.__name__) == ('torch', 'dtype')
