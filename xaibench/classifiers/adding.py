"""Checkpoints of other projects into this project's format: safetensors and a card, under a name of one's own."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.checkpoint_format import CheckpointFormat, Source
from xaibench.errors import CheckpointError
from xaibench.sound.dataset import TEST_FOLDS, TRAIN_FOLDS, VALIDATION_FOLDS
from xaibench.storage import hub, provenance
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
    formats: dict[str, CheckpointFormat] = {
        name: registry.load("checkpoint_formats", name) for name in registry.names("checkpoint_formats")
    }
    source, origin = _fetched(config, list(formats.values()))
    builder = _format_of(source.location, formats)
    found = formats[builder].read(config.name, source)
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
        origin=origin or found.origin,
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


def _fetched(config: AddClassifierConfig, formats: Sequence[CheckpointFormat]) -> tuple[Source, str]:
    """Fetch what is a repository of the hub, and say where it is from; empty for what is here."""
    location = config.source.location
    if not hub.is_repository(location) or Path(location).expanduser().exists():
        return config.source, ""
    layouts = [hub.Layout(one.required_files, one.optional_files) for one in formats if one.required_files]
    folder = hub.fetch(location, layouts, f"xaibench classifiers add {config.name} --from FOLDER")
    return replace(config.source, location=str(folder)), f"hub {location} at {folder.name}"


def _format_of(location: str, formats: Mapping[str, CheckpointFormat]) -> str:
    """Return the first format that recognises a location."""
    for name, one in formats.items():
        if one.recognises(location):
            return name
    raise CheckpointError(
        f"{location} is neither a folder of a checkpoint (xaibench train, save_pretrained of transformers, or the "
        "recipes of SpeechBrain), nor OWNER/NAME of a hub repository such as MIT/ast-finetuned-audioset-10-10-0.4593, "
        "nor a function such as my_models:make"
    )
