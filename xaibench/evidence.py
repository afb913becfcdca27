"""What metrics look at: the probabilities of one batch, whole, kept and removed, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from xaibench.batch import Batch
from xaibench.forwarder import Forwarder
from xaibench.masks import Ranking

AREAS = (0.05, 0.10, 0.20, 0.40)
PRIMARY_AREA = 0.10
CURVE_AREAS = tuple(i / 20 for i in range(21))

Part = Literal["kept", "removed"]


@dataclass(frozen=True)
class Clean:
    """A batch and what the classifier says of it unmasked; shared by all methods.

    Attributes:
        batch: the clips.
        probabilities: float64 (batch, classes).
        silence: class probabilities of an all-zero spectrogram, float64 (classes,).
        target: predicted classes (batch,).
    """

    batch: Batch
    probabilities: Tensor
    silence: Tensor

    @cached_property
    def target(self) -> Tensor:
        return self.probabilities.argmax(dim=1)


class Evidence:
    """One method's importance maps for one batch, and what the classifier says of the parts.

    Probabilities are float64 at the classifier's temperature. Each (mask, part) is forwarded at
    most once, whichever metrics ask for it.

    Attributes:
        importance: finite, non-negative, float32 (batch, freq, time).
    """

    def __init__(self, clean: Clean, importance: Tensor, forwarder: Forwarder) -> None:
        self.clean = clean
        self.importance = importance
        self._forwarder = forwarder
        self._known: dict[tuple[Part, float], Tensor] = {}

    def __len__(self) -> int:
        return len(self.clean.batch)

    @cached_property
    def ranking(self) -> Ranking:
        """Order of the bins by importance."""
        return Ranking(self.importance, self.clean.batch)

    @cached_property
    def _sounding(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest key of the bins that sound, per clip."""
        return self.ranking.extent(self.clean.batch.x != 0)

    @property
    def target(self) -> Tensor:
        """Predicted class of the clean clip, c, (batch,)."""
        return self.clean.target

    @property
    def p_full(self) -> Tensor:
        """p_c(x), (batch,)."""
        return self.of_target(self.clean.probabilities)

    def p_kept(self, area: float) -> Tensor:
        """p_c of the most important bins alone, (batch,)."""
        return self.of_target(self.probabilities("kept", area))

    def p_removed(self, area: float) -> Tensor:
        """p_c without the most important bins, (batch,)."""
        return self.of_target(self.probabilities("removed", area))

    def probabilities(self, part: Part, area: float) -> Tensor:
        """Class probabilities (batch, classes) when only the top `area`, or all but it, is left."""
        self.require([(part, area)])
        return self._known[part, area]

    def require(self, wanted: Sequence[tuple[Part, float]]) -> None:
        """Compute many (part, area) pairs in full micro-batches."""
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in self._known]
        for part, area in list(missing):
            # The ends of every curve are the clean clip and silence: no forward pass needed.
            whole = area >= 1 if part == "kept" else area <= 0
            nothing = area <= 0 if part == "kept" else area >= 1
            if whole or nothing:
                ends = self.clean.probabilities if whole else self.clean.silence.expand(len(self), -1)
                self._known[part, area] = ends
                missing.remove((part, area))
        group = max(1, self._forwarder.batch_size // len(self))
        for start in range(0, len(missing), group):
            pairs = missing[start : start + group]
            inputs = torch.cat([self._masked(part, area) for part, area in pairs])
            outputs = self._forwarder.probabilities(inputs).split(len(self))
            for (part, area), output in zip(pairs, outputs, strict=True):
                self._known[part, area] = self._exact_ends(part, area, output)

    def of_target(self, probabilities: Tensor) -> Tensor:
        """The target's column of class probabilities (batch, classes): (batch,)."""
        return probabilities.gather(1, self.target[:, None])[:, 0]

    @property
    def known(self) -> Tensor | None:
        """Where the event is known to be, bool (batch, freq, time), or None."""
        return self.clean.batch.evidence

    def _exact_ends(self, part: Part, area: float, output: Tensor) -> Tensor:
        """Where a part is the whole clip or silence, the probabilities of just that.

        Much digital silence makes parts equal to the clip; the rounding of another batch would then
        decide whether confidence "increased".
        """
        has_all, has_none = self.ranking.coverage(self._sounding, area)
        whole, nothing = (has_all, has_none) if part == "kept" else (has_none, has_all)
        output = torch.where(whole[:, None], self.clean.probabilities, output)
        return torch.where(nothing[:, None], self.clean.silence, output)

    def _masked(self, part: Part, area: float) -> Tensor:
        mask = self.ranking.top(area)
        return self.clean.batch.x * (mask if part == "kept" else ~mask)
