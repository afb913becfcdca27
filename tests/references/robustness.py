"""Slow, independent re-derivations of the robustness metrics and of sufficiency, for one clip.

Unlike the references of the other metrics these need what the method and the classifier say of noisy copies, so
they take an `Explained`. Nothing here imports the engine: loops over bins, formulas as their papers state them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6  # Agarwal et al.'s guard, in units of the spectrogram, and of the largest of the map
EPSILON_LOGITS = 1e-2  # the same for logits
SAME_EXPLANATION = 0.2


@dataclass(frozen=True)
class Heard:
    """A spectrogram, the map of the clean clip's class for it, and the logits.

    Attributes:
        x: (freq, time).
        map: signed, (freq, time).
        logits: (classes,).
    """

    x: np.ndarray
    map: np.ndarray
    logits: np.ndarray

    @property
    def predicted(self) -> int:
        logits = [float(value) for value in self.logits]
        return logits.index(max(logits))


@dataclass(frozen=True)
class Explained:
    """A clip and its noisy copies."""

    clip: Heard
    copies: tuple[Heard, ...]


def max_sensitivity(explained: Explained) -> float:
    """Yeh et al. (arXiv 1901.09392), definition 3.1, over the copies drawn, relative to the clean map's norm."""
    return max(_sensitivities(explained))


def avg_sensitivity(explained: Explained) -> float:
    """Bhatt et al. (arXiv 2005.00631), definition 2, with the distance of `max_sensitivity`."""
    found = _sensitivities(explained)
    return math.fsum(found) / len(found)


def _sensitivities(explained: Explained) -> list[float]:
    clean = _norm(_floats(explained.clip.map))
    return [_distance(_floats(copy.map), _floats(explained.clip.map)) / clean for copy in explained.copies]


def local_lipschitz(explained: Explained) -> float:
    """Alvarez-Melis & Jaakkola (arXiv 1806.08049), local Lipschitz estimate: max |f(x_i) - f(x_j)| / |x_i - x_j|.

    f(x) is the map over its own largest magnitude, Quantus's normalisation.
    """
    clip = explained.clip
    return max(
        _distance(_over_peak(clip.map), _over_peak(copy.map)) / _distance(_floats(clip.x), _floats(copy.x))
        for copy in explained.copies
    )


def relative_input_stability(explained: Explained) -> float:
    """Agarwal et al. (arXiv 2203.06877), equation 2, over the copies with the clip's class."""
    x = _floats(explained.clip.x)
    return _relative_stability(explained, lambda copy: max(_norm(_relative(x, _floats(copy.x), EPSILON)), EPSILON))


def relative_output_stability(explained: Explained) -> float:
    """Agarwal et al. (arXiv 2203.06877), equation 5, over the copies with the clip's class."""
    h = _floats(explained.clip.logits)
    return _relative_stability(explained, lambda copy: max(_distance(h, _floats(copy.logits)), EPSILON_LOGITS))


def _relative_stability(explained: Explained, change: Callable[[Heard], float]) -> float:
    e = _floats(explained.clip.map)
    guard = EPSILON * max(abs(value) for value in e)
    found = [
        _norm(_relative(e, _floats(copy.map), guard)) / change(copy)
        for copy in explained.copies
        if copy.predicted == explained.clip.predicted
    ]
    return max(found, default=math.nan)


def sufficiency(explained: Explained) -> float:
    """Dasgupta et al. (arXiv 2202.00734), local sufficiency: P(f(x') = f(x)) among x' that the explanation holds for.

    It holds for the copies whose maps are within a cosine distance of the clip's.
    """
    clip = explained.clip
    alike = [copy for copy in explained.copies if _cosine_distance(copy.map, clip.map) <= SAME_EXPLANATION]
    if not alike:
        return math.nan
    return sum(copy.predicted == clip.predicted for copy in alike) / len(alike)


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values.flat]


def _norm(values: Iterable[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values))


def _distance(first: list[float], second: list[float]) -> float:
    return _norm(a - b for a, b in zip(first, second, strict=True))


def _relative(values: list[float], others: list[float], guard: float) -> list[float]:
    """(v - v') / v; divided by the guard where v is 0."""
    return [(v - o) / (v if v != 0 else guard) for v, o in zip(values, others, strict=True)]


def _over_peak(values: np.ndarray) -> list[float]:
    peak = max(abs(value) for value in _floats(values))
    return [value / peak if peak else 0.0 for value in _floats(values)]


def _cosine_distance(first: np.ndarray, second: np.ndarray) -> float:
    a, b = _floats(first), _floats(second)
    norms = _norm(a) * _norm(b)
    return 1 - math.fsum(u * v for u, v in zip(a, b, strict=True)) / norms if norms else 1.0


REFERENCES: dict[str, Callable[[Explained], float]] = {
    "avg_sensitivity": avg_sensitivity,
    "local_lipschitz": local_lipschitz,
    "max_sensitivity": max_sensitivity,
    "relative_input_stability": relative_input_stability,
    "relative_output_stability": relative_output_stability,
    "sufficiency": sufficiency,
}
