"""How methods fare as the mask grows, each in a panel of its own against all others and the controls."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from xaibench.reports import style
from xaibench.reports.leaderboard import SORT_METRIC, axis_label, method_order, scope
from xaibench.results.verdicts import CEILING

# The first of these that was scored at several areas is drawn.
CURVE_METRICS = (SORT_METRIC, "fidelity_in", "average_drop")
_WIDTH, _LEAST, _HEIGHT = 1.42, 1.3, 1.2  # inches: of a panel
_DASHES: tuple[Any, ...] = ("--", ":", "-.", (0, (1, 3)), (0, (6, 1, 1, 1, 1, 1)))


def has_curves(lines: pd.DataFrame) -> bool:
    """Tell whether a metric of CURVE_METRICS was scored at several areas."""
    return _metric(lines) is not None


@style.paper()
def curves(lines: pd.DataFrame, classifier: str, width: float = style.WIDTH) -> Figure:
    """Draw the first of CURVE_METRICS over the mask area, a panel for each method: its line with 95% intervals.

    Behind it are the lines of all other methods in light grey, and those of the controls (without CEILING).

    Args:
        lines: of one group, at all areas, as `comparison.compare` gives them, without soft masks.
        classifier: whose lines are drawn; it has curves (`has_curves`).
        width: in inches, at most.
    """
    own = lines[lines["classifier"] == classifier]
    metric = _metric(own)
    own = own[(own["metric"] == metric) & own["mean"].notna()]
    controls = sorted(set(own.loc[own["control"], "method"]) - {CEILING})
    shown = [name for name in method_order(own) if name in set(own.loc[~own["control"], "method"])]
    means = own.pivot(index="area", columns="method", values="mean")
    columns = min(max(1, int((width - 0.5) / _LEAST)), max(1, len(shown)))
    rows = math.ceil(len(shown) / columns) or 1
    figure = style.new_figure(max(2.4, min(width, 0.5 + _WIDTH * columns)), 0.8 + _HEIGHT * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    dashes = {name: _DASHES[index % len(_DASHES)] for index, name in enumerate(controls)}
    for axis, method in zip(axes, shown, strict=False):
        for other in shown:
            axis.plot(means.index, means[other], color="0.85", linewidth=0.6, zorder=1)
        for name, dash in dashes.items():
            axis.plot(means.index, means[name], color="0.35", linewidth=0.7, linestyle=dash, zorder=2)
        line = own[own["method"] == method].sort_values("area")
        axis.fill_between(line["area"], line["low"], line["high"], color=style.BLUE, alpha=0.2, linewidth=0, zorder=3)
        axis.plot(line["area"], line["mean"], color=style.BLUE, marker="o", markersize=2.2, linewidth=1.1, zorder=4)
        _finish(axis, method, means.index)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(shown) - columns) : len(shown)]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("Area of the mask (%, log)", fontsize=style.NAME_SIZE)
    title = style.wrapped(f"{classifier}; {scope(own)}", figure.get_figwidth(), style.TITLE_SIZE)
    figure.suptitle(title, x=0.01, ha="left")
    figure.supylabel(axis_label(str(metric), own))
    beside = min(int(figure.get_figwidth() / 1.1), 3 + len(dashes))
    figure.legend(handles=_legend(dashes), loc="outside lower center", ncols=beside, frameon=False)
    return figure


def _metric(lines: pd.DataFrame) -> str | None:
    known = lines[lines["mean"].notna()].groupby("metric")["area"].nunique()
    return next((name for name in CURVE_METRICS if known.get(name, 0) > 1), None)


def _legend(dashes: dict[str, Any]) -> list[Line2D | Patch]:
    found: list[Line2D | Patch] = [
        Line2D([], [], color=style.BLUE, marker="o", markersize=2.2, linewidth=1.1, label="the panel's method"),
        Patch(color=style.BLUE, alpha=0.2, linewidth=0, label="95% interval"),
        Line2D([], [], color="0.8", linewidth=0.9, label="other methods"),
    ]
    for name, dash in dashes.items():
        found.append(Line2D([], [], color="0.35", linewidth=0.7, linestyle=dash, label=name))
    return found


def _finish(axis: Axes, method: str, areas: pd.Index) -> None:
    """Set the scale, ticks, title and grid of a method's panel."""
    axis.set_xscale("log")
    axis.set_xticks(areas, [f"{100 * area:g}" for area in areas])
    axis.minorticks_off()
    axis.set_title(method, loc="left", fontsize=7, pad=2)
    axis.grid(visible=True, axis="y")
    axis.grid(visible=False, axis="x")
    axis.set_axisbelow(True)
    sns.despine(ax=axis)
