"""What scoring sound instead of pictures, another budget or another fill does to the order of methods.

    xaibench run -m all ... --protocol spectrogram --out runs/pictures        # and the others without it:
    xaibench run -m all ... --out runs/sound                                  # both budgets of FF are default metrics
    xaibench run -m saliency:path=direct ... -m random --out runs/direct      # and all other methods, without settings
    xaibench run -m all ... --metric faithfulness --fill mean --out runs/mean     # likewise --fill noise
    python benchmarks/orders.py --pictures runs/pictures --heard runs/sound --direct runs/direct --mean runs/mean \
        --noise runs/noise --out results/orders-esc10

All runs are of the same clips, such as `--dataset esc10 --data-dir ESC-50-master`. Writes PREFIX.csv (means),
PREFIX-changes.csv (pairs about which pictures and sound disagree) and PREFIX.md (both as tables).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from xaibench.reports.tables import pipe_table
from xaibench.results.orders import VERDICTS, Condition, Orders, changes, tau

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
    main_three = [
        Condition(PICTURES, pictures, AREA),
        Condition(HEARD, heard, AREA),
        Condition(EQUAL_ENERGY, heard, ENERGY),
    ]
    elements = [
        Condition("sound, path=direct", direct, AREA, suffix=":path=direct"),
        Condition("sound, fill=mean", mean, AREA),
        Condition("sound, fill=noise", noise, AREA),
    ]
    orders = Orders([*main_three, *elements])
    lines, pairs = orders.lines(), orders.pairs()
    changed = pd.concat(
        [
            changes(pairs, PICTURES, HEARD).assign(budget="10% of the area"),
            changes(pairs, PICTURES, EQUAL_ENERGY).assign(budget="equal energy"),
        ]
    )
    lines.to_csv(out.with_suffix(".csv"), index=False)
    changed.to_csv(out.with_name(f"{out.name}-changes.csv"), index=False)
    out.with_suffix(".md").write_text(page(lines, changed, [one.title for one in orders.conditions]))


def page(lines: pd.DataFrame, changed: pd.DataFrame, conditions: list[str]) -> str:
    """Write the page."""
    some = lines.iloc[0]
    text = [
        "# What changes when the masked sound is heard",
        "",
        f"FF on {some['n']} clips ({some['recordings']} recordings): mean, 95% interval (recordings resampled), and "
        "the place among the methods. Bold: better than random bins (one-sided test by flipping the signs of "
        "recordings, Holm-corrected over the methods of a classifier). `pictures` is the protocol "
        "`spectrogram`, the others are `standard`: 10% of the area, or the shortest prefix of the ranking that holds "
        "half of the clip's energy; `path=direct` differentiates as if pictures were fed; a fill takes the place of "
        "removed bins. Made by "
        "`benchmarks/orders.py`, which says of which runs.",
        "",
    ]
    for classifier, here in lines.groupby("classifier"):
        text += [f"## {classifier}", "", _orders(here, conditions), ""]
        taus = [f"{name}: {tau(lines, str(classifier), HEARD, name):.2f}" for name in conditions if name != HEARD]
        text += [f"Kendall's tau with the order of `{HEARD}`: {'; '.join(taus)}.", ""]
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


def _orders(here: pd.DataFrame, conditions: list[str]) -> str:
    table = here.set_index(["method", "condition"])
    first = here[here["condition"] == HEARD].sort_values("rank")["method"]
    rows = [[name, *(_cell(table.loc[(name, condition)]) for condition in conditions)] for name in first]
    return pipe_table("l" + "r" * len(conditions), [["method", *conditions], *rows])


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
