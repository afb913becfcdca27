"""Global random states: seeded inside, as before outside."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from xaibench.sound.randomness import random_states, seeded


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 1, 2**63 - 1])
def test_the_same_seed_gives_the_same_draws(seed: int) -> None:
    with seeded(seed):
        first = draws()
    draws()
    with seeded(seed):
        again = draws()
    with seeded(seed + 1 if seed < 2 else seed - 1):
        other = draws()
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_the_former_states_are_put_back_after_an_exception_too() -> None:
    before = random_states()
    with pytest.raises(ZeroDivisionError), seeded(3):
        draws()
        raise ZeroDivisionError
    after = random_states()
    assert torch.equal(before.torch, after.torch)
    assert before.numpy[1].tobytes() == after.numpy[1].tobytes()
    assert before.numpy[2:] == after.numpy[2:]
    assert before.python == after.python
    assert len(before.cuda) == len(after.cuda)
    assert all(map(torch.equal, before.cuda, after.cuda))
