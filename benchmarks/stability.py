"""Which conclusions survive: how alike the orders of methods are under other protocols, budgets, fills and clips.

    python benchmarks/stability.py --reference results/published/esc10.run.tar.xz \\
        --condition "pictures=results/published/esc10-pictures.run.tar.xz" \\
        --condition "other clips: ESC-50=results/published/esc50.run.tar.xz" --out results/stability

Runs are folders or archives (`xaibench publish`). The reference is FF at 10% of the area; it is compared with itself at
other areas and at equal energy, and with the runs of the conditions at 10%: with their FF, or with another
metric, whose name follows the run (`"cells=RUN=faithfulness_of_cells"`). PREFIX.csv has the taus, PREFIX-pairs.csv the
pairs that all conditions tell apart alike, and PREFIX.md both as tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from xaibench.reports.tables import pipe_table
from xaibench.results.areas import AREAS
from xaibench.results.comparison import PRIMARY_AREA
from xaibench.results.orders import Condition
from xaibench.results.runs import find_runs
from xaibench.results.stability import Stability

AREA, ENERGY = "faithfulness", "faithfulness_equal_energy"


def main(
    reference: Annotated[Path, typer.Option(help="Run whose FF at 10% of the area is compared.")],
    condition: Annotated[list[str], typer.Option(help="TITLE=RUN or TITLE=RUN=METRIC, repeatable.")],
    out: Annotated[Path, typer.Option(help="Files to write, without their endings.")],
) -> None:
    """Write the tables of stability."""
    (run,) = find_runs(reference)
    others = [Condition(f"area {area:.0%}", run, AREA, area=area) for area in AREAS if area != PRIMARY_AREA]
    others.append(Condition("equal energy", run, ENERGY))
    for text in condition:
        title, path, *metric = text.split("=")
        (other,) = find_runs(Path(path))
        others.append(Condition(title, other, *metric or [AREA]))
    stability = Stability(Condition("reference", run, AREA), others)
    taus, survivors, counts = stability.taus(), stability.survivors(), stability.counts()
    taus.to_csv(out.with_suffix(".csv"), index=False)
    survivors.to_csv(out.with_name(f"{out.name}-pairs.csv"), index=False)
    out.with_suffix(".md").write_text(page(taus, survivors, counts))


def page(taus: pd.DataFrame, survivors: pd.DataFrame, counts: pd.DataFrame) -> str:
    """Write the tables as Markdown."""
    text = [
        "# Which conclusions survive",
        "",
        "Kendall's tau-b between the order of the methods by FF (10% of the area, protocol `standard`, the clips of "
        "the reference) and their order under another condition, on the methods that both have; 95% interval, "
        "recordings resampled (a resample adds chance to both orders, so that an interval may end below its tau). "
        "Split-half is the mean tau between two halves of the recordings of the reference, which share no chance: "
        "orders of the same clips share it, and may be more alike. Made by `benchmarks/stability.py`.",
        "",
    ]
    for name, own in taus.groupby("classifier"):
        rows = [
            [
                str(line["condition"]),
                str(line["methods"]),
                f"{line['clips']} ({line['recordings']})",
                f"{line['tau']:.2f} [{line['low']:.2f}, {line['high']:.2f}]",
                f"{line['split_half']:.2f}",
            ]
            for _, line in own.iterrows()
        ]
        header = ["condition", "methods", "clips (recordings)", "tau", "split-half"]
        text += [f"## {name}", "", pipe_table("lrrrr", [header, *rows]), ""]
    text += ["# Pairs that every condition tells apart alike", ""]
    text += [
        "By a two-sided test that flips the signs of recordings, Holm-corrected over all pairs of a classifier and "
        "condition.",
        "",
    ]
    counted = counts.astype(str)
    header = [name.replace("_", " ") for name in counted.columns]
    text += [pipe_table("lrrr", [header, *counted.to_numpy().tolist()])]
    for name, own in survivors.groupby("classifier"):
        text += ["", f"**{name}**", ""]
        text += [f"- {better} > {', '.join(worse)}" for better, worse in own.groupby("better")["worse"]]
    return "\n".join(text).rstrip() + "\n"


if __name__ == "__main__":
    typer.run(main)
