"""A slow STFT and its least-squares inverse, frame by frame, and what metrics read of the sound of a masked picture."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Lengths in samples: of the transform, of the window (even), and between frames."""

    n_fft: int
    window: int
    hop: int

    def weights(self) -> list[float]:
        """A periodic Hamming window."""
        return [0.54 - 0.46 * math.cos(2 * math.pi * n / self.window) for n in range(self.window)]

    def positions(self, frame: int) -> list[int]:
        """Where the samples under the window of a frame are in the sound; some are beyond its ends."""
        return [frame * self.hop - self.window // 2 + n for n in range(self.window)]

    def angle(self, frequency: int, n: int) -> float:
        """2 pi f (place of sample n of the window in the transform) / n_fft."""
        return 2 * math.pi * frequency * (n + (self.n_fft - self.window) // 2) / self.n_fft


Coefficients = list[list[complex]]  # [frequency][frame]


def stft(sound: Sequence[float], shape: Geometry) -> Coefficients:
    """X[f][t] = sum over n of w(n) x(n) exp(-i angle), the sound being 0 beyond its ends."""
    found: Coefficients = [[] for _ in range(shape.n_fft // 2 + 1)]
    for frame in range(len(sound) // shape.hop + 1):
        values = [sound[at] if 0 <= at < len(sound) else 0.0 for at in shape.positions(frame)]
        for frequency, row in enumerate(found):
            terms = zip(shape.weights(), values, strict=True)
            row.append(sum(w * v * cmath.exp(-1j * shape.angle(frequency, n)) for n, (w, v) in enumerate(terms)))
    return found


def istft(coefficients: Coefficients, samples: int, shape: Geometry) -> list[float]:
    """Griffin and Lim (1984), equation 6: sum over t of w(n) y_t(n), divided by the sum over t of w(n)^2."""
    above, below = [0.0] * samples, [0.0] * samples
    last = len(coefficients) - 1
    for frame in range(len(coefficients[0])):
        for n, (weight, at) in enumerate(zip(shape.weights(), shape.positions(frame), strict=True)):
            if not 0 <= at < samples:
                continue
            value = 0.0
            for frequency, row in enumerate(coefficients):
                # The mirror at the negative frequency has the conjugate; 0 and half the rate have none.
                count = 1 if frequency in (0, last) else 2
                value += count * (row[frame] * cmath.exp(1j * shape.angle(frequency, n))).real / shape.n_fft
            above[at] += weight * value
            below[at] += weight**2
    return [a / b for a, b in zip(above, below, strict=True)]


def times(mask: Sequence[Sequence[float]], coefficients: Coefficients) -> Coefficients:
    """M X, bin by bin."""
    return [[m * x for m, x in zip(a, b, strict=True)] for a, b in zip(mask, coefficients, strict=True)]


def energy_removed(sound: Sequence[float], mask: Sequence[Sequence[float]], shape: Geometry) -> float:
    """1 - ||removed||^2 / ||x||^2."""
    rest = [[1 - m for m in row] for row in mask]
    removed = istft(times(rest, stft(sound, shape)), len(sound), shape)
    return 1 - math.fsum(v * v for v in removed) / math.fsum(v * v for v in sound)


def mask_inconsistency(sound: Sequence[float], mask: Sequence[Sequence[float]], shape: Geometry) -> float:
    """||STFT(y) - M X|| / ||M X||, y the kept part."""
    kept = times(mask, stft(sound, shape))
    again = stft(istft(kept, len(sound), shape), shape)
    pairs = [(a, b) for row, wanted in zip(again, kept, strict=True) for a, b in zip(row, wanted, strict=True)]
    return math.sqrt(math.fsum(abs(a - b) ** 2 for a, b in pairs) / math.fsum(abs(b) ** 2 for _, b in pairs))


REFERENCES: dict[str, Callable[..., float]] = {
    "energy_removed": energy_removed,
    "mask_inconsistency": mask_inconsistency,
}
