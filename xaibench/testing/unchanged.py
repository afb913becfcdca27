"""Contexts that seed every global random state, and that assert that nothing around a call has changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.sound.batch import Batch


def _random_states() -> tuple[Tensor, Any, Any]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All global random states seeded inside, the former ones afterwards."""
    torch_state, numpy_state, python_state = _random_states()
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextmanager
def unchanged(classifier: Classifier | None, batch: Batch, target: Tensor, event: str) -> Iterator[None]:
    """Assert that what happens inside, an exception included, leaves inputs, classifier and global state alone.

    Raises:
        AssertionError: what has changed.
    """
    before = _surroundings(classifier, batch, target)
    try:
        yield
    finally:
        after = _surroundings(classifier, batch, target)
        changed = [key for key in before | after if not _same(before.get(key), after.get(key))]
        assert not changed, f"{event} left these changed: {', '.join(changed)}"


def _surroundings(classifier: Classifier | None, batch: Batch, target: Tensor) -> dict[str, Any]:
    """Copies of everything that must stay as it is, by a name for the error message."""
    torch_state, numpy_state, python_state = _random_states()
    found: dict[str, Any] = {
        "torch's global random state": torch_state,
        "numpy's global random state": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "python's global random state": python_state,
        "torch's gradient mode": torch.is_grad_enabled(),
        "the target": target.clone(),
        "batch.ground_truth": None if batch.ground_truth is None else batch.ground_truth.clone(),
    }
    found |= _tensor_state("batch.x", batch.x)
    if classifier is None:
        return found
    for name, tensor in (*classifier.named_parameters(), *classifier.named_buffers()):
        found |= _tensor_state(name, tensor)
    for name, module in classifier.named_modules():
        for key, value in vars(module).items():
            where = f"{name or classifier.name}.{key}"
            if key.endswith("_hooks"):
                found[where] = tuple(value or ())
            elif not key.startswith("_"):
                found[where] = value
                # One level deeper, for the configuration objects of transformers.
                found |= {f"{where}.{k}": v for k, v in getattr(value, "__dict__", {}).items()}
    return found


def _tensor_state(name: str, tensor: Tensor) -> dict[str, Any]:
    return {
        name: tensor.detach().clone(),
        f"{name}.requires_grad": tensor.requires_grad,
        f"{name}.grad": tensor.grad,
        f"{name}'s hooks": tuple(tensor._backward_hooks or ()),
    }


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return torch.equal(before, after)
    plain = isinstance(before, bool | int | float | str | tuple | list | frozenset)
    return before is after or (plain and type(before) is type(after) and before == after)
