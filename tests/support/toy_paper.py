"""A paper whose whole reproduction takes seconds: two systems on a tiny network, ten clips of tones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import MelResize
from xaibench.papers.config import ReproductionConfig
from xaibench.papers.paper import ACCURACY, Architecture, Claim, Column, Paper, System
from xaibench.sound.audio import CLIP_SAMPLES, SAMPLE_RATE
from xaibench.sound.dataset import Clip, Dataset

FOLDS = (1, 2, 3, 4, 5)
BRIEF = {"epochs": 1, "decoder_width": 2, "codes": 8, "code_size": 4}
SALIENCY, PIQ = System("Saliency", "cnn", "saliency"), System("PIQ", "cnn", "piq")
PAPER = Paper(
    name="toy-1999",
    title="Toy",
    reference="nobody, 1999",
    published_on="nothing",
    architectures=(Architecture("cnn", "CNN", {"tiny": "tiny"}, ("saliency", "piq")),),
    controls=("random",),
    systems=(SALIENCY, PIQ, System("PIQ", "cnn", "piq", soft=True)),
    columns=(Column(ACCURACY, "accuracy", ""), Column("fidelity_in", "Fid-In", "", True)),
    published_columns={},
    published_note="",
    claims=(Claim("Saliency is more faithful than PIQ", "fidelity_in", SALIENCY, PIQ),),
    brief={"piq": BRIEF},
    differences=lambda outcome: [],
)


class Tones(Dataset):
    """A low or a high tone in noise: two clips in each of five folds."""

    name = "tones"
    licence = "CC0"
    classes = ("low", "high")

    def __init__(self) -> None:
        self.clips = tuple(Clip(f"tone-{f}-{i}", f, i % 2, f"recording-{f}-{i}") for f in FOLDS for i in range(2))

    def waveform(self, clip: Clip) -> np.ndarray:
        rng = np.random.default_rng([clip.fold, clip.label])
        tone = np.sin(2 * np.pi * (300 + 2000 * clip.label) * np.arange(CLIP_SAMPLES) / SAMPLE_RATE)
        return (0.4 * tone + 0.02 * rng.standard_normal(CLIP_SAMPLES)).astype(np.float32)


def tiny(name: str, classes: Sequence[str]) -> Classifier:
    """A network that trains in a second."""
    made = CnnClassifier(name, classes, MelResize((32, 32)), (4, 8))
    made.recipe = Recipe(epochs=3)
    return made


def toy(folder: Path, folds: tuple[int, ...] = (5,), **more: Any) -> ReproductionConfig:
    """A reproduction of the toy paper on ten clips, for few epochs."""
    return ReproductionConfig(
        paper=PAPER,
        dataset=Tones(),
        size="tiny",
        folds=folds,
        folder=folder,
        command="xaibench reproduce",
        explainers=folder / "none",
        smoke=True,
        **more,
    )
