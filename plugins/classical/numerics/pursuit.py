"""Sparse coding by orthogonal matching pursuit, for many signals at once and joint over bands."""

from __future__ import annotations

import torch
from torch import Tensor

# An atom depends on those before it if less than this share of its energy is orthogonal to them.
DEPENDENT = 1e-12
# Principal axes with less than this share of the largest spread are left out of the first search.
AXIS = 3e-4
# Rounding error of the product of two unit vectors in float32.
ROUNDING = 1e-6
# Atoms compared with all signals at a time, so that they fit a processor's cache.
BLOCK = 512


class Atoms:
    """Dictionary of patches, searched by their product with a signal.

    Products are computed in float32 on the principal axes of the atoms (there are few of them,
    since bands of one gain have the same details), and again in float64 if rounding may have
    decided between two atoms. No product exceeds that of the norms, so that the search ends before
    atoms whose norms are too small.

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

    def find_strongest(self, signals: Tensor) -> Tensor:
        """Finds the atom with the largest absolute product with each signal: (n, C, K) -> (n,)."""
        signals = signals.flatten(1)
        norm = signals.norm(dim=1, keepdim=True)
        signals = signals / torch.where(norm > 0, norm, torch.ones_like(norm))
        index, margin = _find_largest(self.coordinates, self.norms, (signals @ self.axes).float())
        unsure = (margin <= 2 * self.error).nonzero()[:, 0]
        if len(unsure):
            index[unsure], _ = _find_largest(self.flat, self.norms.double(), signals[unsure])
        return self.order[index]


def _find_largest(atoms: Tensor, bounds: Tensor, signals: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the largest absolute product, block by block while a later one may exceed it.

    Args:
        atoms: (N, F).
        bounds: (N,), of the absolute products of each atom, in descending order.
        signals: (n, F).
    Returns:
        Indices (n,), and a lower bound of the difference to the second largest product (n,).
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
    """Codes signals by orthogonal matching pursuit with the same atoms for all bands.

    Args:
        signals: (n, C, K).
        first: (n, C, K), the first atom of each signal.
        atoms: dictionary of the other atoms.
        count: atoms for each signal.
    Returns:
        Indices (n, count - 1) of the atoms after the first, and the weights of all (n, C, count):
        zero for an atom that depends on those before it in that band, NaN for signals that are not
        finite.
    """
    left, total = signals, signals.square().sum((1, 2))
    basis: list[Tensor] = []  # orthonormal, zero for an atom that is dependent, (n, C, K) each
    upper: list[list[Tensor]] = []  # components of each atom along the basis, (n, C)
    along: list[Tensor] = []  # components of the signals
    chosen = []
    for step in range(count):
        if step == 0:
            atom = first
        else:
            chosen.append(atoms.find_strongest(left))
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
