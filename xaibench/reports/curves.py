"""How methods fare as the mask grows, against the band of the controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from xaibench.reports import style
from xaibench.reports.leaderboard import method_order, metric_heading
from xaibench.results.comparison import CEILING

CURVE_METRICS = ("faithfulness", "fidelity_in", "average_drop")
_HEIGHT = 3.4  # inches
_BAND = "0.9"
_DODGE = 1.025


def has_curves(lines: pd.DataFrame) -> bool:
    """Tell whether a metric of CURVE_METRICS was scored at several areas."""
    areas = lines[lines["metric"].isin(CURVE_METRICS) & lines["mean"].notna()].groupby("metric")["area"].nunique()
    return bool((areas > 1).any())


@style.paper()
def curves(lines: pd.DataFrame, classifier: str) -> Figure:
    """Draw CURVE_METRICS over the mask area, a panel each: a line per method with 95% intervals.

    Controls are thin grey lines. A grey band reaches from the worst to the best of them (without CEILING):
    a method inside it is not better than every map that never looked at the classifier.

    Args:
        lines: of one group, at all areas, as `comparison.compare` gives them, without soft masks.
        classifier: whose lines are drawn; a method looks the same for every classifier of the group.
    """
    looks = style.looks(lines)
    own = lines[lines["classifier"] == classifier]
    controls = set(own.loc[own["control"], "method"])
    metrics = [name for name in CURVE_METRICS if has_curves(own[own["metric"] == name])]
    figure = style.new_figure(style.WIDTH, _HEIGHT)
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    shown = [method for method in method_order(own) if method not in controls]
    for axis, metric in zip(axes, metrics, strict=True):
        defined = own[(own["metric"] == metric) & own["mean"].notna()]
        panel = {key: defined.pivot(index="area", columns="method", values=key) for key in ("mean", "low", "high")}
        _draw_controls(axis, panel["mean"], controls)
        for index, method in enumerate(shown):
            if method in panel["mean"]:
                # Side by side within an area, so that intervals do not hide each other.
                dodge = _DODGE ** (index - (len(shown) - 1) / 2)
                line = pd.DataFrame({key: values[method] for key, values in panel.items()})
                _draw_method(axis, line, looks[method], dodge)
        _finish(axis, metric_heading(metric, own), panel["mean"].index.to_numpy(float))
        ends = panel["mean"].ffill().iloc[-1]
        _name_ends(axis, ends, {name: looks[name] for name in shown}, float(panel["mean"].index.max()))
    figure.suptitle(f"{lines['group'].iloc[0]}, {classifier}", x=0.01, ha="left")
    figure.supxlabel(
        "Area of the mask (% of bins)\nbars: 95% intervals; grey: controls, and a band from their worst to their best"
    )
    return figure


def _draw_method(axis: Axes, line: pd.DataFrame, look: style.Look, dodge: float) -> None:
    """Draw a method's line, dashed where its markers are hollow, `dodge` times to the right of the areas."""
    line = line.dropna(subset="mean")
    at = line.index.to_numpy(float) * dodge
    bars = style.error_bars(line)
    axis.errorbar(at, line["mean"], yerr=bars, fmt="none", ecolor=look.colour, elinewidth=0.7, alpha=0.45, zorder=2)
    axis.plot(at, line["mean"], linestyle="--" if look.hollow else "-", linewidth=0.9, zorder=3, **look.style)


def _draw_controls(axis: Axes, means: pd.DataFrame, controls: set[str]) -> None:
    """Draw the controls' lines and the band between them."""
    known = means[[name for name in means.columns if name in controls and name != CEILING]]
    if len(known.columns):
        axis.fill_between(known.index, known.min(axis=1), known.max(axis=1), color=_BAND, linewidth=0, zorder=0.5)
    for name in means.columns[means.columns.isin(sorted(controls))]:
        dots = ":" if name == CEILING else "-"
        axis.plot(means.index, means[name], color=style.CONTROL_COLOUR, linewidth=0.8, linestyle=dots, zorder=1)


def _finish(axis: Axes, heading: str, areas: NDArray[np.float64]) -> None:
    """Set the scale, ticks, title and grid of a metric's panel."""
    axis.set_xscale("log")
    axis.set_xticks(areas, [f"{100 * area:g}" for area in areas])
    axis.minorticks_off()
    axis.set_xlim(areas.min() / 1.25, areas.max() * 1.25)
    style.title_panel(axis, heading)
    axis.grid(visible=True, axis="y")
    axis.grid(visible=False, axis="x")
    axis.set_axisbelow(True)
    sns.despine(ax=axis)


def _name_ends(axis: Axes, ends: pd.Series, looks: dict[str, style.Look], last: float) -> None:
    """Write each line's name and marker at its right end, moved apart where ends are close, tied to it by a thin line.

    Args:
        axis: whose limits are final.
        ends: the lines' last values by name.
        looks: of the methods; the other lines are controls.
        last: the largest area.
    """
    ends = ends.dropna().sort_values()
    low, high = axis.get_ylim()
    wanted = ((ends - low) / (high - low)).to_numpy(float)
    places = spread_out(wanted, 1.3 * style.NAME_SIZE / 72 / (0.7 * _HEIGHT))
    for name, end, place in zip(ends.index, ends, places, strict=True):
        look = looks.get(name)
        colour = look.colour if look else style.CONTROL_COLOUR
        axis.annotate(
            name,
            (last * 1.2, end),
            xytext=(1.115 if look else 1.09, place),
            textcoords="axes fraction",
            va="center",
            fontsize=style.NAME_SIZE,
            annotation_clip=False,
            **({} if look else style.APART),
        )
        axis.annotate(
            "",
            (last * 1.2, end),
            xytext=(1.08, place),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
        )
        if look:
            axis.plot(1.08, place, transform=axis.transAxes, clip_on=False, zorder=4, **look.style)


def spread_out(wanted: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Find places at least `gap` apart, in order, as near as possible to the ascending `wanted` (least squares).

    Without the gaps the places only have to ascend, which is isotonic regression.
    """
    gaps = gap * np.arange(len(wanted))
    return isotonic_regression(wanted - gaps).x + gaps
