"""Names of learned concepts, from measurements of the sound where they are active.

A concept is measured on every clip in which it is more true than not: on its core, the fewest places that hold four
fifths of its truth. What is kept is the median over these clips.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MEASURES = ("low", "high", "seconds", "runs", "flatness", "glide", "clips")
_QUANTILES = (0.1, 0.9)
_BURST, _STEADY = 0.7, 2.5  # s: not longer than, at least
_REPEATED = 3  # separate stretches of time
_TONE = 0.3  # spectral flatness of less; that of white noise is 0.56
_NARROW = 200.0  # Hz: about as wide as the window makes a sine, whose spectrum has no flatness worth asking for
_GLIDE = 0.5  # octaves per second
_LOWEST, _HIGHEST = 120.0, 6500.0  # Hz: a range that begins below, or ends above, has no end worth naming


_CORE = 0.8


def core(shares: Tensor) -> Tensor:
    """Mark the fewest places that hold four fifths of a concept's truth: 1 in them, 0 elsewhere, (h, w).

    Args:
        shares: what each place adds to the truth, (h, w).
    """
    ordered = shares.flatten().sort(descending=True).values
    last = int((ordered.cumsum(0) < _CORE * ordered.sum()).sum().clamp(max=len(ordered) - 1))
    return (shares >= ordered[last]).float()


def measure(magnitude: Tensor, activity: Tensor, frequencies: Tensor, hop: float) -> list[float]:
    """Measure the sound of one clip where one concept is active.

    Args:
        magnitude: of the clip, linear (freq, time).
        activity: the core of the concept on the picture, (freq, time); what is at least half of its maximum counts.
        frequencies: of the rows, in Hz.
        hop: seconds from one column to the next.

    Returns:
        Frequencies in Hz below which lie 10% and 90% of the magnitude there; the longest stretch of time in s; the
        number of stretches; the spectral flatness between the two frequencies; the slope of the mean pitch in octaves
        per second.
    """
    region = activity >= activity.max() / 2
    inside = magnitude * region
    spectrum = inside.sum(dim=1)
    share = spectrum.cumsum(0) / spectrum.sum().clamp(min=1e-12)
    low, high = (int((share < quantile).sum().clamp(max=len(share) - 1)) for quantile in _QUANTILES)
    lengths = _runs(region.any(dim=0))
    band = magnitude[low : high + 1].square()[:, region.any(dim=0)] + 1e-12  # also where the concept is not active
    flatness = (band.log().mean(dim=0).exp() / band.mean(dim=0)).median()
    return [
        float(frequencies[low]),
        float(frequencies[high]),
        max(lengths) * hop,
        float(len(lengths)),
        float(flatness),
        _glide(inside.square(), frequencies, hop),
    ]


def _runs(active: Tensor) -> list[int]:
    """Lengths of the stretches of True, at least one frame."""
    edges = torch.diff(active.int(), prepend=active.new_zeros(1).int(), append=active.new_zeros(1).int())
    starts, ends = (torch.nonzero(edges == sign)[:, 0] for sign in (1, -1))
    return (ends - starts).tolist() or [1]


def _glide(power: Tensor, frequencies: Tensor, hop: float) -> float:
    """Slope of the mean pitch over time, weighted by power, in octaves per second."""
    octave = frequencies.to(power).clamp(min=1).log2()[:, None]
    weight = power.sum(dim=0)
    if not weight.sum() > 0:
        return 0.0
    pitch = (power * octave).sum(dim=0) / weight.clamp(min=1e-12)
    time = torch.arange(power.shape[1], device=power.device) * hop
    middle, mean = (time * weight).sum() / weight.sum(), (pitch * weight).sum() / weight.sum()
    spread = (weight * (time - middle) ** 2).sum().clamp(min=1e-12)
    return float((weight * (time - middle) * (pitch - mean)).sum() / spread)


def names(measured: Tensor) -> tuple[str, ...]:
    """Name concepts by their measurements (concepts, 7), in the order of `MEASURES`; equal names are numbered.

    A concept that was never true, or is not measured yet, is called by its number.
    """
    rows = [dict(zip(MEASURES, row, strict=True)) for row in measured.tolist()]
    found = [_name(row) or f"concept {i + 1}" for i, row in enumerate(rows)]
    return tuple(
        f"{name} #{found[:i].count(name) + 1}" if found.count(name) > 1 else name for i, name in enumerate(found)
    )


def _name(measured: dict[str, float]) -> str:
    if not measured["clips"]:
        return ""
    moving = "" if abs(measured["glide"]) < _GLIDE else "rising " if measured["glide"] > 0 else "falling "
    pitched = measured["flatness"] < _TONE or measured["high"] - measured["low"] < _NARROW
    kind = moving + ("tone" if pitched else "noise")
    if measured["runs"] >= _REPEATED:
        kind = f"repeated {kind}"
    elif measured["seconds"] >= _STEADY:
        kind = f"steady {kind}"
    elif measured["seconds"] <= _BURST:
        kind = f"burst of {kind}"
    return f"{kind} {_range(measured['low'], measured['high'])}"


def _range(low: float, high: float) -> str:
    if low < _LOWEST and high > _HIGHEST:
        return "at all frequencies"
    if low < _LOWEST:
        return f"below {_kilohertz(high)} kHz"
    if high > _HIGHEST:
        return f"above {_kilohertz(low)} kHz"
    return f"{_kilohertz(low)}-{_kilohertz(high)} kHz"


def _kilohertz(hertz: float) -> str:
    """Write a frequency with two significant digits."""
    digits = 1 - math.floor(math.log10(max(hertz, 1) / 1000))
    return f"{round(hertz / 1000, digits):g}"
