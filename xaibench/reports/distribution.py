"""The clips behind a mean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xaibench.reports import style
from xaibench.reports.leaderboard import SORT_METRIC, axis_label, method_order, scope
from xaibench.results.verdicts import BASELINE


@style.paper()
def distribution(rows: pd.DataFrame, lines: pd.DataFrame, width: float = style.WIDTH) -> Figure:
    """Draw the per-clip values of SORT_METRIC, a panel per classifier: quartiles, clips, mean with its interval.

    Args:
        rows: per-clip rows of one group and SORT_METRIC at the primary area.
        lines: of that group at the primary area, as `comparison.compare` gives them.
        width: in inches; a narrow figure has its panels below each other.
    """
    lines = lines[lines["metric"] == SORT_METRIC]
    classifiers = sorted(set(lines["classifier"]))
    methods = method_order(lines)
    controls = set(lines.loc[lines["control"], "method"])
    narrow = width < 5
    count = len(methods) * (len(classifiers) if narrow else 1)
    figure = style.new_figure(width, style.row_height(count) * count + 0.75 + 0.2 * narrow * len(classifiers))
    shape = (len(classifiers), 1) if narrow else (1, len(classifiers))
    axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True).ravel()
    for index, (axis, classifier) in enumerate(zip(axes, classifiers, strict=True)):
        panel = lines[lines["classifier"] == classifier].set_index("method").reindex(methods)
        clips = rows[rows["classifier"] == classifier].dropna(subset="value").sort_values(["method", "clip"])
        _draw_baseline(axis, panel)
        _draw_clips(axis, clips, methods, style.COLOURS[index % len(style.COLOURS)])
        _draw_means(axis, panel)
        axis.axhline(len(methods) - len(controls) - 0.5, color="0.3", linewidth=0.6)
        style.title_panel(axis, classifier)
        axis.set(xlabel="", ylabel="")
        axis.grid(visible=False, axis="y")
        sns.despine(ax=axis, left=True)
    axes[0].set_yticks(np.arange(len(methods)), methods)
    axes[0].set_ylim(len(methods) - 0.4, -0.6)
    for axis in axes if narrow else axes[:1]:
        for label, method in zip(axis.get_yticklabels(), methods, strict=True):
            if method in controls:
                label.set(**style.APART)
    what = (
        f"{axis_label(SORT_METRIC, lines)}\n"
        f"dot: clip, box: quartiles and median, diamond: mean, 95% interval, dashed: mean of {BASELINE}\n"
        f"{scope(lines)}"
    )
    figure.supxlabel(style.wrapped(what, width, style.LABEL_SIZE))
    return figure


def _draw_baseline(axis: Axes, panel: pd.DataFrame) -> None:
    """Draw a band over all methods where the mean of BASELINE lies, if it was scored."""
    mean, low, high = panel.reindex([BASELINE])[["mean", "low", "high"]].to_numpy(float)[0]
    if not np.isnan(mean):
        axis.axvline(mean, color=style.CONTROL_COLOUR, linewidth=0.9, linestyle="--", zorder=0.5)
        axis.axvspan(low, high, color=style.CONTROL_COLOUR, alpha=0.25, linewidth=0, zorder=0.4)


def _draw_clips(axis: Axes, clips: pd.DataFrame, methods: list[str], colour: str) -> None:
    """Draw a dot per clip in the row of its method, and a box from quartile to quartile."""
    place = {method: index for index, method in enumerate(methods)}
    clips = clips[clips["method"].isin(methods)]
    if clips.empty:  # the metric is defined on none
        return
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(clips))
    heights = clips["method"].map(place) + jitter
    # Thousands of dots: as an image they are a third of the PDF's size.
    axis.scatter(clips["value"], heights, s=2.5, color=colour, alpha=0.4, linewidth=0, zorder=1, rasterized=True)
    groups = {str(method): values for method, values in clips.groupby("method")["value"]}
    axis.boxplot(
        list(groups.values()),
        positions=[place[method] for method in groups],
        orientation="horizontal",
        widths=0.62,
        boxprops={"color": "0.35", "linewidth": 0.6},
        medianprops={"color": "0.35", "linewidth": 1},
        whiskerprops={"linewidth": 0},
        showcaps=False,
        showfliers=False,
        manage_ticks=False,
        zorder=2,
    )


def _draw_means(axis: Axes, panel: pd.DataFrame) -> None:
    """Draw a diamond at each method's mean with its 95% interval, and say where there is none."""
    places = np.arange(len(panel))
    axis.errorbar(
        panel["mean"],
        places,
        xerr=style.error_bars(panel),
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
