"""By how much each method is better than the controls, with intervals that hold for all methods at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xaibench.reports import style
from xaibench.reports.leaderboard import SORT_METRIC, method_order, metric_title, rises, scope
from xaibench.results.comparison import at_primary_area, by_clip
from xaibench.results.statistics import MeanInterval, simultaneous_interval
from xaibench.results.verdicts import BASELINE

_METRICS = (SORT_METRIC, "faithfulness_equal_energy")
_CONTROLS = {BASELINE: (style.BLUE, "o", -0.17), "energy": (style.VERMILION, "D", 0.17)}  # colour, marker, place
_FEWEST = 8  # recordings: of fewer, resamples say little of how far a mean may be off
_BESIDE = 5.0  # inches: least width of a figure with panels beside each other


def can_compare(lines: pd.DataFrame) -> bool:
    """Tell whether SORT_METRIC was scored for one of the controls and for a method."""
    scored = lines[(lines["metric"] == SORT_METRIC) & lines["mean"].notna()]
    return bool(set(_CONTROLS) & set(scored["method"])) and not scored["control"].all()


@style.paper()
def forest(rows: pd.DataFrame, lines: pd.DataFrame, width: float = style.WIDTH) -> Figure:
    """Draw the paired differences of every method to random and to energy, in FF at equal area and at equal energy.

    A row of panels for each classifier, a panel for each metric. Intervals are simultaneous over the methods of a panel
    (`statistics.simultaneous_interval`), so that a reader may look for the best one.

    Args:
        rows: per-clip rows of one group.
        lines: of that group at the primary area, as `comparison.compare` gives them; `can_compare` is true of them.
        width: in inches; where two panels have no place beside each other, they stand below each other.
    """
    metrics = [name for name in _METRICS if name in set(lines["metric"])]
    panels = [(str(name), panel) for name, panel in lines.groupby("classifier", sort=True) if can_compare(panel)]
    order = [name for name in method_order(lines) if name in set(lines.loc[~lines["control"], "method"])]
    rows = at_primary_area(rows[rows["metric"].isin(metrics)])
    there = [[name for name in order if name in set(panel["method"])] for _, panel in panels]
    beside = len(metrics) if width >= _BESIDE else 1
    below = len(metrics) // beside
    width = width if len(metrics) > 1 else min(width, 4.5)
    heights = [len(names) for names in there for _ in range(below)]
    count = sum(heights)
    figure = style.new_figure(width, style.row_height(count) * count + 0.35 * len(heights) + 0.75)
    axes = figure.subplots(len(heights), beside, squeeze=False, sharex=True, height_ratios=heights)
    column = axes[:, 0]
    axes = axes.reshape(len(panels), len(metrics))
    for line, (classifier, panel), names in zip(axes, panels, there, strict=True):
        own = rows[rows["classifier"] == classifier]
        for axis, metric in zip(line, metrics, strict=True):
            sign = 1 if rises(metric, lines) else -1
            judged = panel[panel["metric"] == metric].set_index("method")["tied_with"]
            tied = {str(name): set(others.split(";")) for name, others in judged.items()}
            _draw_panel(axis, own[own["metric"] == metric], names, sign, tied)
            style.title_panel(axis, f"{classifier}: {metric_title(metric, lines)}")
        for axis in line[1:] if below == 1 else ():
            axis.tick_params(labelleft=False)
    known = [name for name in _CONTROLS if name in set(lines["method"])]
    figure.supxlabel(
        style.wrapped(
            f"Difference of a method to a control (right: the method is better)\n{scope(lines)}\n"
            + (
                "bars: 95% intervals that hold for all methods of a panel and a control at once; "
                "hollow: not told apart by the board's test, which near 0 may differ from the bar"
                if rows["src_file"].nunique() >= _FEWEST
                else f"no intervals: fewer than {_FEWEST} recordings"
            ),
            0.85 * width,
        )
    )
    handles = [
        Line2D([], [], color=_CONTROLS[name][0], marker=_CONTROLS[name][1], markersize=3.4, label=f"method - {name}")
        for name in known
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(known), frameon=False)
    style.make_room(figure, column, style.row_height(count) * count)
    return figure


def _draw_panel(axis: Axes, rows: pd.DataFrame, methods: list[str], sign: int, tied: dict[str, set[str]]) -> None:
    """Draw the differences of methods, best on top, by one metric on one classifier.

    Args:
        tied: of each method, those that the board's test does not tell apart from it: their markers are hollow.
    """
    values, recordings = by_clip(rows, ["method"])
    for control, (colour, marker, shift) in _CONTROLS.items():
        if control not in values.index:
            continue
        gaps = (values.reindex(methods) - values.loc[control]).to_numpy() * sign
        found = simultaneous_interval(gaps, recordings)
        if len(set(recordings)) < _FEWEST:
            found = MeanInterval(found.mean, *np.full((2, len(gaps)), np.nan))
        for place, (name, mean, low, high) in enumerate(zip(methods, found.mean, found.low, found.high, strict=True)):
            axis.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.0, solid_capstyle="butt", zorder=2)
            face = "white" if control in tied.get(name, {control}) or np.isnan(low) else colour
            axis.plot(mean, place + shift, marker=marker, color=colour, markerfacecolor=face, markersize=3.4, zorder=3)
    axis.axvline(0, color="0.3", linewidth=0.7, zorder=1)
    axis.set_yticks(np.arange(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    sns.despine(ax=axis, left=True)
