"""Slow, independent re-derivation of fills, with numpy and loops over frames: one clip, from its samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Geometry(NamedTuple):
    """Of the STFT, in samples: hop is half of the window or less."""

    n_fft: int
    window: int
    hop: int


AUDIBLE = 2.0**-15


def frames(sound: np.ndarray, geometry: Geometry) -> list[tuple[int, int]]:
    """First and last sample + 1 of each frame's window, within the sound."""
    half = geometry.window // 2
    centres = range(0, len(sound) + 1, geometry.hop)
    return [(max(0, centre - half), min(len(sound), centre + half)) for centre in centres]


def heard(sound: np.ndarray, geometry: Geometry) -> list[bool]:
    return [any(abs(value) > AUDIBLE for value in sound[start:stop]) for start, stop in frames(sound, geometry)]


def mean_power(sound: np.ndarray, geometry: Geometry) -> np.ndarray:
    """|STFT|^2, averaged over the frames that are not silent, (freq,)."""
    half = geometry.window // 2
    taper = [0.54 - 0.46 * math.cos(2 * math.pi * n / geometry.window) for n in range(geometry.window)]
    powers = []
    for frame, audible in enumerate(heard(sound, geometry)):
        if audible:
            centre = frame * geometry.hop
            piece = [
                taper[n] * sound[centre - half + n] if 0 <= centre - half + n < len(sound) else 0.0
                for n in range(geometry.window)
            ]
            powers.append(np.abs(np.fft.fft(piece, geometry.n_fft)[: geometry.n_fft // 2 + 1]) ** 2)
    return np.mean(powers, axis=0)


def noise(sound: np.ndarray, white: np.ndarray, geometry: Geometry) -> np.ndarray:
    """White noise with the energy of the clip, and silence in the window of every silent frame."""
    mine, theirs = white.astype(float).copy(), sound.astype(float).copy()
    for (start, stop), audible in zip(frames(sound, geometry), heard(sound, geometry), strict=True):
        if not audible:
            mine[start:stop] = theirs[start:stop] = 0.0
    energy = math.fsum(value**2 for value in theirs)
    return mine * math.sqrt(energy / math.fsum(value**2 for value in mine))


def mean(sound: np.ndarray, white: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The same of a noise that was filtered to the mean power of the clip, interpolated between the frequencies."""
    power = mean_power(sound, geometry)
    spectrum = np.fft.fft(white)
    shaped = np.zeros_like(spectrum)
    count = len(white) // 2
    for k in range(len(white)):
        distance = min(k, len(white) - k) / count * (len(power) - 1)
        low = min(int(distance), len(power) - 2)
        between = power[low] + (distance - low) * (power[low + 1] - power[low])
        shaped[k] = spectrum[k] * math.sqrt(between)
    return noise(sound, np.fft.ifft(shaped).real, geometry)


REFERENCES = {"noise": noise, "mean": mean}
