"""Slow, independent re-derivations of every metric, for one clip, from raw inputs.

Nothing here imports the engine: loops over bins, one clip at a time, probabilities from a function
of a spectrogram. Formulas are written as their papers state them, not as the engine computes them.
Maps that decide a mask must hold no equal values: ties are the engine's own affair, and are tested
by their properties instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CURVE_STEPS = 20  # deletion and insertion look at every twentieth of the bins


@dataclass(frozen=True)
class Clip:
    """One clip and one explanation of it.

    Attributes:
        x: spectrogram (freq, time).
        importance: non-negative map (freq, time).
        probabilities: class probabilities (classes,) of any spectrogram (freq, time).
        known: where the event is, bool (freq, time).
    """

    x: np.ndarray
    importance: np.ndarray
    probabilities: Callable[[np.ndarray], np.ndarray]
    known: np.ndarray


def mask(clip: Clip, area: float) -> np.ndarray:
    """1.0 on the most important bins, as many as `area` of them all, else 0.0."""
    rows, columns = clip.importance.shape
    bins = [(float(clip.importance[f, t]), f, t) for f in range(rows) for t in range(columns)]
    assert len({value for value, _, _ in bins}) == len(bins), "the reference needs a map without ties"
    chosen = np.zeros((rows, columns))
    for _, f, t in sorted(bins, reverse=True)[: round(area * len(bins))]:
        chosen[f, t] = 1.0
    return chosen


def kept(clip: Clip, area: float | None) -> np.ndarray:
    """What is left of x: K * x; without an area the map itself is the mask, and multiplies the linear magnitude."""
    if area is not None:
        return clip.x * mask(clip, area)
    return _scaled(clip.x, clip.importance)


def removed(clip: Clip, area: float | None) -> np.ndarray:
    """What is taken away from x by the mask: (1 - K) * x, likewise."""
    if area is not None:
        return clip.x * (1 - mask(clip, area))
    return _scaled(clip.x, 1 - clip.importance.astype(float))


def _scaled(x: np.ndarray, share: np.ndarray) -> np.ndarray:
    """log(1 + M (exp(x) - 1)), bin by bin."""
    made = np.zeros(x.shape)
    for f, t in np.ndindex(*x.shape):
        made[f, t] = math.log(1 + float(share[f, t]) * (math.exp(float(x[f, t])) - 1))
    return made


def predicted(clip: Clip) -> int:
    """c, the class predicted for the clean clip."""
    p = list(clip.probabilities(clip.x))
    return p.index(max(p))


def p_full(clip: Clip) -> float:
    """p_c(x)."""
    return float(clip.probabilities(clip.x)[predicted(clip)])


def p_kept(clip: Clip, area: float) -> float:
    """p_c(K * x)."""
    return float(clip.probabilities(kept(clip, area))[predicted(clip)])


def p_removed(clip: Clip, area: float) -> float:
    """p_c((1 - K) * x)."""
    return float(clip.probabilities(removed(clip, area))[predicted(clip)])


def fidelity_in(clip: Clip, area: float) -> float:
    """Fid-In of PIQ (arXiv 2303.12659): does the kept part alone get the class of the whole?"""
    p = list(clip.probabilities(kept(clip, area)))
    return 1.0 if p.index(max(p)) == predicted(clip) else 0.0


def faithfulness(clip: Clip, area: float) -> float:
    """FF of L-MAC (arXiv 2403.13086), after L2I (arXiv 2202.11479): p_c(x) - p_c(removed)."""
    return p_full(clip) - p_removed(clip, area)


def faithfulness_equal_energy(clip: Clip, area: None) -> float:
    """FF where what is removed is a share of the energy: the fewest most important bins with half of sum |X|^2."""
    rows, columns = clip.importance.shape
    bins = sorted(((float(clip.importance[f, t]), f, t) for f in range(rows) for t in range(columns)), reverse=True)
    energy = {(f, t): (math.exp(float(clip.x[f, t])) - 1) ** 2 for _, f, t in bins}
    left = clip.x.copy()
    gone = 0.0
    for _, f, t in bins:
        if gone >= math.fsum(energy.values()) / 2:
            break
        gone += energy[f, t]
        left[f, t] = 0
    return p_full(clip) - float(clip.probabilities(left)[predicted(clip)])


def faithfulness_kept(clip: Clip, area: float) -> float:
    """ "Faithfulness" as the recipe of arXiv 2402.02754 computes it: p_c(x) - p_c(kept)."""
    return p_full(clip) - p_kept(clip, area)


def average_drop(clip: Clip, area: float) -> float:
    """Grad-CAM++ (arXiv 1710.11063), Average Drop %: max(0, Y - O) / Y * 100, one clip's term."""
    y, o = p_full(clip), p_kept(clip, area)
    return max(0.0, y - o) / y * 100


def average_increase(clip: Clip, area: float) -> float:
    """Grad-CAM++ (arXiv 1710.11063), % Increase in Confidence: 1[Y < O] * 100, one clip's term."""
    return 100.0 if p_full(clip) < p_kept(clip, area) else 0.0


def average_gain(clip: Clip, area: float) -> float:
    """Opti-CAM (arXiv 2301.07002), Average Gain: max(0, o - p) / (1 - p) * 100, one clip's term."""
    p, o = p_full(clip), p_kept(clip, area)
    return math.nan if p == 1 else max(0.0, o - p) / (1 - p) * 100


def deletion_auc(clip: Clip, area: None) -> float:
    """RISE (arXiv 1806.07421), deletion: p_c while the most important bins go, trapezoid rule."""
    return _trapezoid([p_removed(clip, step / CURVE_STEPS) for step in range(CURVE_STEPS + 1)])


def insertion_auc(clip: Clip, area: None) -> float:
    """RISE (arXiv 1806.07421), insertion: p_c while the most important bins come, trapezoid rule."""
    return _trapezoid([p_kept(clip, step / CURVE_STEPS) for step in range(CURVE_STEPS + 1)])


def _trapezoid(curve: list[float]) -> float:
    """As RISE's code: the sum of all points less half the two ends, over the number of steps."""
    return (math.fsum(curve) - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1)


def sparseness(clip: Clip, area: None) -> float:
    """Gini index as Chalasani et al. (arXiv 1810.06583) take it from Hurley & Rickard (arXiv 0811.4706).

    G(v) = 1 - 2 sum_k v_(k) / |v|_1 * (d - k + 1/2) / d, v ascending, k = 1..d.
    """
    v = sorted(float(value) for value in clip.importance.flat)
    d, norm = len(v), math.fsum(v)
    if norm == 0:
        return math.nan
    return 1 - 2 * math.fsum(v[k - 1] / norm * (d - k + 0.5) / d for k in range(1, d + 1))


def complexity(clip: Clip, area: None) -> float:
    """Bhatt et al. (arXiv 2005.00631): the entropy, in nats, of each bin's share of the importance."""
    total = math.fsum(float(value) for value in clip.importance.flat)
    if total == 0:
        return math.nan
    shares = [float(value) / total for value in clip.importance.flat]
    return -math.fsum(share * math.log(share) for share in shares if share > 0)


def effective_complexity(clip: Clip, area: None) -> float:
    """Nguyen & Rodriguez Martinez (arXiv 2007.07584): features that matter; here more than 1e-5 of the largest."""
    values = [float(value) for value in clip.importance.flat]
    if not any(values):
        return math.nan
    return float(sum(value > 1e-5 * max(values) for value in values))


def relevance_mass(clip: Clip, area: None) -> float:
    """CLEVR-XAI (arXiv 2003.07258), relevance mass accuracy: R_within / R_total."""
    pairs = [(float(r), bool(k)) for r, k in zip(clip.importance.flat, clip.known.flat, strict=True)]
    total = math.fsum(r for r, _ in pairs)
    if total == 0 or not clip.known.any():
        return math.nan
    return math.fsum(r for r, inside in pairs if inside) / total


def relevance_rank(clip: Clip, area: None) -> float:
    """CLEVR-XAI (arXiv 2003.07258), relevance rank accuracy: |P_top-K & GT| / |GT|, K = |GT|."""
    truth = {i for i, inside in enumerate(clip.known.flat) if inside}
    if not truth:
        return math.nan
    values = list(clip.importance.flat)
    top = sorted(range(len(values)), key=lambda i: values[i], reverse=True)[: len(truth)]
    return len(truth.intersection(top)) / len(truth)


def pointing_game(clip: Clip, area: None) -> float:
    """Excitation Backprop (arXiv 1608.00507): a hit if the maximum lies on the object; no margin here."""
    if not clip.known.any():
        return math.nan
    f, t = np.unravel_index(int(np.argmax(clip.importance)), clip.importance.shape)
    return 1.0 if clip.known[f, t] else 0.0


def top_k_intersection(clip: Clip, area: None) -> float:
    """Theiner et al. (arXiv 2104.14995): hits among the k highest, over k; here k is 2% of all bins, at least 1."""
    if not clip.known.any():
        return math.nan
    values = [(float(value), bool(k)) for value, k in zip(clip.importance.flat, clip.known.flat, strict=True)]
    k = max(1, round(len(values) / 50))
    return sum(inside for _, inside in sorted(values, reverse=True)[:k]) / k


def mask_area(clip: Clip, area: None) -> float:
    """Mean of the mask, the size that L-MAC (arXiv 2403.13086) penalises, over the bins."""
    return math.fsum(float(share) for share in clip.importance.flat) / clip.importance.size


def mask_iou(clip: Clip, area: float | None) -> float:
    """Jaccard index of the bins of mask and evidence; without an area of two fuzzy sets (Ruzicka 1958)."""
    if not clip.known.any():
        return math.nan
    if area is None:
        pairs = [(float(m), float(k)) for m, k in zip(clip.importance.flat, clip.known.flat, strict=True)]
        return math.fsum(min(pair) for pair in pairs) / math.fsum(max(pair) for pair in pairs)
    chosen = {i for i, inside in enumerate(mask(clip, area).flat) if inside}
    truth = {i for i, inside in enumerate(clip.known.flat) if inside}
    return len(chosen & truth) / len(chosen | truth)


def localisation_auc(clip: Clip, area: None) -> float:
    """Area under the ROC curve as a probability over pairs (Fawcett 2006; Hanley & McNeil 1982)."""
    inside = [float(r) for r, k in zip(clip.importance.flat, clip.known.flat, strict=True) if k]
    outside = [float(r) for r, k in zip(clip.importance.flat, clip.known.flat, strict=True) if not k]
    if not inside or not outside:
        return math.nan
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in outside)
    return wins / (len(inside) * len(outside))


REFERENCES: dict[str, Callable[..., float]] = {
    "average_drop": average_drop,
    "average_gain": average_gain,
    "average_increase": average_increase,
    "complexity": complexity,
    "deletion_auc": deletion_auc,
    "effective_complexity": effective_complexity,
    "faithfulness": faithfulness,
    "faithfulness_equal_energy": faithfulness_equal_energy,
    "faithfulness_kept": faithfulness_kept,
    "fidelity_in": fidelity_in,
    "insertion_auc": insertion_auc,
    "localisation_auc": localisation_auc,
    "mask_area": mask_area,
    "mask_iou": mask_iou,
    "pointing_game": pointing_game,
    "relevance_mass": relevance_mass,
    "relevance_rank": relevance_rank,
    "sparseness": sparseness,
    "top_k_intersection": top_k_intersection,
}
