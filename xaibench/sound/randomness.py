"""Read, seed and restore the global random states of torch, numpy and Python."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class RandomStates(NamedTuple):
    """The state of every global random generator.

    Attributes:
        torch: state of the CPU's generator.
        cuda: states of the GPUs' generators; empty where no GPU is in use.
        numpy: state of `numpy.random`.
        python: state of `random`.
    """

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any
    python: Any


def random_states() -> RandomStates:
    """Read all global random states."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return RandomStates(torch.get_rng_state(), cuda, np.random.get_state(), random.getstate())


def restore(states: RandomStates) -> None:
    """Put all global random states back to what they were."""
    torch.set_rng_state(states.torch)
    if states.cuda:
        torch.cuda.set_rng_state_all(states.cuda)
    np.random.set_state(states.numpy)
    random.setstate(states.python)


@contextmanager
def undrawn() -> Iterator[None]:
    """Restore torch's global random state after the block, as if nothing had been drawn in it."""
    on_cpu = torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(on_cpu)
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all global random states inside the block, and restore them afterwards, even after an exception."""
    former = random_states()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes seeds of 32 bits
    random.seed(seed)
    try:
        yield
    finally:
        restore(former)
