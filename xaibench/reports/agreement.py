"""Which metrics say the same: nine columns of a board are not nine facts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from xaibench.reports import style
from xaibench.reports.leaderboard import metric_order, metric_title, rises, scope
from xaibench.results.comparison import at_primary_area

_CELL = 0.36  # inches
_LEAST = 4  # methods of which an order says something


def metric_agreement(lines: pd.DataFrame) -> pd.DataFrame:
    """Correlate the orders in which metrics place the methods: Kendall's tau-b of the means, mean over classifiers.

    Args:
        lines: of one group at the primary area, as `comparison.compare` gives them. Controls count: they are the ends
            of the scale that metrics must agree about.

    Returns:
        A table (metrics, metrics); 1 where two metrics place all methods alike, whichever direction is better; NaN
        where no classifier has four methods with both metrics.
    """
    metrics = metric_order(lines)
    signs = {name: 1 if rises(name, lines) else -1 for name in metrics}
    found = []
    for _, own in lines.groupby("classifier"):
        means = own.pivot(index="method", columns="metric", values="mean").reindex(columns=metrics)
        found.append((means * pd.Series(signs)).corr(method="kendall", min_periods=_LEAST).to_numpy())
    known = ~np.isnan(found)
    count = known.sum(axis=0)
    mean = np.divide(np.nansum(found, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)
    return pd.DataFrame(mean, index=metrics, columns=metrics)


def can_agree(lines: pd.DataFrame) -> bool:
    """Tell whether two metrics at the primary area placed the same four methods of a classifier."""
    table = metric_agreement(at_primary_area(lines)).to_numpy()
    return bool((~np.isnan(table[np.triu_indices(len(table), 1)])).any())


@style.paper()
def agreement(lines: pd.DataFrame, width: float = style.WIDTH) -> Figure:
    """Draw `metric_agreement`, each pair of metrics once; `width` in inches, at most."""
    table = metric_agreement(lines)
    names = [metric_title(name, lines) for name in table.index]
    size = len(names)
    cell = min(_CELL, (width - 1.6) / size)
    digits = 2 if cell > 0.2 else 1
    figure = style.new_figure(1.6 + cell * size, 0.9 + 0.62 * _CELL * size)
    axis = figure.subplots()
    sns.heatmap(
        table.set_axis(names, axis=0).set_axis(names, axis=1).iloc[1:, :-1],
        ax=axis,
        mask=np.triu(np.ones((size, size), bool), 0)[1:, :-1] & ~np.eye(size, dtype=bool)[1:, 1:],
        annot=np.vectorize(lambda tau: f"{tau + 0.0:.{digits}f}")(table.round(digits).iloc[1:, :-1]),
        fmt="",
        annot_kws={"size": style.NAME_SIZE},
        cmap=sns.diverging_palette(30, 250, l=55, as_cmap=True),
        vmin=-1,
        vmax=1,
        linewidths=0.4,
        cbar_kws={"shrink": 0.6, "label": "Kendall's tau"},
    )
    colours = axis.collections[0].to_rgba(table.to_numpy(float)[1:, :-1])
    for text in axis.texts:  # seaborn's own white begins at a blue on which it is hard to read
        column, row = (int(at) for at in text.get_position())
        text.set_color(style.on_colour(colours[row, column]))
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.tick_params(axis="y", labelrotation=0)
    for label in axis.get_xticklabels():
        label.set(rotation=45, ha="right")
    classifiers = lines["classifier"].nunique()
    mean = f", mean over {classifiers} classifiers" if classifiers > 1 else ""
    style.add_note(
        figure,
        f"{scope(lines)}\nhow alike two metrics place the methods and controls, each from its best to its worst{mean}; "
        "1: the same order, -1: the opposite",
    )
    return figure
