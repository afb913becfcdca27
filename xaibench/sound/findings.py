"""What is odd about the sound of a clip: it is truncated, short, silent, clipped. Each is told when a clip is read."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Half a step of 16 bits: what is below is digital silence, or the dither and the codec's noise around it.
SILENCE = 2.0**-15
# The sparsest clip of ESC-50 (2,000 clips, as Vorbis) sounds for 0.34 s, and is zeros else. A tenth of a second is
# nine of 431 frames, too few for a score that means something.
LEAST_SOUND_SECONDS = 0.1
# 99% of the energy is lost. Channels that have nothing in common lose half of it.
LEAST_SHARE_AFTER_MIXING = 0.01
# Genuine clips touch full scale: 38 clips of ESC-50 with more than 1% of their samples, the worst with 7.3%. A full
# sine is there for 3% of its samples, and one whose level was 0.1 dB too high for 10%.
FULL_SCALE = 0.999
MOST_CLIPPED = 0.1
# Vorbis overshoots full scale by up to 1.37 on ESC-50; twice full scale is no rounding of a codec, but another scale.
LOUD = 2.0

LISTED_NAMES = 3


class Kind(enum.StrEnum):
    """What can be odd about a clip."""

    truncated = "truncated"
    short = "short"
    long = "long"
    silent = "silent"
    opposite = "opposite"
    clipped = "clipped"
    loud = "loud"

    @property
    def description(self) -> str:
        """What it means for a score, as the end of "3 of 80 clips are ..."."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Kind.truncated: "truncated (the file ends before the sound that its header promises)",
    Kind.short: "shorter than the clips of this dataset are (the rest is taken as silence)",
    Kind.long: "longer than the clips of this dataset are (only the beginning is taken)",
    Kind.silent: "silent, or nearly so",
    Kind.opposite: "in opposite phase (their channels cancel when mixed to one)",
    Kind.clipped: f"clipped (more than {MOST_CLIPPED:.0%} of the samples are at full scale)",
    Kind.loud: f"too loud (samples beyond {LOUD:g} times full scale, which are cut to it)",
}


@dataclass(frozen=True)
class Finding:
    """One odd thing about a clip.

    Attributes:
        kind: what it is.
        text: with its numbers, as the end of "clip.wav ...".
    """

    kind: Kind
    text: str


def of_sound(samples: np.ndarray, rate: int) -> tuple[Finding, ...]:
    """Tell what is odd about the part of a sound that is used.

    Args:
        samples: finite float32 (samples, channels), at least one sample; full scale is 1.
        rate: sample rate in Hz.
    """
    found = []
    mono = samples.mean(axis=1, dtype=np.float32)
    size = np.abs(samples)
    peak = float(size.max())
    sounding = _sounding(mono)
    if _share_after_mixing(samples, mono) < LEAST_SHARE_AFTER_MIXING:
        found.append(Finding(Kind.opposite, "has channels in opposite phase, which cancel when they are mixed to one"))
    elif sounding == 0:
        found.append(Finding(Kind.silent, "is silent"))
    # A short sound is not silent for that; it is if it is silent for the most part besides.
    elif sounding < min(LEAST_SOUND_SECONDS * rate, len(samples) / 2):
        found.append(Finding(Kind.silent, f"is silent but for {1000 * sounding / rate:.3g} ms"))
    at_full_scale = float((size >= FULL_SCALE).mean())
    if peak > LOUD:
        found.append(Finding(Kind.loud, f"has samples up to {peak:.3g}; full scale is 1"))
    elif at_full_scale > MOST_CLIPPED:
        found.append(Finding(Kind.clipped, f"is clipped: {at_full_scale:.0%} of its samples are at full scale"))
    return tuple(found)


def _sounding(mono: np.ndarray) -> int:
    """Count the samples that differ from silence, or from a constant offset, which is silence as well."""
    return int((np.abs(mono - np.median(mono)) > SILENCE).sum())


def _share_after_mixing(samples: np.ndarray, mono: np.ndarray) -> float:
    """Return the share of the channels' energy that is left after mixing; 1 where there was none."""
    before = float(np.square(samples, dtype=np.float64).mean())
    return float(np.square(mono, dtype=np.float64).mean()) / before if before > SILENCE**2 else 1.0


def sentences(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Say once per kind of how many clips it is true, and name the first.

    Args:
        found: findings by the name of their clip; none where nothing is odd.
    """
    said = []
    for kind in Kind:
        names = [name for name, findings in found.items() if any(finding.kind is kind for finding in findings)]
        if names:
            more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
            count = f"{len(names)} of {len(found)} clip{'s' * (len(found) > 1)} {'is' if len(names) == 1 else 'are'}"
            said.append(f"{count} {kind.description}: {', '.join(names[:LISTED_NAMES])}{more}")
    return said
