"""Which clips a report shows, and why each: chosen by what came out, and at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from xaibench.reports.leaderboard import SORT_METRIC, metric_order, metric_title, rises
from xaibench.results.comparison import at_equal_area, at_one_area, by_clip

# Why a clip is shown, in the order in which a page lists them.
BEST, WORST, DISAGREED = "best explained", "worst explained", "most disagreed about"
MISCLASSIFIED, RANDOM = "misclassified", "at random"
OUTCOMES = (BEST, WORST, DISAGREED, MISCLASSIFIED, RANDOM)
_EXTREMES = 3  # clips that are named as a method's best and worst


@dataclass(frozen=True)
class ClipScores:
    """The clips of one classifier by one metric at the primary area.

    Attributes:
        metric: its name.
        title: its short name.
        sign: 1 where higher is better, else -1.
        values: (methods, clips), as scored; NaN where undefined.
        correct: for each clip, whether the classifier is right, or None where nobody knows.
    """

    metric: str
    title: str
    sign: int
    values: pd.DataFrame
    correct: pd.Series

    def extremes(self) -> dict[str, dict[str, list[tuple[str, float]]]]:
        """Return by method its best and worst clips, with their values."""
        found = {}
        for method, line in self.values.iterrows():
            order = (line.dropna() * self.sign).sort_values(ascending=False, kind="stable").index
            few = min(_EXTREMES, len(order) // 2)
            said = [(str(clip), float(line[clip])) for clip in order]
            found[str(method)] = {"best": said[:few], "worst": said[::-1][:few]}
        return found


def clip_scores(rows: pd.DataFrame, comparison: pd.DataFrame, classifier: str) -> ClipScores:
    """Read the clips' values of the metric that boards are sorted by; of the first one where that was not scored.

    Args:
        rows: per-clip rows of a group (`compared_rows`).
        comparison: the lines of that group.
        classifier: whose.
    """
    own = at_one_area(at_equal_area(rows[rows["classifier"] == classifier]))
    known = [name for name in metric_order(comparison) if name in set(own["metric"])]
    metric = SORT_METRIC if SORT_METRIC in known else known[0]
    values, _ = by_clip(own[own["metric"] == metric], ["method"])
    correct = own.drop_duplicates("clip").set_index("clip")["correct"].reindex(values.columns)
    sign = 1 if rises(metric, comparison) else -1
    return ClipScores(metric, metric_title(metric, comparison), sign, values, correct)


def choose(scores: ClipScores, controls: set[str], count: int, seed: int) -> dict[str, list[str]]:
    """Choose clips to show: up to a fifth for each outcome, and the rest at random from all clips.

    Best, worst and most disagreed about are by the mean, and the standard deviation, of the methods that are no
    controls. A clip may be chosen for several reasons.

    Args:
        scores: of the clips.
        controls: names of the methods that are controls.
        count: most clips to choose.
        seed: of the random choice.

    Returns:
        The reasons of each clip, in the order of OUTCOMES.
    """
    methods = [name for name in scores.values.index if name not in controls]
    values = (scores.values.loc[methods] if methods else scores.values) * scores.sign
    mean = values.mean().dropna().sort_values(kind="stable")
    spread = values.std().dropna().sort_values(ascending=False, kind="stable")
    generator, each = np.random.default_rng(seed), max(1, count // len(OUTCOMES))
    wrong = [str(clip) for clip, right in scores.correct.items() if right is False or right == np.False_]
    chosen: dict[str, list[Any]] = {
        BEST: list(mean.index[::-1][:each]),
        WORST: list(mean.index[:each]),
        DISAGREED: list(spread.index[:each]) if len(values) > 1 else [],
        MISCLASSIFIED: [wrong[i] for i in generator.permutation(len(wrong))[:each]],
        RANDOM: [],
    }
    for clip in generator.permutation(scores.values.columns):
        if len({one for clips in chosen.values() for one in clips}) >= count:
            break
        chosen[RANDOM].append(clip)
    found: dict[str, list[str]] = {}
    for outcome in OUTCOMES:
        for clip in chosen[outcome]:
            found.setdefault(str(clip), []).append(outcome)
    return dict(list(found.items())[:count])
