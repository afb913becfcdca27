"""The checkpoint format of SpeechBrain's ESC-50 recipes, as `xaibench classifiers add` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat, ForeignCheckpoint, Source
from xaibench.errors import CheckpointError
from xaibench.speechbrain import classifiers, files

_ESC10 = frozenset(
    "dog chainsaw crackling_fire helicopter rain crying_baby clock_tick sneezing rooster sea_waves".split()  # noqa: SIM905
)


class RecipeFormat(CheckpointFormat):
    """`embedding_model.ckpt` and `classifier.ckpt`, with class names and perhaps a config beside them."""

    required_files = tuple((name,) for name in files.REQUIRED)
    optional_files = files.OPTIONAL

    def recognises(self, location: str) -> bool:
        return any((Path(location).expanduser() / name).is_file() for name in files.REQUIRED)

    def read(self, name: str, source: Source) -> ForeignCheckpoint:
        if source.weights is not None or source.sample_rate is not None:
            raise CheckpointError(
                "--weights and --sample-rate are for --from package.module:factory; a checkpoint of the recipes has "
                "its weights in its folder, and hears 16,000 Hz"
            )
        folder = Path(source.location).expanduser()
        found = files.read(folder, source.labels)
        return ForeignCheckpoint(
            classifier=classifiers.from_files(found, name, folder),
            dataset=_dataset(found.classes),
            geometry=classifiers.geometry_of(found),
            precision=torch.float16 if found.half else torch.float32,
            files=tuple(folder / one for one in (*files.REQUIRED, *files.OPTIONAL) if (folder / one).is_file()),
            origin=str(folder.resolve()),
            assumed_classes=found.assumed_classes,
        )

    def build(self, name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
        return classifiers.build(name, classes, geometry)


FORMAT = RecipeFormat()


def _dataset(classes: tuple[str, ...]) -> str:
    """Return the dataset whose classes these are, which the recipes train on folds 1-3; empty if neither."""
    known = {"esc50": frozenset(files.ESC50_TRAINING_ORDER), "esc10": _ESC10}
    return next((name for name, names in known.items() if names == frozenset(classes)), "")
