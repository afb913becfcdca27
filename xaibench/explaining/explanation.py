"""What an explainer returns, and how it becomes an importance map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xaibench.errors import ExplanationError

Polarity = Literal["absolute", "positive"]


@dataclass(frozen=True)
class Explanation:
    """Attribution of a batch.

    Attributes:
        map: float (batch, freq, time), of the size of the picture, as the method defines it (signed
            where it is signed).
        native_shape: (freq, time) resolution at which the method computed it.
        texts: what the method says of each clip in words, one for each; empty for methods that say nothing.
    """

    map: Tensor
    native_shape: tuple[int, int]
    texts: tuple[str, ...] = ()


def importance(attribution: Tensor, polarity: Polarity) -> Tensor:
    """Non-negative importance of an attribution map, same shape.

    Sensitivity maps say how strongly, so their size counts ("absolute"); contribution maps say
    for or against, so only what speaks for the target counts ("positive").
    """
    if polarity == "absolute":
        return attribution.abs()
    return attribution.clamp(min=0)


def defects(attribution: Tensor) -> list[str | None]:
    """Per clip, why its map (batch, freq, time) cannot be scored, or None."""
    flat = attribution.flatten(1)
    nan = flat.isnan().any(dim=1).tolist()
    infinite = flat.isinf().any(dim=1).tolist()
    return [
        "the map holds NaN" if is_nan else "the map holds infinite values" if is_infinite else None
        for is_nan, is_infinite in zip(nan, infinite, strict=True)
    ]


def validate(explanation: object, expected_shape: tuple[int, ...]) -> Explanation:
    """The explanation, if it keeps the contract.

    Raises:
        ExplanationError: not an Explanation, not a real floating tensor, the wrong shape, or not a text for each clip.
    """
    if not isinstance(explanation, Explanation):
        raise ExplanationError(f"explain() returned {type(explanation).__name__}, expected an Explanation")
    attribution = explanation.map
    if not isinstance(attribution, torch.Tensor) or not attribution.is_floating_point():
        kind = attribution.dtype if isinstance(attribution, torch.Tensor) else type(attribution).__name__
        raise ExplanationError(f"the map is {kind}, expected a floating-point tensor")
    if tuple(attribution.shape) != tuple(expected_shape):
        raise ExplanationError(
            f"the map has shape {tuple(attribution.shape)}, expected {tuple(expected_shape)} (batch, freq, time)"
        )
    if explanation.texts and not (
        len(explanation.texts) == len(attribution) and all(isinstance(text, str) for text in explanation.texts)
    ):
        raise ExplanationError(f"texts must be one str for each of the {len(attribution)} clips, or none at all")
    return explanation
