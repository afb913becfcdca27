"""Score methods by masks of small cells, not of single bins: does the order of methods hang on how fine a mask is?

    python benchmarks/cells.py cnn-micro --method saliency --method gradcam --out cells
    python benchmarks/cells.py cnn-micro focalnet-micro vit-micro --data esc10 --data-dir ESC-50-master --out cells

A cell has 3 x 2 bins (47 Hz by 23 ms of the shipped classifiers). Its importance is the mean of that of its bins, so
that the bins of a cell go together. Everything else is that of FF at 10% of the area. The run in `--out` can be a
condition of `stability.py`: `--condition "cells of 3 x 2 bins=RUN=faithfulness_of_cells"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

import xaibench as xb
from xaibench.results.areas import PRIMARY_AREA
from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.scoring.ranking import Ranking
from xaibench.sound.cells import cell_means, on_bins
from xaibench.sound.domain import Picture

CELL = (3, 2)  # bins along frequency and time
METHODS = [
    "input-x-gradient",
    "saliency",
    "deeplift",
    "guided-backprop",
    "gradcam",
    "guided-gradcam",
    "layercam",
    "lrp",
    "attnlrp",
    "focalnet",
    "vit-attention",
    "vit-rollout",
    "attention-gradient",
    "piq",
    "lmac",
    "energy",
    "uniform",
    "random",
]


def in_cells(maps: Tensor) -> Tensor:
    """Give every bin of maps (batch, freq, time) the mean of its cell."""
    shape = (maps.shape[1], maps.shape[2])
    sides = (-(-shape[0] // CELL[0]), -(-shape[1] // CELL[1]))
    return on_bins(cell_means(maps, sides), shape, sides).float()


@dataclass(frozen=True)
class WithoutCells(Perturbation):
    """The clip without its most important cells, which hold 10% of the audible bins."""

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        ranking = context.shared("benchmarks.cells", lambda: Ranking(in_cells(context.importance), context.clean.batch))
        return context.left(~ranking.top(PRIMARY_AREA))


class FaithfulnessOfCells(Metric):
    """FF, with masks of cells."""

    name = "faithfulness_of_cells"
    title = "FF(cells)"
    family = "faithfulness"
    reference = "xaibench; the difference is that of FF (Paissan et al., L-MAC, arXiv 2403.13086)"
    description = (
        "how much probability the predicted class loses without the most important cells of 3 x 2 bins, 10% of the area"
    )
    formula = "p_c(x) - p_c(removed)"
    traps = "a map that is coarser than the cells scores as by FF"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = "1"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [WithoutCells()]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_changed(WithoutCells()))


def main(
    classifier: Annotated[list[str], typer.Argument(help="Shipped classifiers.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command continues it.")],
    method: Annotated[list[str] | None, typer.Option(help="Method, repeatable.")] = None,
    data: Annotated[str, typer.Option(help="Dataset.")] = "synth",
    data_dir: Annotated[Path | None, typer.Option(help="Its folder.")] = None,
    limit: Annotated[int | None, typer.Option(help="Score a sample of so many clips.")] = None,
) -> None:
    """Score the methods, and print their means."""
    torch.set_num_threads(1)
    models = [xb.classifier(name, data) for name in classifier]
    source = xb.dataset(data, data_dir)
    found = xb.evaluate(
        models, source, method or METHODS, [FaithfulnessOfCells()], limit=limit, controls=False, out=out
    )
    means = found.rows.groupby(["method", "classifier"])["value"].mean()
    print(means.unstack().round(3).to_string())


if __name__ == "__main__":
    typer.run(main)
