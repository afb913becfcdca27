"""One clip explained: spectrogram, importance map and mask, at the size a paper prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from xaibench.audio import CLIP_SECONDS, SAMPLE_RATE

_EXTENT = (0.0, CLIP_SECONDS, 0.0, SAMPLE_RATE / 2000)
_DECIBEL_RANGE = 80.0


@dataclass(frozen=True)
class Panel:
    """One method's row.

    Attributes:
        title: of the method.
        importance: non-negative (freq, time).
        mask: bool (freq, time).
        p_kept, p_removed: probability of the explained class for the two parts.
    """

    title: str
    importance: np.ndarray
    mask: np.ndarray
    p_kept: float
    p_removed: float


def draw(path: Path, spectrogram: np.ndarray, panels: Sequence[Panel], heading: str, area: float) -> None:
    """Write the figure; the file's ending chooses the format.

    Args:
        path: where to write.
        spectrogram: log1p magnitudes (freq, time).
        panels: one row each.
        heading: what was classified as what; the class is the figure's c.
        area: share of bins in the masks.
    """
    decibel = 20 * np.log10(np.maximum(np.expm1(spectrogram), 1e-5))
    top = decibel.max()
    rows = len(panels)
    with plt.rc_context({"font.size": 8, "axes.titlesize": 8, "axes.linewidth": 0.6}):
        figure, axes = plt.subplots(
            rows, 3, figsize=(7.2, 1.0 + 1.65 * rows), sharex=True, sharey=True, squeeze=False, layout="constrained"
        )
        figure.suptitle(heading, fontsize=9)
        for row, (panel, (left, middle, right)) in enumerate(zip(panels, axes, strict=True)):
            common = {"origin": "lower", "aspect": "auto", "extent": _EXTENT, "rasterized": True}
            sound = left.imshow(decibel, cmap="magma", vmin=top - _DECIBEL_RANGE, vmax=top, **common)
            ceiling = max(float(np.quantile(panel.importance, 0.999)), 1e-30)
            shown = np.clip(panel.importance / ceiling, 0, 1)
            weight = middle.imshow(shown, cmap="cividis", vmin=0, vmax=1, **common)
            right.imshow(
                np.where(panel.mask, decibel, np.nan), cmap="magma", vmin=top - _DECIBEL_RANGE, vmax=top, **common
            )
            right.set_facecolor("0.88")
            left.set_ylabel("Frequency (kHz)")
            left.set_title("Spectrogram" if row == 0 else "")
            middle.set_title(f"Importance: {panel.title}")
            right.set_title(
                f"Top {100 * area:g}%: $p_c$ kept {panel.p_kept:.2f}, removed {panel.p_removed:.2f}", fontsize=7.5
            )
        bars: dict[str, Any] = {"location": "bottom", "aspect": 30, "pad": 0.02, "shrink": 0.9}
        figure.colorbar(sound, ax=axes[:, 0], label="Magnitude (dB)", **bars)
        figure.colorbar(weight, ax=axes[:, 1], label="Importance (of the map's 99.9% quantile)", **bars)
        figure.colorbar(sound, ax=axes[:, 2], label="Magnitude (dB)", **bars)
        for axis in axes[-1]:
            axis.set_xlabel("Time (s)")
        figure.savefig(path, dpi=200)
        plt.close(figure)
