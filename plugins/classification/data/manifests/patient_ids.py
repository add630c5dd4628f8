"""Spellings of patients that are probably one patient, whose images a split would tear apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

# 'check' refuses spellings that are nearly equal; 'as_written' takes them for different patients.
PatientIds = Literal['check', 'as_written']


REASON = 'differ only in case, leading zeros, a trailing .0 or spaces'


def find_ambiguous_ids(ids: Iterable[str]) -> list[list[str]]:
    """Finds ids that are equal but for case, leading zeros, a trailing `.0` and spaces.

    Returns:
        Ids of each such group, in their order.
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(ids):
        groups.setdefault(normalize_id(name), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def normalize_id(name: str) -> str:
    """Returns the spelling that all spellings of a patient share, see `find_ambiguous_ids`."""
    name = unicodedata.normalize('NFKC', name).casefold().strip()
    # A number that a table of numbers has written with a fraction.
    name = re.sub(r'^(\d+)\.0+$', r'\1', name)
    # Not after a point, since 1.05 is not 1.5.
    name = re.sub(r'(?<![\d.])0+(?=\d)', '', name)
    # A space between digits stays one: 1 11 is not 11 1.
    return re.sub(r'(?<!\d)\s+|\s+(?!\d)', '', re.sub(r'\s+', ' ', name))
