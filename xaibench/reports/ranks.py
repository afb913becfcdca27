"""Which places the tests leave open: a critical-difference diagram whose bars are the verdicts of the board."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xaibench.reports import style
from xaibench.reports.leaderboard import SORT_METRIC, metric_heading, scope

_PANEL, _WIDEST, _ROW = 2.3, 3.6, 0.145  # inches: least and most width of a panel, height of a row
_STEP = 0.05  # of the places, between bars
_LEAST_SHARE = 0.005  # of resamples: smaller ones are not written


def can_rank(lines: pd.DataFrame) -> bool:
    """Tell whether two methods of a classifier have a place by SORT_METRIC, or by the only metric there is."""
    own = lines[(lines["metric"] == _metric(lines)) & lines["rank"].notna()]
    return bool((own.groupby("classifier").size() > 1).any())


@style.paper()
def ranks(lines: pd.DataFrame, width: float = style.WIDTH) -> Figure:
    """Draw the places of methods and controls by SORT_METRIC, a panel for each classifier, the best on top.

    A dot is the place by the mean, its line the places that the tests leave open, for all methods at once
    (`places.rank_sets`). A bar on the right joins methods of which no two are told apart, by the same tests as the
    marks of the board: paired, by flipping the signs of recordings, Holm-corrected over all pairs. (The diagram of
    Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", 2006, has mean ranks and the tests of
    Friedman and Nemenyi, which may contradict a board of means.) A method in between that is told apart from one of
    them has no dot on the bar.

    Args:
        lines: of one group at the primary area, as `comparison.compare` gives them; `can_rank` is true of them. Of
            one metric only, they are drawn by that.
        width: of the figure, in inches, at most.
    """
    metric = _metric(lines)
    own = lines[(lines["metric"] == metric) & lines["rank"].notna()]
    panels = [(str(name), panel) for name, panel in own.groupby("classifier", sort=True) if len(panel) > 1]
    columns = min(len(panels), max(1, int(width // _PANEL)))
    width = min(width, _WIDEST * columns)
    count = math.ceil(len(panels) / columns)
    most = [max(len(panel) for _, panel in panels[i * columns : (i + 1) * columns]) for i in range(count)]
    figure = style.new_figure(width, _ROW * sum(most) + 0.42 * count + 0.75)
    axes = figure.subplots(count, columns, squeeze=False, height_ratios=most).ravel()
    for axis, (classifier, panel) in zip(axes, panels, strict=False):
        _draw_panel(axis, panel.sort_values(["rank", "method"]))
        style.title_panel(axis, classifier)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    style.add_note(
        figure,
        f"{scope(own)}\nacross: place by {metric_heading(metric, lines)}, 1: the best; line: places that the tests "
        "leave open, 95% for all at once; upright bar: no two methods with a dot on it are told apart (paired tests, "
        "Holm-corrected); grey: controls; %: resamples of the recordings in which it is first, controls left out",
    )
    return figure


def _metric(lines: pd.DataFrame) -> str:
    known = set(lines["metric"])
    return str(next(iter(known))) if len(known) == 1 else SORT_METRIC


def _draw_panel(axis: Axes, lines: pd.DataFrame) -> None:
    """Draw the places of one classifier, in the order of the lines."""
    names = [str(name) for name in lines["method"]]
    for height, line in enumerate(lines.to_dict("records")):
        colour = style.CONTROL_COLOUR if line["control"] else style.BLUE
        axis.plot([line["rank_low"], line["rank_high"]], [height] * 2, color=colour, linewidth=1.1, zorder=2)
        face = "white" if line["control"] else colour
        axis.plot(line["rank"], height, marker="o", markersize=3.2, color=colour, markerfacecolor=face, zorder=3)
        if line["first"] >= _LEAST_SHARE:  # not of controls, which have none
            at, side = (line["rank_high"], 4) if line["rank_high"] < 0.8 * len(names) else (line["rank_low"], -4)
            axis.annotate(
                f"{100 * line['first']:.0f}%",
                (at, height),
                (side, 0),
                textcoords="offset points",
                va="center",
                ha="left" if side > 0 else "right",
                fontsize=style.NAME_SIZE,
                color="0.25",
            )
    tied = {str(line["method"]): set(line["tied_with"].split(";")) & set(names) for line in lines.to_dict("records")}
    lanes: list[int] = []  # the last row of the bars in each
    for members in cliques(tied, names):
        rows = [names.index(name) for name in members]
        lane = next((i for i, last in enumerate(lanes) if last < rows[0]), len(lanes))
        lanes[lane : lane + 1] = [rows[-1]]
        at = len(names) + 1 + max(0.5, _STEP * len(names)) * lane
        axis.plot([at] * len(rows), rows, color="0.2", linewidth=0.9, marker=".", markersize=4, markeredgewidth=0)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0.5, len(names) + 1.5 + max(0.5, _STEP * len(names)) * max(0, len(lanes) - 1))
    axis.set_xticks([1, *range(5, len(names) + 1, 5)])
    axis.tick_params(axis="y", length=0)
    for label, control in zip(axis.get_yticklabels(), lines["control"], strict=True):
        if control:
            label.set(**style.APART)
    sns.despine(ax=axis, left=True)
    axis.spines["bottom"].set_bounds(0.5, len(names) + 0.5)


def cliques(tied: Mapping[str, set[str]], order: list[str]) -> list[list[str]]:
    """List the largest sets of two methods or more of which no two are told apart, each in the given order.

    Bron and Kerbosch, "Algorithm 457: Finding All Cliques of an Undirected Graph", 1973.
    """
    found: list[list[str]] = []

    def extend(clique: list[str], candidates: set[str], seen: set[str]) -> None:
        if not candidates and not seen and len(clique) > 1:
            found.append(sorted(clique, key=order.index))
        pivot = max(candidates | seen, key=lambda name: len(tied[name] & candidates), default=None)
        for name in sorted(candidates - (tied[pivot] if pivot else set()), key=order.index):
            extend([*clique, name], candidates & tied[name], seen & tied[name])
            candidates, seen = candidates - {name}, seen | {name}

    extend([], set(order), set())
    return sorted(found, key=lambda names: [order.index(name) for name in names])
