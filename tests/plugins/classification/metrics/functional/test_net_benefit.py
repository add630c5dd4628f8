"""Net benefit: its formula by hand, and what must hold for any probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.classification.metrics.functional.net_benefit import net_benefit, treat_all


def test_the_formula_by_hand() -> None:
    probability = np.array([0.1, 0.3, 0.3, 0.6, 0.9])
    positive = np.array([False, True, False, False, True])
    found = net_benefit(probability, positive, np.array([0.05, 0.3, 0.5, 0.95]))
    expected = [
        2 / 5 - 3 / 5 * 0.05 / 0.95,
        2 / 5 - 2 / 5 * 0.3 / 0.7,
        1 / 5 - 1 / 5,
        0,
    ]
    assert found == pytest.approx(expected)
    assert treat_all(positive, np.array([0.4])) == pytest.approx([2 / 5 - 3 / 5 * 0.4 / 0.6])


def test_calibrated_probabilities_are_never_worse_than_all_or_nobody() -> None:
    generator = np.random.default_rng(0)
    probability = generator.beta(1, 3, 200_000)
    positive = generator.random(200_000) < probability
    thresholds = np.linspace(0.02, 0.9, 45)
    found = net_benefit(probability, positive, thresholds)
    assert (found > -2e-3).all()
    assert (found > treat_all(positive, thresholds) - 2e-3).all()
    # Overconfident ones are worse somewhere.
    extreme = np.where(probability > 0.2, 0.97, 0.01)
    assert (net_benefit(extreme, positive, thresholds) < found + 1e-12).all()
    assert net_benefit(extreme, positive, thresholds).min() < -0.5
