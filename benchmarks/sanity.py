"""Which methods change when the classifier's weights are made random stage by stage, and which when the class changes.

    xaibench run -m all -c cnn-micro -c vit-micro -c focalnet-micro --family randomisation --limit 16 \
        --dataset esc10 --data-dir ESC-50-master --out runs/sanity
    python benchmarks/sanity.py runs/sanity --out results/sanity-esc10

Writes PREFIX.csv (a line for each classifier and method) and PREFIX.md (a table for each classifier).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from xaibench.reports.leaderboard import metric_heading
from xaibench.reports.tables import pipe_table
from xaibench.results.comparison import at_equal_area, compare

STAGES, RANDOM, CLASS = "mprt", "efficient_mprt", "random_logit"
METRICS = (STAGES, RANDOM, CLASS)
# Rank correlations: of a map that is the same, and between maps that are more alike than not.
SAME, ALIKE = 0.999, 0.5
NUMBERS = ("mean", "low", "high", "n", "undefined")


def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of one dataset with the three metrics.")],
    out: Annotated[Path, typer.Option(help="Files to write, without their endings.")],
) -> None:
    """Write the sanity tables."""
    lines = at_equal_area(compare(runs))
    lines = lines[lines["metric"].isin(METRICS)]
    table = laid_out(lines)
    out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(out.with_suffix(".csv"), index=False)
    out.with_suffix(".md").write_text(page(table, lines))


def laid_out(lines: pd.DataFrame) -> pd.DataFrame:
    """Give each classifier and method one line, sorted by how little the map depends on the weights."""
    records = []
    for (classifier, method), own in lines.groupby(["classifier", "method"]):
        record = {"dataset": own["dataset"].iloc[0], "classifier": classifier, "method": method}
        record["control"] = own["control"].iloc[0]
        for _, line in own.iterrows():
            record |= {f"{line['metric']}_{number}": line[number] for number in NUMBERS}
        records.append(record | {"verdict": verdict(own.set_index("metric"))})
    found = pd.DataFrame(records)
    return found.sort_values(["classifier", f"{STAGES}_mean"], ascending=[True, False], kind="stable")


def verdict(own: pd.DataFrame) -> str:
    """Say in words what the metrics of one method, by name, tell."""
    if own["mean"].isna().all():
        return "is the same everywhere"
    if STAGES not in own.index:
        return "was not followed through the stages"  # the metric failed
    stages = own.loc[STAGES]
    if pd.isna(stages["mean"]):  # no clip has a rank correlation at every stage
        words = "changes with the weights: with random ones it is the same everywhere"
    elif stages["mean"] >= SAME:
        words = "ignores the weights"
    elif stages["low"] >= ALIKE:
        words = "hardly changes with the weights"
    elif stages["high"] < ALIKE:
        words = "changes with the weights"
    else:
        words = "may change with the weights"
    same = CLASS in own.index and own.at[CLASS, "mean"] >= SAME
    return f"{words}; one map for all classes" if same else words


def page(table: pd.DataFrame, lines: pd.DataFrame) -> str:
    """Write the page."""
    size = f"{lines['clips'].max()} clips ({lines['recordings'].max()} recordings) of {lines['dataset'].iloc[0]}"
    text = [
        "# Sanity checks",
        "",
        f"Means over {size}, with 95% intervals (recordings resampled). MPRT is the mean rank correlation between a "
        "map and those of the classifier as its stages are made random, from the output on; eMPRT is by how much the "
        "map becomes more complex when all weights are; Logit is the rank correlation with the map of another class. "
        f"A method ignores the weights if MPRT is 1, hardly changes if its interval is above {ALIKE}, and changes if "
        "it is below. Maps of noise change, too: a low value does not say that a map is right. Made by "
        "`benchmarks/sanity.py`.",
        "",
    ]
    headings = [metric_heading(name, lines) for name in METRICS]
    for classifier, own in table.groupby("classifier"):
        rows = [
            [line["method"], *(_cell(line, metric) for metric in METRICS), line["verdict"]]
            for _, line in own.iterrows()
        ]
        text += [f"## {classifier}", "", pipe_table("lrrrl", [["method", *headings, "the map"], *rows]), ""]
    return "\n".join(text).rstrip() + "\n"


def _cell(line: pd.Series, metric: str) -> str:
    if pd.isna(line.get(f"{metric}_mean")):
        return "undefined"
    return f"{line[f'{metric}_mean']:.2f} [{line[f'{metric}_low']:.2f}, {line[f'{metric}_high']:.2f}]"


if __name__ == "__main__":
    typer.run(main)
