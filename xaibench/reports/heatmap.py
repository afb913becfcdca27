"""All metrics at a glance: methods by metrics, coloured by how far a mean has come from random to the best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from xaibench.reports import style
from xaibench.reports.leaderboard import best_methods, method_order, metric_heading, metric_order, row_marks, scope
from xaibench.reports.marks import NO_MARKS, Marks, explained, marks_at
from xaibench.reports.tables import DAGGER, OTHERWISE, PARTIAL
from xaibench.results.verdicts import BASELINE, CEILING

_ROW, _COLUMN, _BESIDE = 0.155, 0.44, 1.6  # inches; the last one of names and colour bar
_BAR = 0.7  # inches: least length of the colour bar
_NUMBER, _LETTER = 0.28, 0.041  # inches: a number with its mark, and a letter of a heading


@style.paper()
def heatmap(lines: pd.DataFrame, marks: Marks = NO_MARKS, width: float = style.WIDTH) -> Figure:
    """Draw methods by metrics, a panel per classifier, with the same order of methods in all: text is the mean.

    Colour is how far the mean has come from that of BASELINE (where it was not scored: the worst) to the best of the
    panel's column; what is no better than BASELINE has none. A frame is around the best method and those not
    significantly different from it, where they are better than random. Where headings are wider than columns they stand
    upright, and where numbers are, only their marks are written.

    Args:
        lines: of one group at the primary area, as `comparison.compare` gives them.
        marks: of metrics, which are named beside the classifier for which they were found.
        width: in inches, at most; a narrow one has numbers only of few metrics.
    """
    metrics = metric_order(lines)
    panels = [(str(name), panel) for name, panel in lines.groupby("classifier", sort=True)]
    heights = [panel["method"].nunique() for _, panel in panels]
    width = min(width, _BESIDE + _COLUMN * len(metrics))
    column = (width - _BESIDE) / len(metrics)
    order, headings = method_order(lines), {name: _heading(name, lines) for name in metrics}
    upright = column < 0.01 + _LETTER * max(len(word) for text in headings.values() for word in text.split())
    if upright:
        headings = {name: " ".join(text.split()) for name, text in headings.items()}
        room = 8 + 90 * _LETTER * max(map(len, headings.values()))  # points; letters in a row are wider
    else:
        room = 6 + 8 * max(text.count("\n") + 1 for text in headings.values())
    above = [room, *(4 if upright else room for _ in panels[1:])]  # upright ones take as much place as a panel
    row = min(_ROW, style.row_height(sum(heights)))
    figure = style.new_figure(width, row * sum(heights) + 0.4 * len(heights) + 0.25 + sum(above) / 72)
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    notes: list[str] = []
    for axis, (classifier, panel), pad in zip(axes, panels, above, strict=True):
        _draw_panel(axis, panel, order, headings, numbers=column >= _NUMBER)
        marked = marks_at(marks, str(panel["group"].iloc[0]), classifier)
        doubts = {name: mark for name, mark in marked.items() if name in metrics}
        named = ", ".join(metric_heading(name, lines) + doubts[name] for name in metrics if name in doubts)
        style.title_panel(
            axis,
            style.wrapped(f"{classifier}: {named}" if named else classifier, width - 1.1, 9),  # bold is wider
            pad=pad,
        )
        notes += [sentence for sentence in explained(doubts.values()) if sentence not in notes]
        axis.tick_params(length=0, labeltop=axis is axes[0] or not upright, labelbottom=False, pad=1)
        axis.tick_params(axis="x", rotation=90 if upright else 0, labelsize=style.NAME_SIZE)
    length = row * sum(heights)
    shrink = min(1.0, max(0.35, _BAR / length))
    bar = figure.colorbar(
        axes[0].collections[0], ax=list(axes), shrink=shrink, aspect=max(6, length * shrink / 0.065), pad=0.015
    )
    bar.set_ticks([0, 1], labels=[f"{BASELINE}\nor worse", "best of\ncolumn"])
    if length < _BAR:  # its two labels would lie on each other
        lower, upper = bar.ax.get_yticklabels()
        lower.set_verticalalignment("top")
        upper.set_verticalalignment("bottom")
    bar.outline.set_visible(False)
    note = (
        f"colour: from {BASELINE} to the best of a column, in each panel; frame: no other method is "
        f"found better, and it is better than {BASELINE} (controls, in italics, have none); "
        f"{DAGGER} not significantly better than {BASELINE}"
    )
    there = "".join(mark for _, panel in panels for mark in row_marks(panel).values())
    if PARTIAL in there:
        note += f"; {PARTIAL} lacks clips that the rest has"
    if OTHERWISE in there:
        note += f"; {OTHERWISE} made with other code, versions or devices than most"
    style.add_note(figure, "\n".join([scope(lines), note, *notes]))
    style.make_room(figure, axes, length)
    return figure


def _draw_panel(axis: Axes, panel: pd.DataFrame, order: list[str], headings: dict[str, str], *, numbers: bool) -> None:
    """Draw one classifier's cells, its methods above its controls.

    Args:
        axis: to draw on.
        panel: the classifier's lines.
        order: of methods.
        headings: of metrics, by name, in their order.
        numbers: whether there is room for the means.
    """
    metrics, there = list(headings), set(panel["method"])
    methods = [method for method in order if method in there]
    cells = pd.MultiIndex.from_product([methods, metrics])
    by_cell = panel.set_index(["method", "metric"]).reindex(cells)
    shades = {str(name): _shades(own) for name, own in panel.groupby("metric")}
    places = pd.DataFrame(shades, index=methods, columns=metrics).astype(float)
    weak = by_cell["better_than_random"].eq(False).fillna(False)
    means = [_three_digits(mean) * numbers for mean in by_cell["mean"]]
    texts = [mean + DAGGER * bool(mark) for mean, mark in zip(means, weak, strict=True)]
    sns.heatmap(
        places.set_axis(list(headings.values()), axis=1),
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
    colours = axis.collections[0].to_rgba(places.to_numpy(float))
    for text in axis.texts:  # seaborn's own white begins at a blue on which it is hard to read
        column, row = (int(at) for at in text.get_position())
        text.set_color(style.on_colour(colours[row, column]))
    axis.grid(visible=False)
    for column, name in enumerate(metrics):
        cells_of = panel[panel["metric"] == name]
        leading = best_methods(cells_of)
        for row, method in enumerate(methods):
            if method in leading:
                frame = Rectangle((column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor="0.1", lw=0.8)
                axis.add_patch(frame).set_zorder(3)  # above the line that sets the controls apart
    axis.set_facecolor("0.93")
    axis.set(xlabel="", ylabel="")
    marks = {method: mark for (method, _), mark in row_marks(panel).items()}
    names = [method + marks[method] for method in methods]
    axis.set_yticks(np.arange(len(methods)) + 0.5, names, rotation=0)
    controls = set(panel.loc[panel["control"], "method"])
    for method, label in zip(methods, axis.get_yticklabels(), strict=True):
        if method in controls:
            label.set(**style.APART)
    axis.axhline(len(methods) - len(controls), color="white", linewidth=2.5)


def _heading(name: str, lines: pd.DataFrame) -> str:
    """Write a metric's heading, a word a line."""
    return metric_heading(name, lines).replace("(", " (").replace("  ", " ").replace(" ", "\n")


def _shades(lines: pd.DataFrame) -> pd.Series:
    """Say of each method how far the mean of one metric has come from BASELINE (0) to the best (1)."""
    means = lines.set_index("method")["mean"] * (1 if lines["higher_is_better"].iloc[0] else -1)
    zero = means.get(BASELINE, np.nan)
    zero = means.min() if np.isnan(zero) else zero
    span = means.drop(CEILING, errors="ignore").max() - zero
    return ((means - zero) / span).clip(0, 1) if span > 0 else means * 0.0


def _three_digits(value: float) -> str:
    """Write about three digits, as many as fit into a cell; nothing of what is undefined."""
    if np.isnan(value):
        return ""
    size = abs(value)
    if size < 0.005:
        value = 0.0  # not -0.00
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:.0f}"
