"""Changed versions of a batch: what metrics ask the classifier, and the explainer, about."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from xaibench.scoring.context import ScoringContext

Part = Literal["kept", "removed"]


class Perturbation(abc.ABC):
    """One changed version of every clip of a batch.

    Subclasses are frozen dataclasses: what compares equal is made and forwarded once, whichever
    metrics ask for it. Random draws come from `context.clean.batch.generator(index, purpose)`, so
    that they belong to a clip and not to its batch.

    Attributes:
        depends_on_map: False where the changed clip is the same whatever the method's map is: it is
            then forwarded once for all methods.
    """

    depends_on_map: ClassVar[bool] = True

    @abc.abstractmethod
    def apply(self, context: ScoringContext) -> Tensor:
        """The changed spectrograms, float32 (batch, freq, time)."""


@dataclass(frozen=True)
class Masked(Perturbation):
    """The spectrogram with only its most important bins ("kept"), or without them ("removed").

    Attributes:
        part: which of the two.
        area: share of all bins that count as most important, 0 to 1; None for the method's own soft
            mask, which multiplies the linear magnitude: what is scored is what is heard.
    """

    part: Part
    area: float | None

    def apply(self, context: ScoringContext) -> Tensor:
        if self.area is None:
            share = context.soft_mask if self.part == "kept" else 1 - context.soft_mask
            return torch.log1p(share * torch.expm1(context.clean.batch.x))
        mask = context.ranking.top(self.area)
        share = mask if self.part == "kept" else ~mask
        return context.clean.batch.x * share.float()  # a third of the time that a bool takes on a CPU
