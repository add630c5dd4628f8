"""Finds the images of a subset that cannot be read, before a run begins."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from plugins.classification.image_record import Record
from toolkit.errors import DataError

# Number of images that a message names.
NAMED = 20

log = logging.getLogger(__name__)


def find_unreadable(
    pool: Sequence[Record],
    positions: Sequence[int],
    check: Callable[[int], Any],
    on_error: Literal['stop', 'skip'],
    subset: str,
) -> dict[str, str]:
    """Returns the reason for each image that cannot be read, by its id, and logs them.

    Args:
        pool: records of all images.
        positions: positions of the subset in the pool.
        check: reads the image at a position of the pool.
        on_error: 'stop' raises an error if there are any.
        subset: name of the subset, for messages.
    Raises:
        DataError: images cannot be read with 'stop', or none can with 'skip'.
    """

    def find_problem(position: int) -> str | None:
        try:
            check(position)
        except DataError as error:
            return str(error)
        return None

    # Decoders release the interpreter lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        problems = zip(positions, threads.map(find_problem, positions), strict=True)
        bad = {pool[position].id: text for position, text in problems if text is not None}
    if not bad:
        return bad
    told = [f'  {text}' for text in list(bad.values())[:NAMED]]
    if len(bad) > NAMED:
        told.append(f'  and {len(bad) - NAMED} more')
    counted = f'{len(bad)} of {len(positions)} images of {subset} cannot be read'
    if on_error == 'stop':
        advice = (
            'repair them or leave them out, or skip them with `on_error: skip` (of predict: '
            '--on-error skip)'
        )
        raise DataError('\n'.join([f'{counted}; {advice}:', *told]))
    if len(bad) == len(positions):
        raise DataError('\n'.join([f'{counted}; none is left:', *told]))
    log.warning('\n'.join([f'{counted} and are skipped:', *told]))
    return bad
