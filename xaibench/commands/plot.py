"""`xaibench plot`: one figure of runs, at the width of a column."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.comparing import (
    CorrectOption,
    DatasetsOption,
    ProtocolsOption,
    ResultsArgument,
    RunsOption,
    SeedsOption,
    chosen_groups,
    split,
)
from xaibench.commands.console import notes, output


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="heatmap: methods by metrics; ranks: the places that the tests leave open (critical differences); "
            "agreement: which metrics place the methods alike; forest: differences to random and energy; "
            "distribution: the clips behind the means; cost: faithfulness and seconds; curves: over the mask's area.",
            metavar="KIND",
        ),
    ],
    results: ResultsArgument = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.", metavar="FOLDER")] = Path(),
    width: Annotated[
        float, typer.Option(help="In inches: 3.3 for a column of two, 5.5 or 7 for a page.", min=2, max=40)
    ] = 7.2,
    classifier: Annotated[
        list[str] | None,
        typer.Option("--classifier", "-c", help="Only these classifiers; repeatable.", metavar="NAME"),
    ] = None,
    methods: Annotated[list[str] | None, typer.Option(help="Only these methods.", metavar="NAME,...")] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Only these metrics; of one, ranks are of that.", metavar="NAME,..."),
    ] = None,
    dataset: DatasetsOption = None,
    protocol: ProtocolsOption = None,
    seed: SeedsOption = None,
    run: RunsOption = None,
    correct: CorrectOption = False,
) -> None:
    """Draw one figure of runs: PDF, PNG, and its caption as text.

    What is shown changes nothing of what is compared: marks, ties and places are of all methods.

    [bold]Examples[/bold]

    xaibench plot ranks results/runs/esc10-fold5 --width 3.3 -c cnn-micro

    xaibench plot heatmap --metrics FF,AD,SPS --width 3.3

    xaibench plot forest --methods saliency,gradcam,random,energy
    """
    from xaibench.reports import plots, style
    from xaibench.reports.leaderboard import chosen
    from xaibench.results.comparison import compare_groups, compared_rows
    from xaibench.storage.atomic import write_atomically

    groups = chosen_groups(results, dataset, protocol, seed, run, correct)
    with notes().status("comparing"):
        comparison, rows = compare_groups(groups), compared_rows(groups)
    known = set(comparison["metric"]) | set(comparison["method"])
    lines = chosen(comparison, classifier or (), split(methods, known), split(metrics, known))
    out.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(lines["group"])):
        own = lines[lines["group"] == name]
        figure = plots.draw(kind, plots.rows_behind(rows[rows["group"] == name], own), own, width=width)
        written = style.save(figure, out / f"{kind}-{name}")
        written.append(out / f"{kind}-{name}.txt")
        write_atomically(written[-1], (plots.caption(kind, figure) + "\n").encode())
        for path in written:
            output().print(f"wrote {path}", markup=False, soft_wrap=True)
