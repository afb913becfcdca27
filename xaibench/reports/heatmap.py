"""All metrics at a glance: methods by metrics, coloured by place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xaibench.reports import style
from xaibench.reports.leaderboard import method_order, metric_heading, metric_order, row_marks
from xaibench.reports.marks import NO_MARKS, Marks, explained
from xaibench.reports.tables import DAGGER, OTHERWISE, PARTIAL
from xaibench.results.comparison import BASELINE

_ROW, _COLUMN = 0.155, 0.44  # inches


@style.paper()
def heatmap(lines: pd.DataFrame, marks: Marks = NO_MARKS) -> Figure:
    """Draw methods by metrics, a panel per classifier: colour is the place among a metric's methods, text the mean.

    Args:
        lines: of one group at the primary area, as `comparison.compare` gives them.
        marks: of metrics, which are named beside the classifier for which they were found.
    """
    metrics = metric_order(lines)
    panels = [(str(name), panel) for name, panel in lines.groupby("classifier", sort=True)]
    heights = [panel["method"].nunique() for _, panel in panels]
    width = min(style.WIDTH, 1.6 + _COLUMN * len(metrics))
    figure = style.new_figure(width, _ROW * sum(heights) + 0.45 * len(heights) + 0.5)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    notes: list[str] = []
    for axis, (classifier, panel) in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, lines, metrics)
        marked = marks.get((str(panel["group"].iloc[0]), classifier), {})
        doubts = {name: mark for name, mark in marked.items() if name in metrics}
        first = axis is axes[0]  # has the metrics' names above it
        named = ", ".join(metric_heading(name, lines) + doubts[name] for name in metrics if name in doubts)
        style.title_panel(axis, f"{classifier}: {named}" if named else classifier, pad=22 if first else 4)
        notes += [sentence for sentence in explained(doubts.values()) if sentence not in notes]
        axis.tick_params(length=0, labeltop=first, labelbottom=False, pad=1)
    bar = figure.colorbar(axes[0].collections[0], ax=list(axes), shrink=0.35, aspect=28, pad=0.015)
    bar.set_ticks([0, 1], labels=["last of\nmetric", "best of\nmetric"])
    bar.outline.set_visible(False)
    note = f"{DAGGER} not significantly better than {BASELINE}"
    there = "".join(mark for _, panel in panels for mark in row_marks(panel).values())
    if PARTIAL in there:
        note += f"; {PARTIAL} lacks clips that the rest has"
    if OTHERWISE in there:
        note += f"; {OTHERWISE} made with other code, versions or devices than most"
    style.add_note(figure, "\n".join([note, *notes]))
    return figure


def _draw_panel(axis: Axes, panel: pd.DataFrame, lines: pd.DataFrame, metrics: list[str]) -> None:
    """Draw one classifier's cells (`panel` of all lines), its methods above its controls."""
    methods = method_order(panel)
    cells = pd.MultiIndex.from_product([methods, metrics])
    by_cell = panel.set_index(["method", "metric"]).reindex(cells)
    ranks = by_cell["rank"].astype(float).unstack(sort=False)
    # 1 is best and 0 is last, whichever direction is better; equal means share the middle of their places.
    places = ranks.rank().sub(1).div((ranks.count() - 1).clip(lower=1)).rsub(1)
    weak = by_cell["better_than_random"].eq(False).fillna(False)
    texts = [_three_digits(mean) + DAGGER * bool(mark) for mean, mark in zip(by_cell["mean"], weak, strict=True)]
    sns.heatmap(
        places.set_axis([metric_heading(name, lines).replace(" ", "\n") for name in metrics], axis=1),
        ax=axis,
        annot=np.reshape(texts, places.shape),
        fmt="",
        annot_kws={"size": style.NAME_SIZE},
        cmap=sns.light_palette("#08519c", as_cmap=True),
        vmin=0,
        vmax=1,
        cbar=False,
        linewidths=0.4,
    )
    shades = places.to_numpy()
    for text in axis.texts:  # seaborn's own white begins at a blue on which it is hard to read
        column, row = (int(at) for at in text.get_position())
        text.set_color("white" if shades[row, column] > 0.6 else "0.1")
    axis.set_facecolor("0.93")
    axis.set(xlabel="", ylabel="")
    marks = {method: mark for (method, _), mark in row_marks(panel).items()}
    names = [method + marks[method] for method in methods]
    axis.set_yticks(np.arange(len(methods)) + 0.5, names, rotation=0)
    controls = set(panel.loc[panel["control"], "method"])
    for method, label in zip(methods, axis.get_yticklabels(), strict=True):
        if method in controls:
            label.set(**style.APART)
    axis.axhline(len(methods) - len(controls), color="white", linewidth=4)


def _three_digits(value: float) -> str:
    """Write about three digits, as many as fit into a cell; nothing of what is undefined."""
    if np.isnan(value):
        return ""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"
