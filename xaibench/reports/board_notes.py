"""What stands below a board: its marks explained, and what its recordings, clips and code allow to say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xaibench.reports.leaderboard import SORT_METRIC, metric_order, metric_title, names_in
from xaibench.reports.tables import DAGGER, DOUBLE_DAGGER, OTHERWISE, PARTIAL, Row
from xaibench.results.comparison import at_equal_area
from xaibench.results.conditions import CODE
from xaibench.results.power import fewest_recordings
from xaibench.results.verdicts import BASELINE


def notes(rows: tuple[Row, ...], lines: pd.DataFrame) -> tuple[str, ...]:
    """Explain the marks that occur."""
    tails = "".join(cell.tail for row in rows for cell in row.cells)
    said = []
    if any(cell.best for row in rows for cell in row.cells):
        judged = lines["better_than_random"].notna().any()
        bold = "Bold: no other method is found better"
        said.append(bold + (f", and it is better than {BASELINE}." if judged else "."))
    if lines["area"].notna().any():
        said.append(f"Masks keep or remove the top {100 * lines['area'].max():g}% of bins.")
    if any(row.apart for row in rows):
        said.append("Soft masks: the method's own mask, of any size; not ranked with the others.")
    if "±" in tails:
        said.append("±: half the 95% bootstrap interval over recordings.")
    if DAGGER in tails:
        said.append(f"{DAGGER}: not significantly better than {BASELINE}.")
    names = "".join(row.marks for row in rows)
    if PARTIAL in names + tails:
        said.append(f"{PARTIAL}: lacks clips that the rest has: of an unfinished run, or of one with --limit.")
    if DOUBLE_DAGGER in names:
        title = metric_title(SORT_METRIC, lines)
        said.append(f"{DOUBLE_DAGGER}: a control that ignores the classifier is significantly better in {title}.")
    if "(" in tails:
        said.append("(n): undefined on n clips, which the mean leaves out.")
    if CODE in names_in(lines["differs_in"]):
        said.append("The mark of code goes when 'xaibench verify RUN --rescore N' agrees.")
    return tuple(said)


def made_otherwise(lines: pd.DataFrame) -> list[str]:
    """Name the methods that were made with other code, versions or devices than most."""
    otherwise = {str(method): names_in(own["differs_in"]) for method, own in lines.groupby("method")}
    named = [f"{name} ({', '.join(kinds)})" for name, kinds in otherwise.items() if kinds]
    return [f"{OTHERWISE}: made with other code, versions or devices than most: {', '.join(named)}."] * bool(named)


def power(lines: pd.DataFrame, silent: bool) -> list[str]:
    """Say which differences the recordings can show, in the metric that boards are sorted by; or that there is none."""
    judged = at_equal_area(lines)
    own = judged[(judged["metric"] == SORT_METRIC) & judged["least_difference"].notna()]
    nothing = ["No two rows can be told apart: no number here is a reason to prefer a method."] * silent
    rows = int(own["rank"].notna().sum())
    if rows < 2:
        return nothing
    line = own.iloc[0]
    recordings, pairs = int(line["recordings"]), rows * (rows - 1) // 2
    if np.isinf(line["least_difference"]):
        need = fewest_recordings(pairs)
        few = f"{recordings} recording{'s' * (recordings > 1)} can show no difference, however large"
        return [*nothing, f"{few}: {rows} rows take {need} at least."]
    shown, title = f"{line['least_difference']:.2g}", metric_title(SORT_METRIC, lines)
    return [*nothing, f"{recordings} recordings show a difference in {title} of {shown} or more, 4 times in 5."]


def shared_clips(lines: pd.DataFrame) -> list[str]:
    """Say on how many clips methods are compared, where that is not all of those that were scored."""
    lines = at_equal_area(lines)
    compared, scored = lines["n"] + lines["undefined"], lines["clips"] + lines["missing"]
    fewer = {
        str(metric): (int(compared[own.index].max()), int(scored[own.index].max()), bool(own["rank"].notna().any()))
        for metric, own in lines.groupby("metric")
        if (own["missing"] > 0).any()
    }
    shared: dict[str, list[str]] = {}
    for metric in (name for name in metric_order(lines) if name in fewer):
        clips, of, ranked = fewer[metric]
        shared.setdefault(f"{clips} of {of}" if ranked else "", []).append(metric_title(metric, lines))
    apart = shared.pop("", [])
    notes = [
        f"{', '.join(titles)}: compared on the clips that all methods have, {count}."
        for count, titles in shared.items()
    ]
    return notes + [f"{', '.join(apart)}: not ranked, because no clip is shared by all methods."] * bool(apart)
