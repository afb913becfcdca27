"""Which methods say the same: how alike their maps rank the bins of a clip, and their masks choose them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from xaibench.reports.report_board import plain

_BINS = 20_000  # audible bins of a clip, drawn: their rank correlation is that of all within 0.01


@dataclass
class MapAgreement:
    """Sums of what the maps of single clips have in common, clip by clip; means over the clips at the end."""

    _correlations: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _overlaps: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, maps: Mapping[str, tuple[NDArray, NDArray]], audible: NDArray[np.bool_] | None) -> None:
        """Compare the methods of one clip.

        Args:
            maps: by method the importance and the mask (freq, time).
            audible: which frames count, (time,), or None for all.
        """
        ranks, masks = {}, {}
        for name, (importance, mask) in maps.items():
            counted = slice(None) if audible is None else audible
            values = importance[:, counted].ravel()
            drawn = np.random.default_rng(0).permutation(len(values))[:_BINS]
            if len(values) and np.ptp(values[drawn]) > 0:  # a map without an order agrees with nothing
                ranks[name] = rankdata(values[drawn])
            masks[name] = mask
        for first in maps:
            for second in maps:
                if first >= second:
                    continue
                if first in ranks and second in ranks:
                    correlation = float(np.corrcoef(ranks[first], ranks[second])[0, 1])
                    self._correlations.setdefault((first, second), []).append(correlation)
                union = np.count_nonzero(masks[first] | masks[second])
                if union:
                    shared = np.count_nonzero(masks[first] & masks[second]) / union
                    self._overlaps.setdefault((first, second), []).append(shared)

    def tables(self) -> dict[str, Any]:
        """Return the methods, and of every two the means over clips; none where no clip has both."""
        names = sorted({name for pair in self._overlaps for name in pair})
        clips = max(map(len, self._overlaps.values()), default=0)
        tables = {
            key: [[1.0 if a == b else _mean(found.get((min(a, b), max(a, b)))) for b in names] for a in names]
            for key, found in (("correlation", self._correlations), ("overlap", self._overlaps))
        }
        return {"methods": names, "clips": clips, **tables}


def _mean(values: list[float] | None) -> float | None:
    return plain(float(np.mean(values))) if values else None
