"""What is told apart: tasks, their classes, and which class is the one looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.errors import did_you_mean

MISSING = -1  # the label of a sample that has none for a task


@dataclass(frozen=True)
class Task:
    """One question about an image.

    Args:
        classes: names, in the order of the logits.
        positive: of two classes the one looked for, such as 'malignant'; sensitivity, PPV and the
            threshold are its. Where it is left out, every class is measured against the rest.
    Raises:
        ValueError: fewer than two classes, a name twice, a positive that is no class or not one of
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
                f'positive is {self.positive!r}, which is no class{near or ""}; there are: '
                f'{", ".join(self.classes)}'
            )
        if len(self.classes) != 2:
            raise ValueError(
                f'positive is of two classes, and there are {len(self.classes)}; leave it out, '
                'and each class is measured against the rest'
            )

    @property
    def positive_index(self) -> int | None:
        """Index of the positive class; None where none is named."""
        return None if self.positive is None else self.classes.index(self.positive)


Tasks = Mapping[str, Task]
