"""Checkpoints that `xaibench train` wrote, under another name: `xaibench classifiers add NAME --from FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat, ForeignCheckpoint, Source
from xaibench.classifiers.references import CARD
from xaibench.errors import CheckpointError

_CLASSIFIER = "classifier"


class OwnFormat(CheckpointFormat):
    """`card.json` and `model.safetensors` of a registered classifier."""

    def recognises(self, location: str) -> bool:
        return (Path(location).expanduser() / CARD).is_file()

    def read(self, name: str, source: Source) -> ForeignCheckpoint:
        if source.labels is not None or source.weights is not None or source.sample_rate is not None:
            raise CheckpointError(
                f"{source.location} has its classes, weights and sample rate in its card; leave out --labels, "
                "--weights and --sample-rate"
            )
        folder = Path(source.location).expanduser()
        classifier, card = checkpoint.load(folder)
        if card.builder:
            raise CheckpointError(f"{folder} was itself added from {card.origin}; add it from there")
        classifier.name = name
        return ForeignCheckpoint(
            classifier=classifier,
            dataset=card.dataset,
            geometry={_CLASSIFIER: card.classifier},
            precision=torch.float16,
            files=(folder / CARD, folder / checkpoint.WEIGHTS),
            origin=str(folder.resolve()),
        )

    def build(self, name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
        classifier = checkpoint.build(str(geometry[_CLASSIFIER]), classes)
        classifier.name = name
        return classifier


FORMAT = OwnFormat()
