"""Slow, independent re-derivations of the metrics that remove regions, and of noisy linear imputation.

As tests/references.py: loops over the bins of one clip, from raw inputs, nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from tests.references.values import Clip, mask, p_full, predicted

CELLS = 12  # along either axis, at most
IROF_STEPS = 48
REGIONS = 36


def cells(shape: tuple[int, int]) -> list[list[tuple[int, int]]]:
    """The bins of each cell: cell (r, q) of R x Q holds the bins (f, t) with r/R <= f/F < (r+1)/R, alike in time"""
    frequencies, times = shape
    rows, columns = min(CELLS, frequencies), min(CELLS, times)
    return [
        [
            (f, t)
            for f in range(frequencies)
            for t in range(times)
            if r * frequencies <= f * rows < (r + 1) * frequencies and q * times <= t * columns < (q + 1) * times
        ]
        for r in range(rows)
        for q in range(columns)
    ]


def ordered_cells(clip: Clip) -> list[list[tuple[int, int]]]:
    """Cells by their mean importance, largest first."""
    found = cells(clip.x.shape)
    means = [sum(float(clip.importance[bin]) for bin in cell) / len(cell) for cell in found]
    assert len(set(means)) == len(means), "the reference needs cells without ties"
    return [cell for _, cell in sorted(zip(means, found, strict=True), reverse=True)]


def replaced(clip: Clip, count: int, value: float) -> np.ndarray:
    """The spectrogram with its `count` most important cells set to a value."""
    changed = clip.x.copy()
    for cell in ordered_cells(clip)[:count]:
        for bin in cell:
            changed[bin] = value
    return changed


def irof(clip: Clip, area: None) -> float:
    """Rieger & Hansen (arXiv 2003.08747), section 3: area over the curve of F(X^l)_y / F(X^0)_y, l = 0..L.

    Segments are replaced by the mean value; the curve is taken at equal steps of the share of segments.
    """
    c, whole = predicted(clip), len(cells(clip.x.shape))
    mean = float(np.float32(clip.x.astype(float).mean()))
    curve = [
        float(clip.probabilities(replaced(clip, round(step / IROF_STEPS * whole), mean))[c]) / p_full(clip)
        for step in range(IROF_STEPS + 1)
    ]
    over = [(1 - a + 1 - b) / 2 / IROF_STEPS for a, b in pairwise(curve)]
    return sum(over)


def region_perturbation(clip: Clip, area: None) -> float:
    """Samek et al. (arXiv 1509.06321), AOPC, one clip's term: 1/(L+1) sum_k f(x^(0)) - f(x^(k)), k = 0..L."""
    c = predicted(clip)
    losses = [p_full(clip) - float(clip.probabilities(replaced(clip, k, 0.0))[c]) for k in range(REGIONS + 1)]
    return sum(losses) / (REGIONS + 1)


def imputed(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Rong et al. (arXiv 2202.00449), section 4.2: each missing bin equals the weighted mean of its neighbours.

    Weights 1/6 (direct) and 1/12 (diagonal), divided by their sum where some neighbours lie beyond the border. Here
    as one dense matrix, solved by elimination.
    """
    frequencies, times = x.shape
    bins = [(f, t) for f in range(frequencies) for t in range(times) if missing[f, t]]
    matrix, right = np.zeros((len(bins), len(bins))), np.zeros(len(bins))
    for row, (f, t) in enumerate(bins):
        for down in (-1, 0, 1):
            for aside in (-1, 0, 1):
                neighbour = (f + down, t + aside)
                if neighbour == (f, t) or not (0 <= neighbour[0] < frequencies and 0 <= neighbour[1] < times):
                    continue
                weight = 1 / 12 if down and aside else 1 / 6
                matrix[row, row] += weight
                if missing[neighbour]:
                    matrix[row, bins.index(neighbour)] -= weight
                else:
                    right[row] += weight * float(x[neighbour])
    filled = x.astype(float)
    for bin, value in zip(bins, np.linalg.solve(matrix, right), strict=True):
        filled[bin] = value
    return filled


def road_input(clip: Clip, area: float, noise: np.ndarray) -> np.ndarray:
    """What ROAD forwards, given standard normal draws (freq, time): imputed bins get 0.01 of them, and stay >= 0."""
    missing = mask(clip, area) == 1
    filled = imputed(clip.x, missing)
    return np.where(missing, np.maximum(filled + 0.01 * noise, 0), clip.x)


def road(clip: Clip, area: float, noise: np.ndarray) -> float:
    """Rong et al. (arXiv 2202.00449), MoRF accuracy, one clip's term; the clean clip's class is the label."""
    p = list(clip.probabilities(road_input(clip, area, noise)))
    return 1.0 if p.index(max(p)) == predicted(clip) else 0.0


REFERENCES: dict[str, Callable[..., float]] = {"irof": irof, "region_perturbation": region_perturbation}
