"""A paper's table beside our values, its claims tested on our clips, and the page that shows both."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from xaibench.papers.paper import ACCURACY, Claim, Outcome, Paper, System
from xaibench.reports.tables import DAGGER, MISSING, pipe_table
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.comparison import at_one_area, by_clip, summarise
from xaibench.results.parts import EQUAL_AREA, SOFT
from xaibench.results.resampling import Floats
from xaibench.results.statistics import ALPHA, corrected_p, paired_difference
from xaibench.results.verdicts import BASELINE
from xaibench.storage.atomic import write_atomically
from xaibench.storage.spreadsheet import csv_bytes

MASKS = {EQUAL_AREA: f"top {PRIMARY_AREA:.0%}", SOFT: "its own, soft"}
COLUMNS = (
    *("system", "classifier", "method", "mask", "control", "metric", "mean", "low", "high", "n", "undefined"),
    *("published", "better_than_random"),
)
_LINE = ["classifier", "method", "mask", "metric"]
_Key = tuple[str, str, str, str]  # of a line: a value for each of _LINE


def table(paper: Paper, outcome: Outcome) -> pd.DataFrame:
    """Make one line for each system and measured or published value.

    Columns are COLUMNS; `published` is literature, `mask` as in the rows. A value published under a key that is no
    metric of ours has a line of its own, whose metric is "published KEY".
    """
    systems = [(system, False) for system in paper.systems]
    for one in paper.architectures:
        systems += [(System(f"{name}, {one.title}", one.family, name), True) for name in paper.controls]
    measured = [column.key for column in paper.columns]
    records = [
        (system.title, *_line(outcome, system, metric), control, system.published.get(metric, np.nan))
        for system, control in systems
        for metric in dict.fromkeys((*measured, *system.published))
    ]
    lines = pd.DataFrame(records, columns=["system", *_LINE, "control", "published"])
    values, recordings = _values(outcome)
    # One at a time, so that the last digits of a line do not depend on which others there are.
    summary = pd.concat([summarise(values.loc[[line]], recordings) for line in values.index])
    lines = lines.join(summary.assign(undefined=len(recordings) - summary["n"]), on=_LINE)

    judged = [column.key for column in paper.columns if column.better_than_random]
    tested = lines[~lines["control"] & lines["metric"].isin(judged)]
    own: list[_Key] = list(tested[_LINE].itertuples(index=False, name=None))
    random = [(classifier, BASELINE, EQUAL_AREA, metric) for classifier, _, _, metric in own]
    p = corrected_p(_of(values, own) - _of(values, random), recordings, "greater")
    lines["better_than_random"] = pd.Series(p <= ALPHA, tested.index, dtype="boolean").mask(np.isnan(p))
    lines["metric"] = lines["metric"].where(lines["metric"].isin(measured), "published " + lines["metric"])
    return lines[list(COLUMNS)]


def verdicts(paper: Paper, outcome: Outcome) -> pd.DataFrame:
    """Test every claim of the paper, on the clips where both of its systems are defined.

    Columns: claim; mean, low, high of first minus second, with the 95% interval over recordings; p of a two-sided
    sign-flip test over recordings, Holm-corrected over all claims; verdict: "holds", "the opposite holds" or "open",
    of claims that systems are alike "does not hold" or "no difference shown".
    """
    values, recordings = _values(outcome)
    first = [_line(outcome, claim.first, claim.column) for claim in paper.claims]
    second = [_line(outcome, claim.second, claim.column) for claim in paper.claims]
    found = paired_difference(_of(values, first), _of(values, second), recordings)
    words = [_verdict(*one) for one in zip(paper.claims, found.mean, found.p, strict=True)]
    return pd.DataFrame({"claim": [claim.text for claim in paper.claims], **vars(found), "verdict": words})


def _verdict(claim: Claim, difference: float, p: float) -> str:
    differs = p <= ALPHA
    if claim.alike:
        return "does not hold" if differs else "no difference shown"
    if not differs:
        return "open"
    return "holds" if difference > 0 else "the opposite holds"


def markdown(paper: Paper, outcome: Outcome, command: str) -> str:
    """Write the whole page: table, claims, differences from the paper, origin of the weights."""
    found = verdicts(paper, outcome)
    claims = [
        [str(one.claim), f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}]", f"{one.p:.2g}", str(one.verdict)]
        for one in found.itertuples()
    ]
    templates = Environment(
        loader=PackageLoader("xaibench"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, no HTML
    )
    return templates.get_template("paper.md.jinja").render(
        paper=paper,
        outcome=outcome,
        command=command,
        systems=_systems(paper, table(paper, outcome)),
        verdicts=found.groupby("verdict", sort=False)["claim"].agg(list),
        claims=pipe_table("lrrl", [["Claim", "Difference here", "p", "Verdict"], *claims]),
    )


def write(paper: Paper, outcome: Outcome, command: str, folder: Path) -> list[Path]:
    """Write PAPER.md, the page, and PAPER.csv, its table unrounded; return their paths."""
    contents = {
        folder / f"{paper.name}.md": markdown(paper, outcome, command).encode(),
        folder / f"{paper.name}.csv": csv_bytes(table(paper, outcome)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_atomically(path, content)
    return list(contents)


def _values(outcome: Outcome) -> tuple[pd.DataFrame, NDArray[np.str_]]:
    """Arrange by clip what the page shows: the primary area, soft masks, and accuracy as one metric more."""
    rows = at_one_area(outcome.rows)
    correct = rows.drop_duplicates(["classifier", "method", "mask", "clip"]).assign(metric=ACCURACY)
    return by_clip(pd.concat([rows, correct.assign(value=correct["correct"].astype(float))]), _LINE)


def _line(outcome: Outcome, system: System, metric: str) -> _Key:
    """Name the line of `_values` that holds a system's values."""
    return outcome.labels[system.family], system.method, system.mask, metric


def _of(values: pd.DataFrame, lines: list[_Key]) -> Floats:
    """Choose lines of `_values`, (lines, clips); those that were not scored are NaN."""
    return values.reindex(pd.MultiIndex.from_tuples(lines, names=_LINE)).to_numpy()


def _systems(paper: Paper, lines: pd.DataFrame) -> str:
    """Write the table: a line for each system and mask, our values and then the published ones."""
    published = [f"*{heading}, published*" for heading in paper.published_columns.values()]
    cells = [["System", "Mask", *(column.heading for column in paper.columns), *published]]
    for (control, system, mask), own in lines.groupby(["control", "system", "mask"], sort=False):
        by_metric = own.set_index(own["metric"].str.removeprefix("published ")).to_dict("index")
        ours = [_value(by_metric[column.key]) for column in paper.columns]
        theirs = [_published(by_metric.get(key, {}).get("published", np.nan)) for key in paper.published_columns]
        cells.append([f"*{system}*" if control else str(system), MASKS[str(mask)], *ours, *theirs])
    return pipe_table("ll" + "r" * (len(cells[0]) - 2), cells)


def _value(line: dict[Hashable, Any]) -> str:
    if np.isnan(line["mean"]):
        return MISSING
    interval = "" if np.isnan(line["low"]) else f" [{line['low']:.3f}, {line['high']:.3f}]"
    weak = DAGGER * (pd.notna(line["better_than_random"]) and not line["better_than_random"])
    return f"{line['mean']:.3f}{interval}{weak}" + (
        f" ({line['undefined']:.0f} undefined)" if line["undefined"] else ""
    )


def _published(value: float) -> str:
    return MISSING if np.isnan(value) else f"*{value:.3g}*" if value < 0.1 else f"*{value:.3f}*"
