"""Random seeds and states of the generators of torch, numpy and random."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, *path: object) -> int:
    """Derives a 63-bit seed for one purpose: `derive_seed(0, 'sample', epoch, position)`.

    Seeds of different paths are independent, so that the random numbers of one purpose
    never change those of another.
    """
    text = '/'.join(map(str, (seed, *path))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'little') >> 1


def seed_all(seed: int) -> None:
    """Seeds every global generator, those of all GPUs included."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def set_determinism(deterministic: bool) -> None:
    """Asks torch for deterministic algorithms, or lets cuDNN choose its fastest."""
    if deterministic:
        # cuBLAS reads it when its first handle is made.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)  # imports the compiler: a second
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def get_state() -> dict[str, Any]:
    """Returns the state of this process's generators as tensors and plain values."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    saved: dict[str, Any] = {
        'torch': torch.get_rng_state(),
        'numpy': [str(kind), torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        'random': [version, torch.tensor(internal, dtype=torch.int64), gauss],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        saved['cuda'] = torch.cuda.get_rng_state()
    return saved


def restore_state(saved: dict[str, Any]) -> None:
    """Sets this process's generators to a state of `get_state`."""
    torch.set_rng_state(saved['torch'])
    kind, keys, position, has_gauss, cached = saved['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = saved['random']
    random.setstate((version, tuple(internal.tolist()), gauss))
    if 'cuda' in saved and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved['cuda'])


@contextmanager
def isolate(seed: int) -> Iterator[None]:
    """Seeds all generators inside the context and restores their state afterwards."""
    before = get_state()
    seed_all(seed)
    try:
        yield
    finally:
        restore_state(before)


class SampleSeeds:
    """Context that seeds the CPU generators per sample and restores their state afterwards.

    It is much cheaper than `isolate`: numpy's generator is swapped and not copied, and GPUs are
    left out, since datasets work on the CPU. Inside, torch uses one thread, as a loader's worker
    process does, so that sums are the same in both.
    """

    def __init__(self) -> None:
        self._numpy = np.random.MT19937(0)

    def __enter__(self) -> SampleSeeds:
        self._before = (
            torch.get_rng_state(),
            np.random.get_bit_generator(),
            random.getstate(),
            torch.get_num_threads(),
        )
        np.random.set_bit_generator(self._numpy)
        torch.set_num_threads(1)
        return self

    def seed(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)

    def __exit__(self, *exception: object) -> None:
        generator_state, bit_generator, python_state, threads = self._before
        torch.set_rng_state(generator_state)
        np.random.set_bit_generator(bit_generator)
        random.setstate(python_state)
        torch.set_num_threads(threads)
