"""Tasks: class names and the positive class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import did_you_mean

MISSING = -1  # label of a sample that has none for a task


@dataclass(frozen=True)
class Task:
    """A classification task: the classes that an image may be of.

    Args:
        classes: names of the classes, in the order of the logits.
        positive: class to be detected, one of two, such as 'malignant'; sensitivity, PPV and the
            threshold refer to it. None to measure every class against the rest.
    Raises:
        ValueError: fewer than two classes, a repeated name, a positive class that is not one of
            two.
    """

    classes: tuple[str, ...]
    positive: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(self.classes))
        if len(self.classes) < 2:
            raise ValueError(f'expected two classes or more, found {list(self.classes)}')
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise ValueError(f'the class {repeated[0]!r} is named twice')
        if self.positive is None:
            return
        if self.positive not in self.classes:
            near = did_you_mean(self.positive, self.classes)
            raise ValueError(
                f'positive: there is no class {self.positive!r}{near or ""}; there are: '
                f'{", ".join(self.classes)}'
            )
        if len(self.classes) != 2:
            raise ValueError(
                f'positive needs two classes, found {len(self.classes)}; leave it out to measure '
                'each class against the rest'
            )

    @property
    def positive_index(self) -> int | None:
        """Index of the positive class; None if there is none."""
        return None if self.positive is None else self.classes.index(self.positive)


Tasks = Mapping[str, Task]
