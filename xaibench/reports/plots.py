"""Figures of a comparison: all metrics at a glance, the clips behind a mean, mask areas, and what faith costs.

Drawn without pyplot, so no window system is ever asked for; each as a vector PDF and a PNG.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from xaibench.reports.curves import curves, has_curves
from xaibench.reports.leaderboard import SORT_METRIC, method_order, metric_heading, metric_order
from xaibench.reports.tables import DAGGER, UNPROVEN
from xaibench.results.comparison import BASELINE, at_equal_area, at_primary_area, metric_class

WIDTH = 7.2  # inches: the text width of a two-column paper
DPI = 200
CONTROL_COLOUR = "0.55"
_STYLE = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "pdf.fonttype": 42,  # text stays text in the PDF
}
_MARKERS = "osD^vPX*"
_LABEL_SIZE = 6


def write_plots(
    runs_rows: pd.DataFrame, comparison: pd.DataFrame, folder: Path, unproven: Collection[str] = ()
) -> list[Path]:
    """Write heatmap-, distribution-, cost-DATASET and curves-DATASET-CLASSIFIER as .png and .pdf; returns their paths.

    Args:
        runs_rows: per-clip rows of the runs that were compared (`results.read_rows`).
        comparison: what `comparison.compare` made of these runs; soft masks, of other areas, are left out.
        folder: made if missing.
        unproven: metrics to mark (`leaderboard.unproven_metrics`).

    Returns:
        The files; distribution and cost are left out for a dataset without SORT_METRIC, curves for a
        classifier without a metric at several areas.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    comparison = at_equal_area(comparison)
    for dataset in sorted(set(comparison["dataset"])):
        lines = at_primary_area(comparison[comparison["dataset"] == dataset])
        rows = at_primary_area(runs_rows[(runs_rows["dataset"] == dataset) & (runs_rows["metric"] == SORT_METRIC)])
        every_area = comparison[comparison["dataset"] == dataset]
        with mpl.rc_context(paper_style()):
            figures = {f"heatmap-{dataset}": heatmap(lines, unproven)}
            if lines.loc[lines["metric"] == SORT_METRIC, "mean"].notna().any():
                figures[f"distribution-{dataset}"] = distribution(rows, lines)
                figures[f"cost-{dataset}"] = cost(lines)
            for classifier, own in every_area.groupby("classifier", sort=True):
                if has_curves(own):
                    figures[f"curves-{dataset}-{classifier}"] = curves(every_area, str(classifier))
            for name, figure in figures.items():
                written += save(figure, folder / name)
    return written


def paper_style() -> Any:
    """Matplotlib's settings for all figures of a paper."""
    return sns.axes_style("whitegrid") | sns.plotting_context("paper") | _STYLE


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as `path`.png and .pdf, the same bytes each time."""
    written = []
    for suffix, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
        written.append(path.with_name(f"{path.name}.{suffix}"))
        figure.savefig(written[-1], dpi=DPI, metadata=metadata)
    return written


def heatmap(lines: pd.DataFrame, unproven: Collection[str] = ()) -> Figure:
    """Methods by metrics, a panel per classifier: colour is the place among a metric's methods, text the mean."""
    classifiers = sorted(set(lines["classifier"]))
    metrics = metric_order(set(lines["metric"]))
    panels = {name: lines[lines["classifier"] == name] for name in classifiers}
    heights = [panel["method"].nunique() for panel in panels.values()]
    figure = _figure(min(WIDTH, 1.6 + 0.44 * len(metrics)), 0.155 * sum(heights) + 0.45 * len(heights) + 0.5)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (classifier, panel) in zip(axes, panels.items(), strict=True):
        methods = method_order(panel)
        by_name = panel.set_index(["method", "metric"])
        cells = pd.MultiIndex.from_product([methods, metrics])
        shape = (len(methods), len(metrics))
        ranks = pd.DataFrame(by_name["rank"].astype(float).reindex(cells).to_numpy().reshape(shape), index=methods)
        # 1 is best and 0 is last, whichever direction is better; equal means share the middle of their places.
        places = ranks.rank().sub(1).div((ranks.count() - 1).clip(lower=1)).rsub(1)
        weak = (by_name["better_than_random"] == False).fillna(False).reindex(cells, fill_value=False)  # noqa: E712
        texts = [
            "" if np.isnan(mean) else _three_digits(mean) + DAGGER * bool(mark)
            for mean, mark in zip(by_name["mean"].reindex(cells), weak, strict=True)
        ]
        sns.heatmap(
            places.set_axis([metric_heading(name, unproven).replace(" ", "\n") for name in metrics], axis=1),
            ax=axis,
            annot=np.array(texts).reshape(shape),
            fmt="",
            annot_kws={"size": 6},
            cmap=sns.light_palette("#08519c", as_cmap=True),
            vmin=0,
            vmax=1,
            cbar=False,
            linewidths=0.4,
        )
        axis.set_facecolor("0.93")
        axis.set_title(classifier, loc="left", weight="bold", pad=22 if axis is axes[0] else 4)
        axis.set(xlabel="", ylabel="")
        axis.tick_params(length=0, labeltop=axis is axes[0], labelbottom=False, pad=1)
        axis.set_yticks(np.arange(len(methods)) + 0.5, methods, rotation=0)
        _set_controls_apart(axis, panel, methods)
        split = sum(method not in _controls(panel) for method in methods)
        axis.axhline(split, color="white", linewidth=4)
        for text in axis.texts:
            x, y = text.get_position()
            text.set_color("white" if float(places.to_numpy()[int(y), int(x)]) > 0.6 else "0.1")
    bar = figure.colorbar(axes[0].collections[0], ax=list(axes), shrink=0.35, aspect=28, pad=0.015)
    bar.set_ticks([0, 1], labels=["last of\nmetric", "best of\nmetric"])
    bar.outline.set_visible(False)
    note = f"{DAGGER} not significantly better than {BASELINE}"
    if set(metrics) & set(unproven):
        note += f"; {UNPROVEN} did not order maps of known quality as it must"
    figure.supxlabel(note, x=0.01, ha="left", size=6.5, color="0.3")
    return figure


def distribution(rows: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """Per-clip values of SORT_METRIC, a panel per classifier: quartiles, clips, mean with its interval."""
    lines = lines[lines["metric"] == SORT_METRIC]
    classifiers = sorted(set(lines["classifier"]))
    methods = method_order(lines)
    figure = _figure(WIDTH, 0.19 * len(methods) + 0.75)
    axes = figure.subplots(1, len(classifiers), squeeze=False, sharex=True, sharey=True)[0]
    for index, (axis, classifier) in enumerate(zip(axes, classifiers, strict=True)):
        panel = lines[lines["classifier"] == classifier].set_index("method").reindex(methods)
        clips = rows[rows["classifier"] == classifier].dropna(subset="value").sort_values(["method", "clip"])
        colour = _colour(index)
        if BASELINE in panel.index and not np.isnan(panel.at[BASELINE, "mean"]):
            line = panel.loc[BASELINE]
            axis.axvline(line["mean"], color=CONTROL_COLOUR, linewidth=0.9, linestyle="--", zorder=0.5)
            axis.axvspan(line["low"], line["high"], color=CONTROL_COLOUR, alpha=0.25, linewidth=0, zorder=0.4)
        places = np.arange(len(methods))
        jitter = np.random.default_rng(0)
        for place, method in enumerate(methods):
            values = clips.loc[clips["method"] == method, "value"].to_numpy()
            if not len(values):
                continue
            heights = place + jitter.uniform(-0.28, 0.28, len(values))
            axis.scatter(values, heights, s=2.5, color=colour, alpha=0.4, linewidth=0, zorder=1)
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            box = {"facecolor": "none", "edgecolor": "0.35", "linewidth": 0.6}
            axis.barh(place, high - low, left=low, height=0.62, zorder=2, **box)
            axis.vlines(middle, place - 0.31, place + 0.31, color="0.35", linewidth=1, zorder=2)
        reach = np.abs(panel[["low", "high"]].to_numpy().T - panel["mean"].to_numpy())
        axis.errorbar(
            panel["mean"],
            places,
            xerr=reach,
            fmt="D",
            color="black",
            markersize=2.6,
            markerfacecolor="white",
            markeredgewidth=0.8,
            linewidth=1.3,
            zorder=3,
        )
        for place in places[panel["mean"].isna()]:
            axis.text(0.98, place, "n/a", transform=axis.get_yaxis_transform(), ha="right", va="center", color="0.6")
        split = sum(method not in _controls(lines) for method in methods)
        axis.axhline(split - 0.5, color="0.3", linewidth=0.6)
        axis.set_title(classifier, loc="left", weight="bold")
        axis.set(xlabel="", ylabel="")
        axis.grid(visible=False, axis="y")
        sns.despine(ax=axis, left=True)
    axes[0].set_yticks(np.arange(len(methods)), methods)
    axes[0].set_ylim(len(methods) - 0.4, -0.6)
    _set_controls_apart(axes[0], lines, methods)
    figure.supxlabel(
        f"{_axis_name()}\ndot: clip, box: quartiles and median, diamond: mean, 95% interval, band: mean of {BASELINE}",
        size=7.5,
    )
    return figure


def cost(lines: pd.DataFrame) -> Figure:
    """SORT_METRIC against seconds per clip (logarithmic), a panel, colour and marker per classifier."""
    lines = lines[(lines["metric"] == SORT_METRIC) & lines["mean"].notna() & (lines["seconds_per_clip"] > 0)]
    classifiers = sorted(set(lines["classifier"]))
    figure = _figure(WIDTH, 3.5)
    axes = figure.subplots(1, len(classifiers), squeeze=False, sharex=True, sharey=True)[0]
    for index, (axis, classifier) in enumerate(zip(axes, classifiers, strict=True)):
        panel = lines[lines["classifier"] == classifier]
        for control, points in panel.groupby("control"):
            colour = CONTROL_COLOUR if control else _colour(index)
            axis.errorbar(
                points["seconds_per_clip"],
                points["mean"],
                yerr=np.abs(points[["low", "high"]].to_numpy().T - points["mean"].to_numpy()),
                fmt=_MARKERS[index % len(_MARKERS)],
                color=colour,
                markersize=4,
                markerfacecolor="white" if control else colour,
                linewidth=0.7,
                zorder=3,
            )
        axis.set_xscale("log")
        axis.set_title(classifier, loc="left", weight="bold")
        sns.despine(ax=axis)
    axes[0].set_ylabel(_axis_name())
    figure.supxlabel("← Seconds to explain a clip\nbars: 95% intervals, hollow: controls", size=7.5)
    figure.canvas.draw()  # the labels are placed on the final layout
    figure.set_layout_engine("none")
    for axis, classifier in zip(axes, classifiers, strict=True):
        _label_points(axis, lines[lines["classifier"] == classifier])
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _colour(index: int) -> tuple[float, float, float]:
    palette = sns.color_palette("colorblind")
    return palette[index % len(palette)]


def _controls(lines: pd.DataFrame) -> set[str]:
    return set(lines.loc[lines["control"], "method"])


def _set_controls_apart(axis: Axes, lines: pd.DataFrame, methods: list[str]) -> None:
    """Write the names of controls in grey italics."""
    for label, method in zip(axis.get_yticklabels(), methods, strict=True):
        if method in _controls(lines):
            label.set(style="italic", color="0.35")


def _axis_name() -> str:
    metric = metric_class(SORT_METRIC)
    return f"{SORT_METRIC.capitalize()} ({metric.title}) {'→' if metric.higher_is_better else '←'}"


def _three_digits(value: float) -> str:
    """About three digits, as many as fit into a cell."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"


def _label_points(axis: Axes, points: pd.DataFrame) -> None:
    """Write each method's name where it covers least: other names, points, intervals and the frame."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    unit = figure.dpi / 72
    frame = np.array([axis.get_window_extent().extents])
    at = axis.transData.transform(points[["seconds_per_clip", "mean"]].to_numpy())
    bars = points[["low", "high"]].fillna({"low": points["mean"], "high": points["mean"]})
    ends = [axis.transData.transform(np.column_stack([points["seconds_per_clip"], bars[end]])) for end in bars]
    taken = np.concatenate([np.hstack([at - 3 * unit, at + 3 * unit]), np.hstack([ends[0] - unit, ends[1] + unit])])
    # Places around a point in points of type: distance, side (right, left, centred), height.
    grid = np.array(list(product((5, 9, 14, 20, 28, 38, 50), (1, -1, 0), (0, 0.5, -0.5, 1, -1, 1.5, -1.5))))
    radius, side, level = grid[(grid[:, 1] != 0) | (np.abs(grid[:, 2]) >= 1)].T
    # Crowded points first: they have the fewest free places.
    crowd = [int((np.hypot(*(at - here).T) < 40 * unit).sum()) for here in at]
    for i in sorted(range(len(points)), key=lambda i: (-crowd[i], at[i][1])):
        line = points.iloc[i]
        size = TextPath((0, 0), line["method"], size=_LABEL_SIZE).get_extents()
        left = np.where(side == 1, radius, np.where(side == -1, -radius - size.width, -size.width / 2))
        corner = at[i] + unit * np.column_stack([left, level * radius - size.height / 2])
        boxes = np.hstack([corner - unit, corner + unit * np.array([size.width + 1, size.height + 1])])
        area = np.prod(boxes[0, 2:] - boxes[0, :2])
        outside = area - _overlaps(boxes, frame)[:, 0]
        distance = np.hypot(radius, level * radius) * unit
        price = 4 * _overlaps(boxes, taken).sum(axis=1) + 8 * outside + 3 * distance * unit
        best = int(price.argmin())
        box = boxes[best]
        taken = np.vstack([taken, box])
        # The line to a distant name starts at the point of the name's box that is nearest to it.
        near = np.clip((at[i] - box[:2]) / (box[2:] - box[:2]), 0, 1)
        arrow = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2, "relpos": tuple(near)}
        # Not in pixels, which a file of another resolution would shift.
        x, y = figure.transFigure.inverted().transform((box[0] + unit, (box[1] + box[3]) / 2))
        axis.annotate(
            line["method"],
            (line["seconds_per_clip"], line["mean"]),
            xytext=(x, y),
            textcoords="figure fraction",
            va="center",
            fontsize=_LABEL_SIZE,
            style="italic" if line["control"] else "normal",
            color="0.35" if line["control"] else "black",
            arrowprops=arrow if distance[best] > 9 * unit else None,
            path_effects=[withStroke(linewidth=1.2, foreground="white")],
            zorder=4,
        )


def _overlaps(boxes: NDArray, others: NDArray) -> NDArray:
    """Area that each of `boxes` (n, 4: left, bottom, right, top) shares with each of `others`, (n, others)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)
