"""Which explainers find a planted cue, and whether any finds it where it decides nothing.

    python benchmarks/planted_cue.py                                        # all 80 pairs of clips
    python benchmarks/planted_cue.py --pairs 8 --method saliency

Prints for `synth-cue` and its negative control `synth-cue-chance` (docs/datasets.md), each with the classifier that
was trained on it: the accuracy with and without the cue, how many pairs the cue decides, and how much of the cue the
methods find. A method finds it if the share of the cue that lies in the most important 2% of the bins is larger than
for each control and for the method's own mean map, at 5% after Holm's correction for all of these comparisons. The mean
map of a clip is the mean of the maps of the other clips, each divided by its sum: it knows the method and the
classifier, and nothing of the clip.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
import typer

import xaibench as xb
from xaibench.classifiers.forward import listener
from xaibench.explaining.explanation import importance
from xaibench.explaining.precomputed import Precomputed
from xaibench.results.statistics import ALPHA, paired_difference
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores
from xaibench.sound.dataset import Clip
from xaibench.sound.planted_cue import CUED, SynthCue, SynthCueChance

CLASSIFIER = "cnn-micro"
DATASETS = (SynthCue, SynthCueChance)
METHODS = [
    "saliency",
    "input-x-gradient",
    "integrated-gradients",
    "deeplift",
    "guided-backprop",
    "lrp",
    "gradcam",
    "layercam",
]
CONTROLS = ("random", "random-cells", "energy")
ORACLE = "oracle"
MEAN = "mean-of-"
AREAS = (0.01, 0.02, 0.05)  # the cue is small
PRIMARY = "found_at_2"


class Found(Metric):
    """The share of the ground truth that lies among the most important bins.

    Args:
        area: share of the bins that are the most important ones.
    """

    title: ClassVar[str] = "Found"
    family = "localisation"
    reference = "recall at an area"
    description = "share of the ground truth that lies in the most important bins"
    formula = "|K and E| / |E|, K the most important bins, E the ground truth"
    traps = "an area below the size of the ground truth holds only a part of it; compare with the oracle"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"
    needs_ground_truth = True

    def __init__(self, area: float) -> None:
        self.area, self.name = area, f"found_at_{area * 100:.0f}"
        self.parameters = {"area": area}

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        assert context.ground_truth is not None
        there = context.ground_truth.flatten(1)
        kept = context.ranking.top(self.area).flatten(1)
        return scores((kept & there).sum(dim=1) / there.sum(dim=1))


def main(
    pairs: Annotated[int, typer.Option(help="Pairs of test clips; at most 80.", min=2, max=80)] = 80,
    method: Annotated[list[str] | None, typer.Option(help="Method, repeatable.")] = None,
) -> None:
    """Print what the classifiers go by, and a Markdown table of methods."""
    warnings.simplefilter("ignore")  # of metrics that a board of localisation has not
    methods = method or METHODS
    with tempfile.TemporaryDirectory() as folder:
        boards = {kind.name: _board(kind(), methods, pairs, Path(folder) / kind.name) for kind in DATASETS}
    told, chance = (boards[kind.name] for kind in DATASETS)
    columns = [f"found_at_{area * 100:.0f}" for area in AREAS]
    print(
        "\n| method | in 1% | in 2% | in 5% | rank | AUC | its mean map, in 2% | finds it | twin, 2% | twin finds it |"
    )
    print("| :-- | --: | --: | --: | --: | --: | --: | :-- | --: | :-- |")
    for name in [*methods, *CONTROLS, ORACLE]:
        means = [_mean(told, metric, name) for metric in (*columns, "relevance_rank", "localisation_auc")]
        own = name in methods
        mean_map = _mean(told, PRIMARY, MEAN + name) if own else "-"
        found = [_finds(board, name) if own else "-" for board in (told, chance)]
        print(
            f"| {name} | {' | '.join(means)} | {mean_map} | {found[0]} | {_mean(chance, PRIMARY, name)} | {found[1]} |"
        )


def _board(dataset: SynthCue, methods: list[str], pairs: int, folder: Path) -> pd.DataFrame:
    """Score methods and their mean maps on the clips with the cue; rows of all clips that count."""
    clips = dataset.in_folds(dataset.test_folds)[: 2 * pairs]
    with_cue = [clip for clip in clips if dataset.made[clip.id].cue]
    model = xb.classifier(CLASSIFIER, dataset.name)
    _say(dataset, model, clips)
    dataset.clips = tuple(with_cue)
    metrics = [*(Found(area) for area in AREAS), "relevance_rank", "localisation_auc"]
    first = xb.evaluate(
        model,
        dataset,
        [*methods, *CONTROLS, ORACLE],
        metrics,
        controls=False,
        out=folder / "maps",
        keep_maps=True,
        progress=False,
    )
    label = first.rows["classifier"].iloc[0]
    means = [_mean_maps(folder / "maps" / "maps" / label / name, name) for name in methods]
    second = xb.evaluate(model, dataset, means, metrics, controls=False, out=folder / "means", progress=False)
    return pd.concat([first.rows, second.rows])


def _say(dataset: SynthCue, model: xb.Classifier, clips: list[Clip]) -> None:
    """Print accuracies, and why the cue of a clip does or does not decide."""
    heard = listener(model)
    sounds = np.stack([dataset.waveform_at(clip, heard.sample_rate, heard.samples) for clip in clips])
    predicted = heard.probabilities(sounds).argmax(axis=1)
    print(f"{dataset.name}, {CLASSIFIER} trained on it:")
    for cue in (False, True):
        chosen = [(clip.label, p) for clip, p in zip(clips, predicted, strict=True) if dataset.made[clip.id].cue == cue]
        right = sum(label == p for label, p in chosen)
        cued = sum(p == CUED for _, p in chosen)
        print(
            f"- {'with' if cue else 'without'} the cue {right} of {len(chosen)} clips are right, {cued} are classified "
            f"as {dataset.classes[CUED]}"
        )
    with_cue = [clip for clip in clips if dataset.made[clip.id].cue]
    reasons = Counter(SynthCue.undecided(dataset, with_cue, heard))
    print(f"- the cue decides {reasons.pop(None, 0)} of {len(with_cue)} pairs")
    for reason, count in reasons.most_common():
        print(f"  - {count}: {reason}")


def _mean_maps(folder: Path, name: str) -> Precomputed:
    """Make a method of the mean of the other clips' maps."""
    maps = {}
    for file in sorted(folder.glob("*.npz")):
        kept = np.load(file)
        flat = importance(torch.from_numpy(kept["map"]), str(kept["polarity"])).double()  # type: ignore[arg-type]
        maps[str(kept["clip"])] = flat / flat.sum().clamp(min=1e-30)
    total = torch.stack(list(maps.values())).sum(dim=0)
    others = {clip: ((total - one) / (len(maps) - 1)).clamp(min=0).float().numpy() for clip, one in maps.items()}
    return Precomputed(others, name=MEAN + name)


def _values(board: pd.DataFrame, metric: str, method: str) -> pd.Series:
    """Values of one method by clip; NaN where the clip does not count."""
    rows = board[(board["metric"] == metric) & (board["method"] == method)]
    return rows.set_index("clip")["value"].sort_index()


def _mean(board: pd.DataFrame, metric: str, method: str) -> str:
    return f"{_values(board, metric, method).mean():.3f}"


def _finds(board: pd.DataFrame, method: str) -> str:
    """Say whether a method is better than every control and its mean map, and by how much than the best of these."""
    methods = [name.removeprefix(MEAN) for name in board["method"].unique() if name.startswith(MEAN)]
    compared = [(name, other) for name in methods for other in (*CONTROLS, MEAN + name)]
    first, second = (np.stack([_values(board, PRIMARY, pair[side]) for pair in compared]) for side in (0, 1))
    found = paired_difference(first, second, np.arange(first.shape[1]))
    lines = [place for place, (name, _) in enumerate(compared) if name == method]
    worst = min(lines, key=lambda place: found.mean[place])
    better = all(found.mean[place] > 0 and found.p[place] < ALPHA for place in lines)
    return f"{'yes' if better else 'no'}, {found.mean[worst]:+.3f} [{found.low[worst]:.3f}, {found.high[worst]:.3f}]"


if __name__ == "__main__":
    typer.run(main)
