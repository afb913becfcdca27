"""The figure of a validation: where each metric puts explanations whose order is known, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xaibench.reports import style
from xaibench.reports.leaderboard import metric_heading, metric_order
from xaibench.reports.marks import OPEN, REVERSED
from xaibench.results.comparison import at_primary_area
from xaibench.validation.assess import NOT_JUDGED, NOT_SHOWN, REVERSES

_LOOKS = {
    "oracle": (style.BLACK, "D"),
    "half": (style.BLUE, "s"),
    "shifted": (style.SKY, "v"),
    "energy": (style.ORANGE, "*"),
    "uniform": ("0.6", "x"),
    "random": ("0.35", "o"),
    "inverted": (style.VERMILION, "^"),
    "swapped": (style.VERMILION, "^"),  # takes the place of the one before
    "saliency": (style.GREEN, "P"),
}
_LINEAR = 1  # where the logarithmic axis of effects becomes linear, on both sides of 0


def write_plot(assessment: pd.DataFrame, path: Path) -> list[Path]:
    """Write the figure as `path`.png and .pdf; returns their paths."""
    return style.save(validation(at_primary_area(assessment)), path)


@style.paper()
def validation(lines: pd.DataFrame) -> Figure:
    """Draw metrics by reference maps, a panel per classifier, then the effects and agreements of all classifiers.

    The places run from a metric's worst mean (0) to its best (1), with 95% intervals. Metrics that order the maps by
    construction stand below a line, and those that are not judged below another. Classifiers are numbered on their
    panels, and their numbers are the marks of the last two.

    Args:
        lines: at one area, as `assess` returns them.
    """
    metrics, groups = _groups(lines)
    classifiers = sorted(set(lines["classifier"]))
    figure = style.new_figure(style.WIDTH, 0.21 * len(metrics) + 1.3)
    widths = [1.6] * len(classifiers) + [1.15, 1]
    axes = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
    for number, (axis, classifier) in enumerate(zip(axes, classifiers, strict=False), 1):
        own = lines[lines["classifier"] == classifier].set_index("metric")
        _draw_places(axis, own, metrics)
        style.title_panel(axis, f"{number}  {classifier}")
        axis.set_xlim(-0.07, 1.24)
        axis.set_xticks([0, 1], ["worst", "best"])
        for last, column in zip(axes[-2:], ("effect", "agreement"), strict=True):
            heights = np.arange(len(metrics)) + 0.27 * (number - (len(classifiers) + 1) / 2)
            values = own[column].reindex(metrics).replace([np.inf, -np.inf], np.nan)
            look: dict[str, Any] = {"marker": f"${number}$", "markersize": 3.6, "markeredgewidth": 0.2}
            last.plot(values, heights, linewidth=0, color="0.1", **look)
    _scale_effect(axes[-2])
    axes[-1].set_xlim(-1.15, 1.15)
    axes[-1].set_xticks([-1, 0, 1])
    for axis, title, unit in zip(
        axes[-2:], ("Effect", "Agreement"), ("spreads (log)", "rank correlation"), strict=True
    ):
        axis.axvline(0, color="0.3", linewidth=0.6)
        style.title_panel(axis, title)
        axis.set_xlabel(unit, size=style.NAME_SIZE)
    for axis in axes:
        axis.grid(visible=False, axis="y")
        for place in range(1, len(metrics)):
            axis.axhline(place - 0.5, color="0.9", linewidth=0.4, zorder=0)
        for place in np.cumsum(groups)[:-1]:
            axis.axhline(place - 0.5, color="0.3", linewidth=0.7)
        axis.tick_params(axis="y", length=0)
        sns.despine(ax=axis, left=True)
    axes[0].set_yticks(np.arange(len(metrics)), [metric_heading(name, lines) for name in metrics])
    axes[0].set_ylim(len(metrics) - 0.4, -0.6)
    for label in axes[0].get_yticklabels()[groups[0] :]:
        label.set(**style.APART)
    for first, count, name in zip(np.cumsum([0, *groups]), groups, ("", "by construction", "not judged"), strict=False):
        if count and name:
            beside: dict[str, Any] = {"ha": "left", "va": "center", "rotation": 90, "size": style.NAME_SIZE}
            transform = axes[-1].get_yaxis_transform()
            axes[-1].text(1.04, first + count / 2 - 0.5, name, transform=transform, **beside, **style.APART)
    drawn = [name for name in _LOOKS if name in lines and lines[name].notna().any()]
    _legend(figure, drawn)
    taken = lines.groupby("classifier")["recordings"].max()
    numbers = str(taken.iloc[0]) if taken.nunique() == 1 else ", ".join(str(taken[name]) for name in classifiers)
    note = (
        f"{lines['dataset'].iloc[0]}, {numbers} recordings{' per classifier' * (len(classifiers) > 1)}. Places between "
        "a metric's worst and best mean, bars: 95% intervals, cut where the panel ends.\nEffect: mean gain of the map "
        "that should be best (oracle, saliency) over random, in standard deviations between recordings; log axis. "
        "Agreement: rank correlation with metrics that know the ground truth."
    )
    verdicts = set(lines["verdict"])
    note += "\n" * bool({REVERSES, NOT_SHOWN} & verdicts)
    note += f"{REVERSED} has a pair of maps significantly in the wrong order. " * (REVERSES in verdicts)
    note += f"{OPEN} not shown to prefer what is better." * (NOT_SHOWN in verdicts)
    style.add_note(figure, note.strip())
    return figure


def _scale_effect(axis: Axes) -> None:
    """Give effects, of either sign and of two orders of magnitude, an axis whose ticks say that it is logarithmic."""
    axis.set_xscale("symlog", linthresh=_LINEAR, linscale=0.5)
    axis.margins(x=0.1)
    low, high = axis.get_xlim()
    ticks = [tick for tick in (-1000, -100, -10, -1, 0, 1, 10, 100, 1000) if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    for tick in ticks:
        axis.axvline(tick, color="0.85", linewidth=0.5, zorder=0)
    axis.minorticks_off()


def _groups(lines: pd.DataFrame) -> tuple[list[str], list[int]]:
    """Sort the metrics: judged, right by construction, not judged; also return how many each are."""
    about = lines.drop_duplicates("metric").set_index("metric")
    kinds: list[list[str]] = [[], [], []]
    for name in metric_order(lines):
        unjudged = about.at[name, "verdict"] == NOT_JUDGED
        kinds[2 if unjudged else 1 if about.at[name, "by_construction"] else 0].append(name)
    return [name for kind in kinds for name in kind], [len(kind) for kind in kinds]


def _draw_places(axis: Axes, panel: pd.DataFrame, metrics: Sequence[str]) -> None:
    """Draw the mean of each reference map between the worst and the best of its metric."""
    for row, metric in enumerate(metrics):
        if metric not in panel.index:
            continue
        line = panel.loc[metric]
        sign = 1 if line["higher_is_better"] else -1
        drawn = [name for name in _LOOKS if name in line.index and not np.isnan(line[name])]
        means = sign * line[drawn].astype(float)
        worst, reach = means.min(), means.max() - means.min()
        if not reach > 0:
            continue
        faint = 0.45 if line["verdict"] == NOT_JUDGED or line["by_construction"] else 1.0
        for index, name in enumerate(drawn):
            colour, marker = _LOOKS[name]
            height = row + 0.1 * (index - (len(drawn) - 1) / 2)
            ends = (sign * line[[f"{name}_low", f"{name}_high"]].astype(float) - worst) / reach
            axis.plot(ends.clip(-0.05, 1.05), [height] * 2, color=colour, linewidth=0.8, alpha=0.5 * faint, zorder=1)
            look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4.2 if marker == "*" else 3.2}
            axis.plot((means[name] - worst) / reach, height, alpha=faint, markeredgewidth=0.7, zorder=2, **look)
        if line["verdict"] in (REVERSES, NOT_SHOWN):
            mark = REVERSED if line["verdict"] == REVERSES else OPEN
            axis.text(1.23, row, mark, ha="right", va="center", color=style.VERMILION, weight="bold")


def _legend(figure: Figure, drawn: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.6, linewidth=0, label=name)
        for name, (colour, marker) in ((name, _LOOKS[name]) for name in drawn)
    ]
    common: dict[str, Any] = {"frameon": False, "handletextpad": 0.1, "columnspacing": 1.0}
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), **common)
