"""What leaderboards and figures share: the order and the names of methods and metrics, and the boards for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports.style import arrow
from xaibench.reports.tables import OTHERWISE, PARTIAL
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.comparison import CONDITIONS, at_equal_area, at_one_area
from xaibench.results.parts import SOFT

ROW = ["method", "mask"]  # columns of a comparison that tell the rows of a board
# The order over families, and what the boards for machines have of every metric beside its mean.
OVERALL = ("overall", "overall_low", "overall_high", "overall_of")
_OF_METRIC = (
    *("low", "high", "n", "undefined", "better_than_random"),
    *("rank", "rank_low", "rank_high", "first", "least_difference"),
)
# A board is sorted by this metric where it was scored.
SORT_METRIC = "faithfulness"
# The columns that readers look for first, in this order; all other metrics follow by family.
FIRST_METRICS = (
    *(SORT_METRIC, "faithfulness_equal_energy", "energy_removed"),
    *("fidelity_in", "average_drop", "average_gain", "average_increase"),
    *("deletion_auc", "insertion_auc", "sparseness", "complexity"),
)


def metric_order(lines: pd.DataFrame) -> list[str]:
    """Sort the metrics of a comparison as people look for them: FIRST_METRICS, then by family and name."""
    families: dict[str, str] = dict(zip(lines["metric"], lines["family"], strict=True))
    first = [name for name in FIRST_METRICS if name in families]
    return first + sorted(families.keys() - set(first), key=lambda name: (families[name], name))


def chosen(
    lines: pd.DataFrame, classifiers: Iterable[str], methods: Iterable[str], metrics: Iterable[str]
) -> pd.DataFrame:
    """Choose lines of a comparison; metrics by name or by short name in any case; an empty choice is no condition.

    Raises:
        ResultsError: nothing of that name was scored.
    """
    short = {metric_title(name, lines).lower(): name for name in reversed(metric_order(lines))}
    named = [short.get(name.lower(), name) for name in metrics]
    for column, wanted in {"classifier": [*classifiers], "method": [*methods], "metric": named}.items():
        known = sorted(set(lines[column]))
        for name in wanted:
            if name not in known:
                raise ResultsError(f"no {column} {name} was scored; there are {', '.join(known)}")
        lines = lines[lines[column].isin(wanted)] if wanted else lines
    return lines


def metric_heading(name: str, lines: pd.DataFrame) -> str:
    """Write a metric's title with an arrow to its better side; `lines` of a comparison say what the metric is."""
    return f"{metric_title(name, lines)} {arrow(rises(name, lines))}"


def axis_label(name: str, lines: pd.DataFrame) -> str:
    """Write a metric's name and title with an arrow along the axis to its better side."""
    return f"{name.capitalize()} ({metric_title(name, lines)}) {arrow(rises(name, lines), along=True)}"


def metric_title(name: str, lines: pd.DataFrame) -> str:
    """Return a metric's short name."""
    return str(lines.loc[lines["metric"] == name, "metric_title"].iloc[0])


def rises(name: str, lines: pd.DataFrame) -> bool:
    """Tell whether higher is better."""
    return bool(lines.loc[lines["metric"] == name, "higher_is_better"].iloc[0])


def best_methods(lines: pd.DataFrame) -> set[str]:
    """Find the methods of one metric at one area than which no other is found better, and that are better than random.

    A method that stands alone, without a control to be compared with, is not the best of anything.
    """
    ranked = lines[~lines["control"] & lines["rank"].notna()]
    if len(ranked) == 1 and ranked["better_than_random"].isna().all():
        return set()
    better = ranked["better_than_random"].fillna(True).astype(bool)
    rank, tied = ranked["rank"].to_numpy(int), [set(names.split(";")) for names in ranked["tied_with"]]
    names = ranked["method"].tolist()
    beaten = [any(rank[j] < rank[i] and names[j] not in tied[i] for j in range(len(names))) for i in range(len(names))]
    return {name for name, worse, good in zip(names, beaten, better, strict=True) if good and not worse}


def scope(lines: pd.DataFrame) -> str:
    """Say on what lines of one group are based: dataset, protocol, clips, recordings, and the area if it is one."""
    first = lines.iloc[0]
    clips, recordings = int((lines["n"] + lines["undefined"]).max()), int(lines["recordings"].max())
    areas = lines["area"].dropna().unique()
    masks = f", masks of {100 * areas[0]:g}% of the bins" if len(areas) == 1 else ""
    return f"{first['dataset']}, protocol {first['protocol']}: {clips} clips of {recordings} recordings{masks}"


def method_order(lines: pd.DataFrame) -> list[str]:
    """Sort the methods of a comparison at equal area as a board does: methods, then controls, each best first."""
    return [method for method, _ in row_order(at_equal_area(lines))]


def row_order(lines: pd.DataFrame, sort: str | None = None, area: float = PRIMARY_AREA) -> list[tuple[str, str]]:
    """Sort (method, mask): methods, then soft masks, then controls, each best first.

    Over several classifiers, best is by the mean.

    Args:
        lines: of a comparison.
        sort: name of the metric that says what is best. None: SORT_METRIC where it was scored, else the mean rank.
        area: of the masks.
    """
    lines = at_one_area(lines, area)
    by = sort or SORT_METRIC
    chosen = lines[lines["metric"] == by]
    if len(chosen):
        chosen = chosen[chosen["rank"].notna()]
        key = chosen.groupby(ROW)["mean"].mean() * (-1 if rises(by, lines) else 1)
    else:
        key = lines.astype({"rank": float}).groupby(ROW)["rank"].mean()
    control = lines.groupby(ROW)["control"].first()
    place = {row: 1 if row[1] == SOFT else 2 if control[row] else 0 for row in control.index}
    return sorted(place, key=lambda row: (place[row], key.get(row, np.inf), row))


def wide(comparison: pd.DataFrame, group: str) -> pd.DataFrame:
    """Lay out one line per (classifier, method, mask) of a group, unrounded: the boards' numbers for machines.

    Columns: dataset, classifier, method, control, mask, trained, training_seconds, trained_parameters,
    accuracy, overall, overall_low, overall_high, overall_of (none for soft masks, which have other rivals),
    seconds_per_clip, and per metric at the primary area METRIC and METRIC_ + low, high, n, undefined,
    better_than_random, rank, rank_low, rank_high, first, least_difference; then group, protocol, seed,
    precision, compiled, fill, target, clips (the most that the method has scored) and differs_in.
    """
    lines = at_one_area(comparison[comparison["group"] == group])
    records: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for classifier, block in lines.groupby("classifier", sort=True):
        for method, mask in row_order(block):
            own = block[(block["method"] == method) & (block["mask"] == mask)].set_index("metric")
            record: dict[str, Any] = {"dataset": own["dataset"].iloc[0], "classifier": classifier, "method": method}
            about = ("control", "mask", "trained", "training_seconds", "trained_parameters", "accuracy")
            record |= {key: own[key].iloc[0] for key in about}
            record |= {key: own[key].iloc[0] for key in (*OVERALL, "seconds_per_clip")}
            for metric in (name for name in metric_order(lines) if name in own.index):
                record[metric] = own.at[metric, "mean"]
                for key in _OF_METRIC:
                    record[f"{metric}_{key}"] = own.at[metric, key]
            records.append(record)
            ends.append(
                {key: own[key].iloc[0] for key in ("group", *CONDITIONS)}
                | {"clips": own["clips"].max(), "differs_in": ";".join(names_in(own["differs_in"]))}
            )
    return pd.DataFrame(records).join(pd.DataFrame(ends))


def row_marks(lines: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return what stands behind the name of each (method, mask) of a classifier, of all that says how it was scored.

    PARTIAL: it lacks clips that others have; OTHERWISE: it was made with other code, versions or devices.
    """
    whole = lines.groupby(ROW)["clips"].transform("max")
    partial = set(rows_of(lines[(lines["clips"] == whole) & (lines["missing"] > 0)]))
    otherwise = set(rows_of(lines[lines["differs_in"] != ""]))
    return {row: PARTIAL * (row in partial) + OTHERWISE * (row in otherwise) for row in set(rows_of(lines))}


def names_in(lists: Iterable[str]) -> list[str]:
    """Name what is in lists that are separated by semicolons, each once."""
    return list(dict.fromkeys(word for one in lists for word in one.split(";") if word))


def rows_of(lines: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (method, mask) of each line."""
    return list(zip(lines["method"], lines["mask"], strict=True))
