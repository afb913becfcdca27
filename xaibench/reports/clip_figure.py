"""Explained clips: spectrogram, importance maps and masks, at the size a paper prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

from xaibench.reports import style
from xaibench.scoring.one_clip import Illustrated, Panel, Shares

_DECIBEL_RANGE = 80.0
_COLUMN = 1.2  # inches: at least so wide are panels side by side
# For panels side by side, which are too narrow for type of the usual size.
_SMALL: Any = {
    **dict.fromkeys(("font.size", "axes.titlesize"), style.NOTE_SIZE),
    **dict.fromkeys(("axes.labelsize", "xtick.labelsize", "ytick.labelsize"), style.NAME_SIZE),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2),
    **dict.fromkeys(("xtick.major.pad", "ytick.major.pad", "axes.labelpad"), 1.5),
}


@style.paper("ticks")
def rows(clip: Illustrated, area: float) -> Figure:
    """Draw one clip explained by methods of one classifier, a row each.

    Args:
        clip: with at least one panel.
        area: share of bins in the masks.
    """
    panels = clip.panels
    figure = style.new_figure(style.WIDTH, 1.0 + 1.65 * len(panels), style.PICTURE_DPI)
    axes = figure.subplots(len(panels), 3, sharex=True, sharey=True, squeeze=False)
    first = panels[0]
    verdict = f"{clip.name}: {first.pair.loaded.label} says {first.predicted}"
    figure.suptitle(f"{_plain(verdict)} ($p_c$ = {first.p_full:.2f})")
    for row, (panel, (left, middle, right)) in enumerate(zip(panels, axes, strict=True)):
        sound = _show_sound(left, clip)
        weight = _show_map(middle, clip, panel)
        _show_sound(right, clip, panel.mask)
        left.set_ylabel("Frequency (kHz)")
        left.set_title("Spectrogram" if row == 0 else "")
        if panel.soft is None:
            middle.set_title(f"Importance: {panel.pair.explainer.title}")
        else:
            middle.set_title(f"{panel.pair.explainer.title}, a mask: {_soft(panel)}\n$p_c$ {_said(panel.soft)}")
        right.set_title(f"Top {100 * area:g}%: $p_c$ {_said(panel.top)}")
    bars: dict[str, Any] = {"location": "bottom", "aspect": 30, "pad": 0.02, "shrink": 0.9}
    figure.colorbar(sound, ax=axes[:, 0], label="Magnitude (dB)", **bars)
    figure.colorbar(weight, ax=axes[:, 1], label="Importance (of the map's 99.9% quantile)", **bars)
    figure.colorbar(sound, ax=axes[:, 2], label="Magnitude (dB)", **bars)
    for axis in axes[-1]:
        axis.set_xlabel("Time (s)")
    return figure


@style.paper("ticks")
@mpl.rc_context(_SMALL)
def side_by_side(clips: Sequence[Illustrated], area: float) -> Figure:
    """Draw clips below each other, the pairs of method and classifier beside each other.

    Every clip has two rows: the maps, and what their top bins keep of the sound.

    Args:
        clips: of the same pairs.
        area: share of bins in the masks.
    """
    columns = 1 + len(clips[0].panels)
    heights = [2.5] * len(clips) + [0.42]
    figure = style.new_figure(max(style.WIDTH, _COLUMN * columns), sum(heights), style.PICTURE_DPI)
    figure.set_layout_engine("constrained", w_pad=0.015, h_pad=0.015, wspace=0.0, hspace=0.02)
    blocks: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    for block, clip in zip(blocks[:-1], clips, strict=True):
        sound, weight = _draw_block(block, clip, columns, area)
    bars = blocks[-1].subplots(1, 5, width_ratios=[1, 8, 2, 8, 1])
    for axis in bars[::2]:
        axis.set_axis_off()
    label = "Importance, soft mask (of the map's 99.9% quantile)"
    figure.colorbar(sound, cax=bars[1], orientation="horizontal", label="Magnitude (dB below the clip's maximum)")
    figure.colorbar(weight, cax=bars[3], orientation="horizontal", label=label)
    return figure


def _draw_block(block: SubFigure, clip: Illustrated, columns: int, area: float) -> tuple[AxesImage, AxesImage]:
    """Draw one clip; return the pictures whose scales the colour bars show."""
    block.suptitle(_plain(f"{clip.name}: {verdict(clip.panels)}"), weight="bold")
    (upper, lower) = block.subplots(2, columns, sharex=True, sharey=True)
    sound = _show_sound(upper[0], clip, relative=True)
    upper[0].set_title("Spectrogram")
    upper[0].set_ylabel("Frequency (kHz)")
    upper[0].set_xlabel("Time (s)")
    upper[0].xaxis.set_tick_params(labelbottom=True)
    lower[0].set_axis_off()
    text = (
        "Below each: $p_c$ of the\nsound that a mask keeps,\nand of the clip without it.\n"
        + "Upper row: the method's\nown mask, if it has one.\n" * any(panel.soft for panel in clip.panels)
        + f"Lower row: the top {100 * area:g}%\nof the bins."
    )
    lower[0].text(0.5, 0.5, text, transform=lower[0].transAxes, ha="center", va="center", fontsize=style.NAME_SIZE)
    for panel, above, below in zip(clip.panels, upper[1:], lower[1:], strict=True):
        weight = _show_map(above, clip, panel)
        above.set_title(f"{panel.pair.explainer.title}\n{panel.pair.loaded.label}")
        if panel.soft is not None:
            above.set_xlabel(f"{_soft(panel)}\n{_said(panel.soft)}")
        _show_sound(below, clip, panel.mask, relative=True)
        below.set_xlabel(_said(panel.top))
    return sound, weight


def verdict(panels: Sequence[Panel]) -> str:
    """Write what each classifier says: "dog (cnn-micro 0.98, vit-micro 1.00)"."""
    said: dict[str, dict[str, float]] = {}
    for panel in panels:
        said.setdefault(panel.predicted, {})[panel.pair.loaded.label] = panel.p_full
    classes = (f"{name} ({', '.join(f'{who} {p:.2f}' for who, p in whom.items())})" for name, whom in said.items())
    return "; ".join(classes)


def _decibel(clip: Illustrated) -> np.ndarray:
    """Convert the spectrogram (freq, time) from log1p magnitudes to dB."""
    return 20 * np.log10(np.maximum(np.expm1(clip.spectrogram), 1e-5))


def _show_sound(axis: Axes, clip: Illustrated, kept: np.ndarray | None = None, relative: bool = False) -> AxesImage:
    """Show a spectrogram, or what a mask keeps of it on grey; relative to its maximum if asked."""
    decibel = _decibel(clip)
    decibel = decibel - decibel.max() if relative else decibel
    axis.set_facecolor("0.88")
    shown = decibel if kept is None else np.where(kept, decibel, np.nan)
    return _show(axis, clip, shown, cmap="magma", vmin=decibel.max() - _DECIBEL_RANGE, vmax=decibel.max())


def _show_map(axis: Axes, clip: Illustrated, panel: Panel) -> AxesImage:
    """Show a map or soft mask on a scale of its own, so that the shape of faint masks is seen too."""
    ceiling = max(float(np.quantile(panel.importance, 0.999)), 1e-30)
    return _show(axis, clip, np.clip(panel.importance / ceiling, 0, 1), cmap="cividis", vmin=0, vmax=1)


def _show(axis: Axes, clip: Illustrated, image: np.ndarray, **scale: Any) -> AxesImage:
    extent = (0.0, len(clip.waveform) / clip.sample_rate, 0.0, clip.sample_rate / 2000)
    shown = axis.imshow(image, origin="lower", aspect="auto", extent=extent, rasterized=True, **scale)
    axis.locator_params(nbins=4)
    return shown


def _said(shares: Shares) -> str:
    return f"kept {shares.p_kept:.2f}, without {shares.p_removed:.2f}"


def _soft(panel: Panel) -> str:
    """Write how large a soft mask is: its mean, which is its area, and its highest value."""
    area = panel.soft.area if panel.soft else np.nan
    return f"mean {area:.2f}, max {panel.importance.max():.2f}"


def _plain(text: str) -> str:
    """Escape dollars, which would begin mathematics."""
    return text.replace("$", r"\$")
