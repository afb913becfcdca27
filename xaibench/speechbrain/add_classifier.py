"""Recipe checkpoints into this project's format: safetensors and a card, under a name of one's own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import COSINE_SCALE
from xaibench.errors import CheckpointError
from xaibench.sound.dataset import TEST_FOLDS, TRAIN_FOLDS, VALIDATION_FOLDS
from xaibench.speechbrain import classifiers as recipe
from xaibench.speechbrain import files as recipe_files
from xaibench.storage import hub, provenance
from xaibench.storage.cards import NAME

_ESC10 = frozenset(
    "dog chainsaw crackling_fire helicopter rain crying_baby clock_tick sneezing rooster sea_waves".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Request:
    """What to add.

    Attributes:
        name: what `--classifier` shall call it.
        source: a folder in the recipes' format, or OWNER/NAME of a hub repository.
        temperature: the scale it was trained at.
        labels: file of class names, for a source that has none.
        command: recorded in the card.
    """

    name: str
    source: str
    temperature: float = COSINE_SCALE
    labels: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class Added:
    """A classifier that was added.

    Attributes:
        assumed_classes: its source named no classes; they are the recipes' ESC-50 ones.
    """

    folder: Path
    card: checkpoint.Card
    assumed_classes: bool


def add(request: Request, force: bool = False) -> Added:
    """Convert a recipe's checkpoint and keep it in the user's data folder.

    Args:
        request: what to add.
        force: replace an added classifier of the same name.

    Raises:
        CheckpointError: the name is taken or cannot be one, the source cannot be had, or it is not a
            recipe's checkpoint.
    """
    _check_name(request.name, force)
    if not (math.isfinite(request.temperature) and request.temperature > 0):
        raise CheckpointError(f"a temperature of {request.temperature:g} is no scale; give a positive number")
    source, origin = _source(request)
    files = recipe_files.read(source, request.labels)
    classifier = recipe.from_files(files, request.name, source)
    dataset = _dataset(files.classes)
    card = checkpoint.Card(
        classifier=request.name,
        dataset=dataset,
        dataset_fingerprint="",
        data_licence=registry.load("datasets", dataset).licence if dataset else "unknown",
        classes=files.classes,
        temperature=request.temperature,
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
        command=request.command,
        versions=provenance.versions(),
        geometry=recipe.geometry_of(files),
        origin=origin,
        source_sha256={
            path.name: checkpoint.file_hash(path)
            for path in (source / name for name in (*recipe_files.REQUIRED, *recipe_files.OPTIONAL))
            if path.is_file()
        },
    )
    folder = checkpoint.added_folder(request.name)
    checkpoint.save(folder, classifier, card, torch.float16 if files.half else torch.float32)
    return Added(folder, checkpoint.read_card(folder), files.assumed_classes)


def _check_name(name: str, force: bool) -> None:
    if not re.fullmatch(NAME, name) or "@" in name or name == "all":
        raise CheckpointError(f"'{name}' cannot be a name; use letters, digits, dots, dashes and underscores")
    if name in registry.names("classifiers"):
        raise CheckpointError(f"'{name}' is the name of a registered classifier; choose another")
    if name in checkpoint.added() and not force:
        origin = checkpoint.read_card(checkpoint.added_folder(name)).origin
        raise CheckpointError(f"'{name}' has been added already, from {origin}; choose another name, or give --force")


def _source(request: Request) -> tuple[Path, str]:
    """The folder with the files, and where they are from."""
    folder = Path(request.source).expanduser()
    if folder.is_dir():
        return folder, str(folder.resolve())
    if not hub.is_repository(request.source):
        raise CheckpointError(
            f"{request.source} is neither a folder nor OWNER/NAME of a hub repository, such as "
            "speechbrain/focalnet-base-esc50"
        )
    remedy = f"xaibench classifiers add {request.name} --from FOLDER"
    required = [(name,) for name in recipe_files.REQUIRED]
    found = hub.fetch(request.source, required, recipe_files.OPTIONAL, remedy)
    return found, f"hub {request.source} at {found.name}"


def _dataset(classes: tuple[str, ...]) -> str:
    """The dataset whose classes these are, which the recipes train on folds 1-3; empty if neither."""
    known = {"esc50": frozenset(recipe_files.ESC50_TRAINING_ORDER), "esc10": _ESC10}
    return next((name for name, names in known.items() if names == frozenset(classes)), "")
