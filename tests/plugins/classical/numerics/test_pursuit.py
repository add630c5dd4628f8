"""Many signals coded at once, against the plain algorithm one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.classical.numerics import pursuit
from plugins.classical.numerics.pursuit import Atoms, pursue


def one_by_one(signal: Tensor, first: Tensor, atoms: Tensor, count: int) -> tuple[list, np.ndarray]:
    """Atoms chosen and weights (C, count), by least squares in each step."""
    taken, chosen, left = [first.numpy()], [], None
    for step in range(count):
        if step:
            products = np.einsum('nck,ck->n', atoms.numpy(), left)
            chosen.append(int(np.abs(products).argmax()))
            taken.append(atoms[chosen[-1]].numpy())
        weights = np.stack(
            [
                np.linalg.lstsq(np.stack([atom[c] for atom in taken], 1), band, rcond=None)[0]
                for c, band in enumerate(signal.numpy())
            ]
        )
        left = signal.numpy() - np.einsum('jck,cj->ck', np.stack(taken), weights)
    return chosen, weights


def problem(seed: int, same: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """30 signals, their first atoms, and 200 atoms, of 3 bands."""
    signals, atoms, bands, size = 30, 200, 3, 16
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(atoms, bands, size, generator=generator, dtype=torch.float64)
    if same:  # bands that are multiples of the first, as details of the PAN are
        values = values[:, :1] * torch.linspace(0.5, 2, bands)[:, None]
    values = values * torch.rand(atoms, 1, 1, generator=generator).exp()
    mixed = torch.randn(signals, atoms, generator=generator, dtype=torch.float64) ** 3
    targets = torch.einsum('sn,nck->sck', mixed, values)
    targets = targets + torch.randn(targets.shape, generator=generator, dtype=torch.float64)
    return targets, values[:signals], values


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 99),
    count=st.integers(1, 6),
    same=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
)
@pytest.mark.parametrize('block', [7, 512])
def test_equals_one_by_one(block: int, seed: int, count: int, same: bool, scale: float) -> None:
    signals, first, atoms = (scale * t for t in problem(seed, same=same))
    before, pursuit.BLOCK = pursuit.BLOCK, block
    try:
        chosen, weights = pursue(signals, first, Atoms(atoms), count)
    finally:
        pursuit.BLOCK = before
    assert chosen.shape == (30, count - 1)
    assert weights.shape == (30, 3, count)
    for i in range(30):
        places, expected = one_by_one(signals[i], first[i], atoms, count)
        assert chosen[i].tolist() == places
        torch.testing.assert_close(weights[i], torch.from_numpy(expected), rtol=1e-8, atol=1e-8)


def test_atoms_that_single_precision_cannot_tell_apart() -> None:
    """Products that differ in the tenth digit are told apart, whichever atom comes first."""
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(1, 2, 9, generator=generator, dtype=torch.float64)
    for better in (0, 1):
        atoms = torch.stack([signal[0], signal[0], 0.5 * signal[0]])
        atoms[better] *= 1 + 1e-10
        assert Atoms(atoms).find_strongest(signal).tolist() == [better]
        assert Atoms(atoms).find_strongest(-signal).tolist() == [better]


def test_a_weak_axis_may_decide() -> None:
    """Axes along which atoms hardly differ are left out at first, and yet decide a close race."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.zeros(50, 1, 3, dtype=torch.float64)
    atoms[:, 0, 0] = 1
    atoms[:, 0, 1] = 1e-5 * torch.randn(50, generator=generator, dtype=torch.float64)
    signal = torch.tensor([[[1e-3, 1.0, 0.0]]], dtype=torch.float64)
    assert Atoms(atoms).axes.shape[1] == 1
    assert int(Atoms(atoms).find_strongest(signal)) == int(
        (atoms * signal).sum((1, 2)).abs().argmax()
    )


def test_dependent_atoms_count_once() -> None:
    signals, first, atoms = problem(0)
    atoms[:, 1] = atoms[:1, 1]  # one band in which all atoms are the same
    _, weights = pursue(signals, atoms[:30], Atoms(atoms), 3)
    same = atoms[0, 1]
    expected = (signals[:, 1] * same).sum(1) / same.square().sum()
    torch.testing.assert_close(weights[:, 1, 0], expected)
    assert (weights[:, 1, 1:] == 0).all()
    assert (weights[:, [0, 2]] != 0).all()


def test_a_signal_that_is_coded_keeps_its_weights() -> None:
    """The first atom itself: nothing is left, and the atoms behind it do not count."""
    _, first, atoms = problem(0)
    _, weights = pursue(3 * first, first, Atoms(atoms), 4)
    expected = torch.zeros_like(weights)
    expected[..., 0] = 3
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)


def test_nothing_is_coded_by_nothing() -> None:
    signals, first, atoms = problem(0)
    for zero in (Atoms(0 * atoms), Atoms(atoms)):
        _, weights = pursue(0 * signals, 0 * first, zero, 3)
        assert (weights == 0).all()
    _, weights = pursue(signals, 0 * first, Atoms(0 * atoms), 3)
    assert (weights == 0).all()


def test_what_is_not_a_number_gives_no_number_and_spoils_no_other_signal() -> None:
    signals, first, atoms = problem(0)
    _, clean = pursue(signals, first, Atoms(atoms), 4)
    signals[3, 1, 2] = float('nan')
    signals[5, 0, 0] = float('inf')
    _, weights = pursue(signals, first, Atoms(atoms), 4)
    assert torch.isnan(weights[[3, 5]]).all()
    others = [i for i in range(30) if i not in (3, 5)]
    torch.testing.assert_close(weights[others], clean[others])
