"""Defects of a set of scenes, and remarks on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from plugins.pansharpening.audit.duplicates import find_equal, find_own_ms, find_similar
from plugins.pansharpening.audit.scan import SceneScan
from plugins.pansharpening.imaging.registration import Registration

# PAN pixels between an MS and its reference. Averages lie half a pixel, .71 along the diagonal,
# from where the toolbox samples: a convention, not a defect.
OFF_REFERENCE = 0.85
# Share of the variance of the low-passed PAN that the bands of its own MS explain at least; .82 to
# .98 on scenes of five sensors.
LEAST_FIT = 0.5
SATURATED = 0.05  # share of a band at the full scale
UNUSED = 8  # full scale by largest value, from which a bit depth is too large
UNITS = 4  # mean of the PAN by that of the MS, or the inverse

Kind = Literal[
    'given twice',
    'nearly the same',
    'MS off its reference',
    'MS off its PAN',
    'PAN of another scene',
    'saturated',
    'constant',
    'bit depth',
    'units',
    'unreadable',
    'remark',
]


@dataclass(frozen=True)
class Finding:
    """Something found in a set of scenes.

    Attributes:
        kind: of the defect, or 'remark' for what is worth knowing.
        scenes: names of the scenes.
        leak: True if the scenes are of several subsets.
        message: what was found.
    """

    kind: Kind
    scenes: tuple[str, ...]
    leak: bool
    message: str

    @property
    def defect(self) -> bool:
        return self.kind != 'remark'


@dataclass(frozen=True)
class SceneAudit:
    """Findings of an audit.

    Attributes:
        counts: number of scenes by subset.
        scans: results of the scenes that could be read.
        findings: defects first.
    """

    counts: dict[str, int]
    scans: tuple[SceneScan, ...]
    findings: tuple[Finding, ...]

    @property
    def defects(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.defect]


def examine(scans: Sequence[SceneScan]) -> list[Finding]:
    """Finds the defects of scenes that could be read, and remarks on them."""
    found = [*_find_duplicates(scans), *_find_bit_depths(scans)]
    for assumption in dict.fromkeys(scan.assumption for scan in scans if scan.assumption):
        names = tuple(scan.name for scan in scans if scan.assumption == assumption)
        found.append(Finding('remark', names, False, assumption))
    for place, scan in enumerate(scans):
        found += _find_shifts(scan)
        found += _find_other_pans(scans, place)
        found += _find_bad_bands(scan)
    return sorted(found, key=lambda finding: not finding.defect)


def _find_duplicates(scans: Sequence[SceneScan]) -> Iterator[Finding]:
    known: set[frozenset[int]] = set()
    groups: dict[tuple[int, ...], list[str]] = {}
    for image, places in find_equal(scans):
        groups.setdefault(tuple(places), []).append(image)
        known |= {frozenset((a, b)) for a in places for b in places if a != b}
    for places, images in groups.items():
        yield _name_group(scans, places, 'given twice', f'equal {" and ".join(images)}')
    for first, second, likeness in find_similar(scans):
        if frozenset((first, second)) not in known:
            text = f'copies of 16 x 16 pixels correlate by {likeness:.4f}'
            yield _name_group(scans, (first, second), 'nearly the same', text)


def _name_group(
    scans: Sequence[SceneScan], places: Sequence[int], kind: Kind, message: str
) -> Finding:
    subsets = sorted({scans[place].subset for place in places} - {''})
    leak = len(subsets) > 1
    text = f'{message}, in {" and ".join(subsets)}' if leak else message
    return Finding(kind, tuple(scans[place].name for place in places), leak, text)


def _find_shifts(scan: SceneScan) -> Iterator[Finding]:
    """Finds an MS that lies off its reference, or else off its PAN."""
    shift = scan.against_reference
    if shift is not None and shift.pieces and shift.belongs:
        if shift.distance > OFF_REFERENCE:
            yield _make(scan, 'MS off its reference', _describe(shift, 'the reference'))
    elif shift is not None and shift.pieces:
        text = f'the details of MS and reference correlate by {shift.similarity:.2f} at most'
        yield _make(scan, 'MS off its reference', text)
    shift = scan.against_pan
    if not (shift.pieces and shift.belongs):
        return
    if shift.distance > scan.ratio:
        yield _make(scan, 'MS off its PAN', _describe(shift, 'the PAN'))
    elif shift.distance > OFF_REFERENCE and scan.against_reference is None:
        yield _make(scan, 'remark', _describe(shift, 'the PAN'))


def _describe(shift: Registration, what: str) -> str:
    return f'the MS lies {shift}'.replace('the PAN (', f'{what} (')


def _find_other_pans(scans: Sequence[SceneScan], place: int) -> Iterator[Finding]:
    scan = scans[place]
    if math.isnan(scan.fit) or scan.fit >= LEAST_FIT or scan.against_pan.belongs:
        return
    text = f'the bands explain {scan.fit:.0%} of the PAN, expected {LEAST_FIT:.0%} or more'
    best, likeness = find_own_ms(scans, place)
    if best != place and likeness > 0.9:
        text += f'; the PAN resembles the MS of {scans[best].name} ({likeness:.2f})'
    yield _make(scan, 'PAN of another scene', text)


def _find_bad_bands(scan: SceneScan) -> Iterator[Finding]:
    for image in scan.images:
        if image.constant:
            yield _make(scan, 'constant', f'{image.name} is {image.low:g} throughout')
        elif image.saturated > SATURATED:
            text = f'{image.saturated:.0%} of {image.name} are at full scale ({scan.bits} bits)'
            yield _make(scan, 'saturated', text)
    means = [[i.mean for i in scan.images if i.name.endswith(w)] for w in ('the MS', 'the PAN')]
    ms, pan = (sum(values) / len(values) for values in means)
    if ms > 0 and pan > 0 and not 1 / UNITS <= pan / ms <= UNITS:
        yield _make(scan, 'units', f'the PAN has the mean {pan:.4g} and the MS {ms:.4g}')


def _find_bit_depths(scans: Sequence[SceneScan]) -> Iterator[Finding]:
    """Finds scenes stated with more bits than any of their sensor's and depth use.

    All scenes of one bit depth are judged together, since one of them may be dark.
    """
    for bits in sorted({scan.bits for scan in scans}):
        group = [scan for scan in scans if scan.bits == bits]
        images = [image for scan in group for image in scan.images]
        whole = [image for image in images if image.step > 0]
        if not whole or len(whole) < len([i for i in images if not i.constant]):
            continue  # fractions have no bit depth
        names = tuple(scan.name for scan in group)
        largest = max(image.high for image in whole)
        if largest * UNUSED < 2**bits - 1:
            text = (
                f'the largest of all digital numbers is {largest:g}, but {bits} bits end at '
                f'{2**bits - 1}; state {int(largest).bit_length()} or what the product states'
            )
            yield Finding('bit depth', names, False, text)
        step = math.gcd(*(image.step for image in whole))
        if step > 1:
            text = f'all digital numbers lie {step} apart: they were taken with fewer bits'
            yield Finding('remark', names, False, text)


def _make(scan: SceneScan, kind: Kind, message: str) -> Finding:
    return Finding(kind, (scan.name,), False, message)
