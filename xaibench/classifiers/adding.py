"""Checkpoints of other projects into this project's format: safetensors and a card, under a name of one's own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.checkpoint_format import CheckpointFormat, Source
from xaibench.errors import CheckpointError
from xaibench.sound.dataset import TEST_FOLDS, TRAIN_FOLDS, VALIDATION_FOLDS
from xaibench.storage import provenance
from xaibench.storage.cards import NAME, file_hash


@dataclass(frozen=True, kw_only=True)
class AddClassifierConfig:
    """What to add.

    Attributes:
        name: what `--classifier` shall call it.
        source: where it is from, in a registered checkpoint format.
        temperature: the scale it was trained at; None for what the source says.
        command: recorded in the card.
    """

    name: str
    source: Source
    temperature: float | None = None
    command: str = ""


@dataclass(frozen=True)
class Added:
    """A classifier that was added.

    Attributes:
        assumed_classes: its source named no classes; the format's own were taken.
    """

    folder: Path
    card: checkpoint.Card
    family: str
    assumed_classes: bool


def add(config: AddClassifierConfig, force: bool = False) -> Added:
    """Convert another project's checkpoint and keep it in the user's data folder.

    Args:
        config: what to add.
        force: replace an added classifier of the same name.

    Raises:
        CheckpointError: the name is taken or cannot be one, the source cannot be had, or no registered
            format reads it.
    """
    _check_name(config.name, force)
    if config.temperature is not None and not (math.isfinite(config.temperature) and config.temperature > 0):
        raise CheckpointError(f"a temperature of {config.temperature:g} is no scale; give a positive number")
    builder = _format_of(config.source.location)
    reader: CheckpointFormat = registry.load("checkpoint_formats", builder)
    found = reader.read(config.name, config.source)
    classifier, dataset = found.classifier, found.dataset
    card = checkpoint.Card(
        classifier=config.name,
        dataset=dataset,
        dataset_fingerprint="",
        data_licence=registry.load("datasets", dataset).licence if dataset else "unknown",
        classes=classifier.classes,
        temperature=classifier.temperature if config.temperature is None else config.temperature,
        train_folds=TRAIN_FOLDS if dataset else (),
        validation_folds=VALIDATION_FOLDS if dataset else (),
        test_folds=TEST_FOLDS if dataset else (),
        seed=0,
        epochs=0,
        best_epoch=0,
        validation_accuracy=math.nan,
        test_accuracy=math.nan,
        parameters=classifier.parameter_count,
        seconds=0.0,
        command=config.command,
        versions=provenance.versions(),
        builder=builder,
        geometry=found.geometry,
        origin=found.origin,
        source_sha256={path.name: file_hash(path) for path in found.files},
    )
    folder = references.added_folder(config.name)
    saved = checkpoint.save(folder, classifier, card, found.precision)
    return Added(folder, saved, classifier.family, found.assumed_classes)


def _check_name(name: str, force: bool) -> None:
    if not re.fullmatch(NAME, name) or "@" in name or name == "all":
        raise CheckpointError(f"'{name}' cannot be a name; use letters, digits, dots, dashes and underscores")
    if name in registry.names("classifiers"):
        raise CheckpointError(f"'{name}' is the name of a registered classifier; choose another")
    if name in references.added() and not force:
        origin = checkpoint.Card.read(references.added_folder(name)).origin
        raise CheckpointError(f"'{name}' has been added already, from {origin}; choose another name, or give --force")


def _format_of(location: str) -> str:
    """Return the first format that recognises a location."""
    for name in registry.names("checkpoint_formats"):
        if registry.load("checkpoint_formats", name).recognises(location):
            return name
    raise CheckpointError(
        f"{location} is neither a folder of a checkpoint, nor OWNER/NAME of a hub repository such as "
        "speechbrain/focalnet-base-esc50, nor a function such as my_models:make"
    )
