"""What scoring sound instead of pictures, another budget or another fill does to the order of methods.

    xaibench run -m all ... --protocol spectrogram --out runs/pictures        # and the others without it:
    xaibench run -m all ... --out runs/sound                                  # both budgets of FF are default metrics
    xaibench run -m saliency:path=direct ... -m random --out runs/direct      # and all other methods, without settings
    xaibench run -m all ... --metric faithfulness --fill mean --out runs/mean     # likewise --fill noise
    python benchmarks/orders.py --pictures runs/pictures --heard runs/sound --direct runs/direct --mean runs/mean \
        --noise runs/noise --out results/orders-esc10

Runs are folders or archives (`xaibench publish`). All are of one dataset, such as `--dataset esc10 --data-dir
ESC-50-master`; a `--limit` may make the last three shorter. Writes PREFIX.csv (means), PREFIX-elements.csv (means of
the last three, and of sound on their clips), PREFIX-changes.csv (pairs about which pictures and sound disagree) and
PREFIX.md (all as tables).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from xaibench.reports.tables import pipe_table
from xaibench.results.orders import VERDICTS, Condition, Orders, changes, tau
from xaibench.results.runs import find_runs

AREA, ENERGY = "faithfulness", "faithfulness_equal_energy"
PICTURES, HEARD, EQUAL_ENERGY = "pictures", "sound", "sound, equal energy"


def main(
    pictures: Annotated[Path, typer.Option(help="Run under the protocol spectrogram.")],
    heard: Annotated[Path, typer.Option(help="Run under the standard protocol, with FF at equal energy.")],
    direct: Annotated[Path, typer.Option(help="Run whose gradient methods have path=direct.")],
    mean: Annotated[Path, typer.Option(help="Run with --fill mean.")],
    noise: Annotated[Path, typer.Option(help="Run with --fill noise.")],
    out: Annotated[Path, typer.Option(help="Files to write, without their endings.")],
) -> None:
    """Write the tables of the orders."""
    pictures, heard, direct, mean, noise = (find_runs(run)[0] for run in (pictures, heard, direct, mean, noise))
    orders = Orders(
        [
            Condition(PICTURES, pictures, AREA),
            Condition(HEARD, heard, AREA),
            Condition(EQUAL_ENERGY, heard, ENERGY),
        ]
    )
    elements = Orders(
        [
            Condition(HEARD, heard, AREA),
            Condition("sound, path=direct", direct, AREA, suffix=":path=direct"),
            Condition("sound, fill=mean", mean, AREA),
            Condition("sound, fill=noise", noise, AREA),
        ]
    )
    lines, pairs, of_elements = orders.lines(), orders.pairs(), elements.lines()
    changed = pd.concat(
        [
            changes(pairs, PICTURES, HEARD).assign(budget="10% of the area"),
            changes(pairs, PICTURES, EQUAL_ENERGY).assign(budget="equal energy"),
        ]
    )
    lines.to_csv(out.with_suffix(".csv"), index=False)
    changed.to_csv(out.with_name(f"{out.name}-changes.csv"), index=False)
    of_elements.to_csv(out.with_name(f"{out.name}-elements.csv"), index=False)
    out.with_suffix(".md").write_text(page(lines, of_elements, changed))


def page(lines: pd.DataFrame, of_elements: pd.DataFrame, changed: pd.DataFrame) -> str:
    """Write the page."""
    text = [
        "# What changes when the masked sound is heard",
        "",
        f"FF on {_size(lines)}: mean, 95% interval (recordings resampled), and "
        "the place among the methods. Bold: better than random bins (one-sided test by flipping the signs of "
        "recordings, Holm-corrected over the methods of a classifier). `pictures` is the protocol "
        "`spectrogram`, the others are `standard`: 10% of the area, or the shortest prefix of the ranking that holds "
        "half of the clip's energy. Made by `benchmarks/orders.py`, which says of which runs.",
        "",
    ]
    text += _tables(lines)
    text += [
        "# What each element does",
        "",
        f"FF at 10% of the area under the protocol `standard`, on {_size(of_elements)}, where one thing is otherwise: "
        "`path=direct` differentiates as if pictures were fed; a fill takes the place of removed bins, which are "
        "silent else.",
        "",
    ]
    text += _tables(of_elements)
    text += ["# Pairs about which pictures and sound disagree", ""]
    text += [
        "Differences of FF, first minus second, with 95% intervals (not corrected). A pair is told apart if a "
        "two-sided test by flipping the signs of recordings says so, Holm-corrected over all pairs of a classifier.",
        "",
    ]
    for budget, at_budget in changed.groupby("budget"):
        chosen = at_budget[at_budget["verdict"] == "reversed"]
        text += [f"## Reversed, {budget}: {len(chosen)} pairs", ""]
        text += [_pairs(chosen), ""] if len(chosen) else []
        counts = at_budget.groupby(["classifier", "verdict"]).size().unstack(fill_value=0).reindex(columns=VERDICTS)
        rows = [[str(name), *(str(int(n)) for n in row)] for name, row in counts.fillna(0).iterrows()]
        text += [f"## All changes, {budget}", "", pipe_table("lrrr", [["classifier", *VERDICTS], *rows]), ""]
    return "\n".join(text).rstrip() + "\n"


def _size(lines: pd.DataFrame) -> str:
    return f"{lines['n'].max()} clips ({lines['recordings'].max()} recordings)"


def _tables(lines: pd.DataFrame) -> list[str]:
    """Write a table for each classifier, with the methods in the order of HEARD, and how alike the orders are."""
    text, conditions = [], list(dict.fromkeys(lines["condition"]))
    for name, here in lines.groupby("classifier"):
        table = here.set_index(["method", "condition"])
        first = here[here["condition"] == HEARD].sort_values("rank")["method"]
        rows = [[method, *(_cell(table.loc[(method, condition)]) for condition in conditions)] for method in first]
        taus = [f"{one}: {tau(lines, str(name), HEARD, one):.2f}" for one in conditions if one != HEARD]
        text += [f"## {name}", "", pipe_table("l" + "r" * len(conditions), [["method", *conditions], *rows]), ""]
        text += [f"Kendall's tau with the order of `{HEARD}`: {'; '.join(taus)}.", ""]
    return text


def _cell(line: pd.Series) -> str:
    mean = f"**{line['mean']:.2f}**" if line["better_than_random"] else f"{line['mean']:.2f}"
    return f"{mean} [{line['low']:.2f}, {line['high']:.2f}] {line['rank']}"


def _pairs(chosen: pd.DataFrame) -> str:
    rows = [
        [
            line["classifier"],
            f"{line['first']} - {line['second']}",
            *(
                f"{line[f'difference_{when}']:+.2f} [{line[f'low_{when}']:+.2f}, {line[f'high_{when}']:+.2f}]"
                for when in ("before", "after")
            ),
        ]
        for _, line in chosen.iterrows()
    ]
    return pipe_table("llrr", [["classifier", "pair", "pictures", "sound"], *rows])


if __name__ == "__main__":
    typer.run(main)
