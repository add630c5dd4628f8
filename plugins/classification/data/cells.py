"""What cells of a manifest say, from text."""

from __future__ import annotations

import math

from plugins.classification.image_record import Box

# Between the boxes of one image.
SEPARATOR = ';'


def frame_number(text: str) -> int:
    """A frame's number.

    Raises:
        ValueError: it is none.
    """
    if not text.isdecimal():
        raise ValueError(f'expected a whole number from 0, found {text!r}')
    return int(text)


def read_boxes(text: str) -> tuple[Box, ...]:
    """Boxes as written: `x0,y0,x1,y1`, several separated by `;`.

    Raises:
        ValueError: they are none.
    """
    boxes = []
    for part in text.split(SEPARATOR):
        try:
            x0, y0, x1, y1 = (float(number) for number in part.split(','))
        except ValueError:
            raise ValueError(f'expected x0,y0,x1,y1, found {part!r}') from None
        # NaN fails it too.
        if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
            raise ValueError(f'expected 0 <= x0 < x1 and 0 <= y0 < y1, found {part!r}')
        boxes.append((x0, y0, x1, y1))
    return tuple(boxes)


def in_pixels(boxes: tuple[Box, ...], height: int, width: int) -> tuple[Box, ...]:
    """Boxes in parts of an image -> in its pixels.

    Raises:
        ValueError: they leave the image.
    """
    if any(edge > 1 for box in boxes for edge in box):
        raise ValueError(f'expected parts from 0 to 1, found {max(map(max, boxes)):g}')
    return tuple((x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes)
