"""What faithful explanations cost."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xaibench.reports import style
from xaibench.reports.leaderboard import SORT_METRIC, axis_label, method_order, scope

_ROW = 0.15  # inches: height of a legend's entry
_KEY, _LETTER = 0.28, 0.055  # inches: what a legend's entry takes beside its name, and a letter of this


@style.paper()
def cost(lines: pd.DataFrame, width: float = style.WIDTH) -> Figure:
    """Draw SORT_METRIC against seconds per clip (logarithmic), a panel per classifier, a look per method.

    Args:
        lines: of one group at the primary area, as `comparison.compare` gives them.
        width: in inches; a narrow figure has its panels, and the legend, below each other.
    """
    looks = style.looks(lines)
    lines = lines[(lines["metric"] == SORT_METRIC) & lines["mean"].notna() & (lines["seconds_per_clip"] > 0)]
    panels = [(str(name), panel) for name, panel in lines.groupby("classifier", sort=True)]
    narrow = width < 5
    names = method_order(lines)
    beside = max(3.2, 0.2 + _ROW * len(names))
    figure = style.new_figure(width, 2.2 * len(panels) + 0.6 + 0.07 * len(names) if narrow else beside)
    shape = (len(panels), 1) if narrow else (1, len(panels))
    axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True).ravel()
    for axis, (classifier, panel) in zip(axes, panels, strict=True):
        for method, points in panel.groupby("method"):
            at = (points["seconds_per_clip"], points["mean"])
            axis.errorbar(*at, yerr=style.error_bars(points), linewidth=0.7, **looks[str(method)].style)
        axis.set_xscale("log")
        style.title_panel(axis, classifier)
        sns.despine(ax=axis)
    axes[0].set_ylabel(axis_label(SORT_METRIC, lines))
    what = f"{style.arrow(False, along=True)} Seconds to explain a clip\nbars: 95% intervals, grey: controls\n"
    figure.supxlabel(style.wrapped(what + scope(lines), width, style.LABEL_SIZE))
    handles = [Line2D([], [], linestyle="", label=method, **looks[method].style) for method in names]
    place: dict[str, Any] = {"loc": "outside right upper"}
    if narrow:
        place = {"loc": "outside upper center", "ncols": max(1, int(width / (_KEY + _LETTER * max(map(len, names)))))}
    legend = figure.legend(handles=handles, frameon=False, handletextpad=0.2, **place)
    controls = set(lines.loc[lines["control"], "method"])
    for text in legend.get_texts():
        if text.get_text() in controls:
            text.set(**style.APART)
    return figure
