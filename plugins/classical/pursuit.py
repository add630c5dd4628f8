"""Sparse coding of many signals at once: orthogonal matching pursuit, joint over bands."""

from __future__ import annotations

import torch
from torch import Tensor

# An atom of which less than this share (of its energy) is new to those before it is dependent.
DEPENDENT = 1e-12
# Axes along which atoms have less than this share of their largest spread are left out at first.
AXIS = 3e-4
# Of a product of two unit vectors in float32.
ROUNDING = 1e-6
# Atoms compared with all signals at a time: what fits a processor's cache.
BLOCK = 512


class Atoms:
    """Patches to choose from by their product with a signal.

    Products are made in float32, on the principal axes of the atoms (details of bands of one gain
    are the same, so that these are fewer), and are made again in full where that may have decided
    between two atoms. No product exceeds that of the norms, so that weak atoms are not tried where
    a strong one has won already.

    Args:
        values: (N, C, K) float64.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        flat = values.flatten(1)
        norms = flat.norm(dim=1)
        self.norms, self.order = norms.sort(descending=True, stable=True)
        flat = flat[self.order] / self.norms[:1].clamp(min=torch.finfo(norms.dtype).tiny)
        energy, axes = torch.linalg.eigh(flat.T @ flat)
        self.axes = axes[:, energy > AXIS**2 * energy[-1]]  # (F, A)
        self.coordinates = flat @ self.axes  # (N, A)
        left = (flat - self.coordinates @ self.axes.T).norm(dim=1).max()
        self.flat, self.error = flat, float(left) + ROUNDING
        self.coordinates, self.norms = self.coordinates.float(), flat.norm(dim=1).float()

    def strongest(self, signals: Tensor) -> Tensor:
        """Which has the product of largest magnitude with each signal: (n, C, K) -> (n,)."""
        signals = signals.flatten(1)
        norm = signals.norm(dim=1, keepdim=True)
        signals = signals / torch.where(norm > 0, norm, torch.ones_like(norm))
        index, margin = _largest(self.coordinates, self.norms, (signals @ self.axes).float())
        unsure = (margin <= 2 * self.error).nonzero()[:, 0]
        if len(unsure):
            index[unsure], _ = _largest(self.flat, self.norms.double(), signals[unsure])
        return self.order[index]


def _largest(atoms: Tensor, bounds: Tensor, signals: Tensor) -> tuple[Tensor, Tensor]:
    """The largest magnitude of products, block by block as long as one may exceed the last best.

    Args:
        atoms: (N, F).
        bounds: (N,), of the magnitude of each atom's products, falling.
        signals: (n, F).
    Returns:
        Indices (n,), and by how much at least each is larger than all others (n,).
    """
    best = signals.new_full((len(signals),), -1.0)
    second, index = best.clone(), torch.zeros_like(best, dtype=torch.long)
    open_ = torch.arange(len(signals), device=signals.device)
    for start in range(0, len(atoms), BLOCK):
        open_ = open_[bounds[start] > best[open_]]
        if not len(open_):
            break
        products = (signals[open_] @ atoms[start : start + BLOCK].T).abs_()  # (n', BLOCK)
        values, places = products.topk(min(2, products.shape[1]), dim=1)
        value, before = values[:, 0], best[open_]
        better = value > before
        runner_up = torch.maximum(second[open_], torch.minimum(value, before))
        second[open_] = torch.maximum(runner_up, torch.where(better, values[:, -1], runner_up))
        best[open_[better]] = value[better]
        index[open_[better]] = places[better, 0] + start
    return index, best - second


def pursue(signals: Tensor, first: Tensor, atoms: Atoms, count: int) -> tuple[Tensor, Tensor]:
    """Orthogonal matching pursuit of many signals at once, joint over bands in what it chooses.

    Args:
        signals: (n, C, K).
        first: (n, C, K), the atom that each signal begins with.
        atoms: the others.
        count: atoms for each signal.
    Returns:
        Indices (n, count - 1) of the atoms behind the first, and the weights of all
        (n, C, count): zero for one that in a band depends on those before it, NaN where a signal
        is not finite.
    """
    left, total = signals, signals.square().sum((1, 2))
    basis: list[Tensor] = []  # orthonormal, zero for an atom that is dependent, (n, C, K) each
    upper: list[list[Tensor]] = []  # of each atom its parts along the basis, (n, C)
    along: list[Tensor] = []  # the signals' parts
    chosen = []
    for step in range(count):
        if step == 0:
            atom = first
        else:
            chosen.append(atoms.strongest(left))
            atom = atoms.values[chosen[-1]]
        energy = atom.square().sum(2)  # (n, C)
        parts = []
        for direction in basis:
            parts.append((direction * atom).sum(2))
            atom = atom - parts[-1][..., None] * direction
        remaining = atom.square().sum(2)
        new = remaining > DEPENDENT * energy
        length = torch.where(new, remaining, torch.ones_like(remaining)).sqrt()
        basis.append(torch.where(new[..., None], atom / length[..., None], 0.0))
        upper.append([*parts, length])
        along.append((basis[-1] * left).sum(2))
        left = left - along[-1][..., None] * basis[-1]
    weights = along[:]
    for i in reversed(range(count)):
        for j in range(i + 1, count):
            weights[i] = weights[i] - upper[j][i] * weights[j]
        weights[i] = weights[i] / upper[i][i]
    weights = torch.stack(weights, 2)  # (n, C, count)
    indices = torch.stack(chosen, 1) if chosen else signals.new_empty((len(signals), 0)).long()
    return indices, torch.where(total.isfinite()[:, None, None], weights, float('nan'))
