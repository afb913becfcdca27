"""Attributions of gains, for classifiers that do not read the picture.

Bin i of a clip is multiplied by a gain m_i, and the picture is turned into sound. The derivative of the score along m_i
at m = 1 is the effect, to first order, of making the bin louder or softer. It needs no picture inside the classifier.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xaibench.errors import ExplanationError
from xaibench.sound.batch import Batch

from ._captum import INTERNAL_BATCH, TargetScore

# Where the score equals that of silence within this share of its rise, fading out further changes nothing.
FADED = 1e-3
_LOWEST_DB = -160.0  # a whole clip at -160 dB is below the last bit of any recording
_SEARCH_DB = 10.0


def gain_gradient(score: TargetScore, batch: Batch, target: Tensor, gains: Tensor | None = None) -> Tensor:
    """Compute m d f / d m of every bin, (batch, freq, time).

    Args:
        score: f.
        batch: clips that the classifier hears.
        target: class indices (batch,).
        gains: m, one for all bins of a clip, (batch,); 1 by default.
    """
    parts = []
    for start in range(0, len(batch), INTERNAL_BATCH):
        piece = batch.slice(start, start + INTERNAL_BATCH)
        magnitude = torch.expm1(piece.x)
        if gains is not None:
            magnitude = magnitude * gains[start : start + INTERNAL_BATCH, None, None].to(magnitude)
        x = torch.log1p(magnitude).requires_grad_()
        with torch.enable_grad():
            chosen = score(x, piece.phase).gather(1, target[start : start + INTERNAL_BATCH, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, x)
        parts.append(_along_gains(magnitude, gradient))
    return torch.cat(parts)


def along_input(x: Tensor, slope: Tensor, reads: bool) -> Tensor:
    """Multiply a gradient by the picture where that is read, and turn it to the gains of its bins where it is heard.

    Args:
        x: pictures (batch, freq, time).
        slope: the gradient with respect to them.
        reads: whether the classifier reads pictures.
    """
    return x * slope if reads else _along_gains(torch.expm1(x), slope)


def _along_gains(magnitude: Tensor, slope: Tensor) -> Tensor:
    return slope * magnitude / (1 + magnitude)  # d f / d magnitude = d f / d x / (1 + magnitude)


def integrated_gain_gradients(score: TargetScore, batch: Batch, target: Tensor, steps: int) -> Tensor:
    """Integrate the gain's gradient while each clip is faded in from silence, (batch, freq, time).

    The path is s w, the clip w at all loudnesses from silence to its own, so that the sum over the bins is the rise
    of the score (Sundararajan et al., proposition 1). Nodes are spaced evenly in dB, down to where the score equals
    that of silence: what a network hears changes by the decibel, and most of a linear path is spent where nothing
    happens.

    Args:
        score: the function that is attributed.
        batch: clips that the classifier hears.
        target: class indices (batch,).
        steps: nodes of the trapezoid rule.
    """
    maps = []
    for i in range(len(batch)):
        clip, c = batch.slice(i, i + 1), target[i : i + 1]
        every, weights = fading(score, clip, c, steps)
        total = torch.zeros_like(clip.x)
        for gains, share in zip(every.split(INTERNAL_BATCH), weights.split(INTERNAL_BATCH), strict=True):
            many = Batch(
                clip.x.expand(len(gains), -1, -1),
                clip.clip_ids * len(gains),
                clip.seed,
                phase=None if clip.phase is None else clip.phase.expand(len(gains), -1, -1),
            )
            found = gain_gradient(score, many, c.expand(len(gains)), gains)
            total += (found * share.to(found)[:, None, None]).sum(dim=0)
        maps.append(total)
    return torch.cat(maps)


def fading(score: TargetScore, clip: Batch, target: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return the gains at which one clip is heard as it is faded in, and the weights of the trapezoid rule in ln gain.

    Both are float64 (steps,).

    Args:
        score: the function that is integrated.
        clip: that the classifier hears.
        target: class index (1,).
        steps: how many gains.

    Raises:
        ExplanationError: one step, which nothing can be integrated along.
    """
    if steps < 2:
        raise ExplanationError("one step is no path from silence to the clip; take 2 or more, such as 32")
    decibels = torch.linspace(_faded_out(score, clip, target), 0.0, steps, dtype=torch.float64)
    width = math.log(10) / 20 * (decibels[1] - decibels[0])
    weights = torch.full((steps,), float(width), dtype=torch.float64)
    weights[0] = weights[-1] = float(width) / 2
    return 10 ** (decibels / 20), weights


@torch.no_grad()
def _faded_out(score: TargetScore, clip: Batch, target: Tensor) -> float:
    """Find the level in dB below which one clip's score hardly differs from that of silence."""
    magnitude = torch.expm1(clip.x)
    levels = torch.arange(-_SEARCH_DB, _LOWEST_DB - 1, -_SEARCH_DB)
    silence = float(score(torch.zeros_like(clip.x), clip.phase)[0, target])
    rise = abs(float(score(clip.x, clip.phase)[0, target]) - silence)
    lowest = 0.0
    for level in levels.tolist():
        lowest = level
        faded = torch.log1p(magnitude * 10 ** (level / 20))
        if abs(float(score(faded, clip.phase)[0, target]) - silence) <= FADED * rise:
            break
    return lowest
