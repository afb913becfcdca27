"""What the checks of explainers, metrics, classifiers and datasets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from xaibench.sound.batch import Batch

TOLERANCE = 1e-4  # relative; a convolution rounds differently in batches of different sizes


def require(kept: object, broken: str) -> None:
    """Raise an AssertionError that says which promise is broken; `assert` would say nothing under `python -O`."""
    if not kept:
        raise AssertionError(broken)


def check_words(leaf: object, keys: Sequence[str]) -> None:
    for key in keys:
        value = getattr(leaf, key, None)
        require(isinstance(value, str) and value.strip(), f"{key} must be a sentence or name, not {value!r}")


def close(first: Tensor, second: Tensor) -> bool:
    """Whether maps agree, each within the tolerance of its own largest value."""
    gap = (first - second).abs().flatten(1).amax(dim=1)
    return bool((gap <= TOLERANCE * first.abs().flatten(1).amax(dim=1)).all())


def reversed_batch(batch: Batch) -> Batch:
    backwards: dict[str, Any] = {name: tensor.flip(0) for name, tensor in batch.tensors().items()}
    return replace(batch, clip_ids=batch.clip_ids[::-1], **backwards)
