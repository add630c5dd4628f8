"""Judges over a dataset whether images of more than 8 bits use their range of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plugins.classification.data.reading.image_io import WIDE, has_wide_values
from plugins.classification.image_record import Record
from toolkit.errors import DataError

DARK = 0.25  # share of the range that 14 bits in 16 fill


def judge_range(pool: Sequence[Record], peaks: Mapping[int, float], subset: str) -> None:
    """Checks that images of more than 8 bits are not nearly black, all of them together.

    Args:
        pool: records of all images.
        peaks: highest value in [0, 1] of images, by their position in `pool`.
        subset: name of the subset, for the message.
    Raises:
        DataError: none of those images has a value above a quarter of the range.
    """

    def is_wide(position: int) -> bool:
        path = pool[position].path
        return path is not None and has_wide_values(path)

    dark = [position for position, peak in peaks.items() if peak <= DARK and is_wide(position)]
    bright = (position for position, peak in peaks.items() if peak > DARK)
    if not dark or any(map(is_wide, bright)):
        return
    highest = round(WIDE * max(peaks[position] for position in dark))
    guess = max(255, 2 ** highest.bit_length() - 1)
    raise DataError(
        f'{len(dark)} images of {subset} have whole numbers of more than 8 bits, none above '
        f'{highest}, so that they would be nearly black: state their full scale by `full_scale: '
        f'{guess}`, or that they are that dark by `full_scale: {WIDE}`'
    )
