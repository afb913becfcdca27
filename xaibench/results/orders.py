"""How the order of methods changes from one way of scoring to another: with sound or pictures, fills, budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from xaibench.errors import ResultsError
from xaibench.results.comparison import PRIMARY_AREA, at_equal_area, at_one_area, by_clip, summarise
from xaibench.results.statistics import ALPHA, corrected_p, paired_difference
from xaibench.results.store import read_rows
from xaibench.results.verdicts import BASELINE

LINE = ["classifier", "method"]
VERDICTS = ["reversed", "tied now", "told apart now"]


@dataclass(frozen=True)
class Condition:
    """One way of scoring, by one metric.

    Attributes:
        title: what a table calls it.
        run: folder of the run that scored so.
        metric: id of the metric.
        suffix: of the methods to read, such as `:path=direct`; it is left out of their names. Other methods with
            settings are not read; a method that the run has with the suffix takes the place of the one without.
        area: of a metric that has areas.
    """

    title: str
    run: Path
    metric: str
    suffix: str = ""
    area: float = PRIMARY_AREA


class Orders:
    """The same methods, classifiers and clips under several conditions.

    Attributes:
        conditions: in the order of the columns.
        values: scores (condition, classifier, method) by clip, NaN where undefined.
        recordings: of the clips, (clips,).

    Raises:
        ResultsError: a run has no such rows, or the conditions share no clip.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = conditions
        frames = {one.title: rows_of(one) for one in conditions}
        shared = set.intersection(*(set(rows["clip"]) for rows in frames.values()))
        if not shared:
            raise ResultsError("the conditions share no clip; score the same --folds of one dataset, without --limit")
        whole = pd.concat([rows.assign(condition=title) for title, rows in frames.items()])
        whole = whole[whole["clip"].isin(shared)]
        pairs = whole.groupby(LINE)["condition"].nunique()
        whole = whole.join((pairs == len(frames)).rename("everywhere"), on=LINE)
        self.values, self.recordings = by_clip(whole[whole["everywhere"]], ["condition", *LINE])

    def lines(self) -> pd.DataFrame:
        """Average every method under every condition.

        Columns are condition, classifier, method, mean, low, high (95% interval, recordings resampled), n, recordings,
        rank (1 is the best; higher is better) and better_than_random (Holm-corrected over the methods).
        """
        lines = summarise(self.values, self.recordings).reset_index()
        lines["recordings"] = len(set(self.recordings))
        cells = lines.groupby(["condition", "classifier"], sort=False)
        lines["rank"] = cells["mean"].rank(method="min", ascending=False).astype(int)
        lines["better_than_random"] = False
        for (condition, classifier), cell in cells:
            values = self.of(str(condition), str(classifier))
            others = [name for name in values.index if name != BASELINE]
            p = corrected_p((values.loc[others] - values.loc[BASELINE]).to_numpy(), self.recordings, "greater")
            better = dict(zip(others, p <= ALPHA, strict=True))
            lines.loc[cell.index, "better_than_random"] = [bool(better.get(name)) for name in cell["method"]]
        place = {one.title: i for i, one in enumerate(self.conditions)}
        lines["place"] = lines["condition"].map(place)
        return lines.sort_values(["classifier", "place", "rank"], ignore_index=True).drop(columns="place")

    def pairs(self) -> pd.DataFrame:
        """Compare every two methods of a classifier under every condition.

        Columns are condition, classifier, first, second, difference (first minus second), low, high (95% interval) and
        p (two-sided, by flipping the signs of recordings, Holm-corrected over the pairs of classifier and condition).
        """
        blocks = []
        for condition in (one.title for one in self.conditions):
            for classifier in self.values.index.unique("classifier"):
                values = self.of(condition, classifier)
                first, second = np.triu_indices(len(values), 1)
                found = paired_difference(values.to_numpy()[first], values.to_numpy()[second], self.recordings)
                block = {
                    "condition": condition,
                    "classifier": classifier,
                    "first": values.index[first],
                    "second": values.index[second],
                    "difference": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "p": found.p,
                }
                blocks.append(pd.DataFrame(block))
        return pd.concat(blocks, ignore_index=True)

    def of(self, condition: str, classifier: str) -> pd.DataFrame:
        """Give the scores (methods, clips) of a classifier under a condition."""
        conditions, classifiers = (self.values.index.get_level_values(level) for level in ("condition", "classifier"))
        chosen = self.values[(conditions == condition) & (classifiers == classifier)]
        return chosen.droplevel(["condition", "classifier"])


def changes(pairs: pd.DataFrame, before: str, after: str) -> pd.DataFrame:
    """Find the pairs of `Orders.pairs` about which two conditions say something else.

    Returns:
        Columns classifier, first, second, verdict, and difference, low, high of each condition (suffixes `_before`,
        `_after`). First is the better one before, or, where they were tied, after. The verdict is `reversed` (both tell
        them apart, with the other sign), `tied now` or `told apart now`.
    """
    key, numbers = ["classifier", "first", "second"], ["difference", "low", "high"]
    both = pd.merge(
        pairs[pairs["condition"] == before], pairs[pairs["condition"] == after], on=key, suffixes=("_before", "_after")
    )
    was, now = (
        np.sign(both[f"difference_{when}"]).where(both[f"p_{when}"] <= ALPHA, 0) for when in ("before", "after")
    )
    verdict = np.select([was * now < 0, (was != 0) & (now == 0), (was == 0) & (now != 0)], VERDICTS, "")
    both["verdict"] = verdict
    turned = (was < 0) | ((was == 0) & (now < 0))
    both.loc[turned, ["first", "second"]] = both.loc[turned, ["second", "first"]].to_numpy()
    for when in ("before", "after"):
        columns = [f"{name}_{when}" for name in numbers]
        flipped = -both.loc[turned, [columns[0], columns[2], columns[1]]].to_numpy()
        both.loc[turned, columns] = flipped
    shown = [*key, "verdict", *(f"{name}_{when}" for when in ("before", "after") for name in numbers)]
    return both.loc[verdict != "", shown].sort_values(["verdict", *key], ignore_index=True)


def tau(lines: pd.DataFrame, classifier: str, first: str, second: str) -> float:
    """Give Kendall's tau-b between the orders of a classifier's methods under two conditions (`Orders.lines`)."""
    means = lines[lines["classifier"] == classifier].pivot(index="method", columns="condition", values="mean")
    return float(kendalltau(means[first], means[second]).statistic)


def rows_of(condition: Condition) -> pd.DataFrame:
    """Read the scores of a condition: columns classifier, method, clip, src_file and value.

    Raises:
        ResultsError: its run has none.
    """
    rows = at_one_area(at_equal_area(read_rows(condition.run)), condition.area)
    rows = rows[rows["metric"] == condition.metric]
    if rows.empty:
        at = "" if condition.area == PRIMARY_AREA else f" at {condition.area:.0%} of the area"
        raise ResultsError(f"{condition.run} has no scores by {condition.metric}{at}; score them with --metric")
    settings = rows["method"].str.partition(":")[2]
    rows = rows.assign(method=rows["method"].str.partition(":")[0], given=settings != "")
    rows = rows[(settings == "") | (":" + settings == condition.suffix)]
    replaced = rows.groupby([*LINE, "clip"])["given"].transform("any") & ~rows["given"]
    return rows.loc[~replaced, [*LINE, "clip", "src_file", "value"]]
