"""Means over scenes and paired tests between methods."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugins.pansharpening.benchmark.scores import BenchmarkScores
from toolkit.analysis.paired_tests import ALPHA, PairedTest, adjust_holm, paired_bootstraps


@dataclass(frozen=True)
class ScoreSummary:
    """A score over scenes.

    Attributes:
        n: number of scenes with a finite value.
        mean: over these; None if there is none.
        sd: standard deviation with n - 1; None for fewer than two.
    """

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class MethodComparison:
    """Comparison of an index between a method and the method of reference, paired by scene.

    Attributes:
        test: of the differences.
        better: True if the method is better; None if the difference is 0 or unknown.
        p_holm: p after Holm's correction; None for tests that only explore.
    """

    test: PairedTest
    better: bool | None
    p_holm: float | None = None


def summarize(values: Sequence[float]) -> ScoreSummary:
    """Summarizes a score over scenes; values that are not finite are left out."""
    known = [value for value in values if math.isfinite(value)]
    mean = math.fsum(known) / len(known) if known else None
    return ScoreSummary(len(known), mean, statistics.stdev(known) if len(known) > 1 else None)


def compare_methods(
    scores: BenchmarkScores, convention: str, reference: str, primary: Sequence[str] | None = None
) -> dict[tuple[str, str], MethodComparison]:
    """Compares all methods with one of them, by method and index.

    The tests are the studies' paired bootstrap over items, the scenes. Holm's correction counts all
    comparisons, or those of the primary indices.

    Args:
        scores: of the methods.
        convention: of the evaluation.
        reference: the method that the others are compared with.
        primary: indices whose tests are corrected; those of others only explore. None for all.
    """
    keys = [
        (method, index)
        for method in scores.methods
        if method != reference
        for index in scores.indices(convention)
    ]
    differences = [_subtract(scores, convention, index, m, reference) for m, index in keys]
    found = {}
    for (method, index), test in zip(keys, paired_bootstraps(differences), strict=True):
        higher = scores.better[convention][index] == 'higher'
        better = (test.difference > 0) == higher if test.difference else None
        found[method, index] = MethodComparison(test, better)
    family = [key for key in keys if primary is None or key[1] in primary]
    corrected = adjust_holm([found[key].test.p for key in family])
    for key, p in zip(family, corrected, strict=True):
        found[key] = replace(found[key], p_holm=p)
    return found


def find_best(scores: BenchmarkScores, convention: str, index: str) -> str | None:
    """Finds the method that is better than each other one by more than noise; None if none is.

    By paired tests over scenes with Bonferroni's correction for the number of the others.
    """
    higher = scores.better[convention][index] == 'higher'
    means = {m: summarize(scores.values[convention, m, index]).mean for m in scores.methods}
    known = {method: mean for method, mean in means.items() if mean is not None}
    if len(known) < 2:
        return None
    best = (max if higher else min)(known, key=lambda method: known[method])
    others = [method for method in known if method != best]
    tests = paired_bootstraps(
        [_subtract(scores, convention, index, best, other) for other in others]
    )
    for test in tests:
        wins = test.difference is not None and (test.difference > 0) == higher
        if not wins or test.p is None or test.p * len(others) >= ALPHA:
            return None
    return best


def _subtract(
    scores: BenchmarkScores, convention: str, index: str, method: str, other: str
) -> list[float]:
    """Subtracts the scores of another method, for the scenes where both have one."""
    pairs = zip(
        scores.values[convention, method, index],
        scores.values[convention, other, index],
        strict=True,
    )
    return [a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
