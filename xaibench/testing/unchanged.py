"""A context that asserts that nothing around a call has changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import random_states
from xaibench.testing.common import require


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
        require(not changed, f"{event} left these changed: {', '.join(changed)}")


def _surroundings(classifier: Classifier | None, batch: Batch, target: Tensor) -> dict[str, Any]:
    """Copies of everything that must stay as it is, by a name for the error message."""
    states = random_states()
    found: dict[str, Any] = {
        "torch's global random state": states.torch,
        "numpy's global random state": (states.numpy[1].tobytes(), *states.numpy[2:]),
        "python's global random state": states.python,
        "torch's gradient mode": torch.is_grad_enabled(),
        "the target": target.clone(),
    }
    for name, tensor in batch.tensors().items():
        found |= _tensor_state(f"batch.{name}", tensor)
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
