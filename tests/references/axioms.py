"""Slow, independent re-derivations of the axioms. As tests/references.py: one clip, from raw inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.references.regions import cells
from tests.references.values import Clip, p_full, predicted


def completeness(attribution: np.ndarray, full: float, silent: float) -> float:
    """Sundararajan et al. (arXiv 1703.01365), proposition 1: the attributions sum to F(x) - F(x').

    Args:
        attribution: signed map.
        full: the predicted class's logit of the clip.
        silent: the same class's logit of silence, the baseline x'.
    """
    total = math.fsum(float(value) for value in attribution.flat)
    return abs(total - (full - silent)) / abs(full - silent)


def non_sensitivity(clip: Clip, area: None) -> float:
    """Nguyen and Rodriguez Martinez (arXiv 2007.07584), non-sensitivity: the symmetric difference of A_0 and X_0.

    As a share of all features. A_0 are the features without attribution, X_0 those that the prediction does not
    depend on. Features are cells; what is below 1e-5 (of the largest cell's attribution; of probability) counts as
    nothing. A map of one sign is its own size.
    """
    found, c = cells(clip.x.shape), predicted(clip)
    size = [sum(abs(float(clip.importance[bin])) for bin in cell) / len(cell) for cell in found]
    without = {i for i, value in enumerate(size) if value <= 1e-5 * max(size)}
    indifferent = set()
    for i, cell in enumerate(found):
        changed = clip.x.copy()
        for bin in cell:
            changed[bin] = 0.0
        if abs(p_full(clip) - float(clip.probabilities(changed)[c])) < 1e-5:
            indifferent.add(i)
    return len(without ^ indifferent) / len(found)


REFERENCES: dict[str, Callable[..., float]] = {"non_sensitivity": non_sensitivity}
