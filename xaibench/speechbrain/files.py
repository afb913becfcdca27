"""Checkpoints as SpeechBrain's ESC-50 recipes write them: read, checked, in this project's names.

A folder holds `embedding_model.ckpt` (state dict of transformers' FocalNetBackbone or ViTModel),
`classifier.ckpt` (batch norm, linear, cosine layer), the class names in training order (`labels.txt`,
one a line, or the recipe's `label_encoder.txt`), and perhaps the backbone's `config.json`. Everything
is checked before a model is built, and no pickle runs.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from xaibench.classifiers.state_dicts import read_state
from xaibench.classifiers.transformers_files import CONFIG, check_keys, current_names, family_of, geometry_of
from xaibench.errors import CheckpointError

EMBEDDING = "embedding_model.ckpt"
HEAD = "classifier.ckpt"
LABELS = ("labels.txt", "label_encoder.txt")
REQUIRED = (EMBEDDING, HEAD)
OPTIONAL = (CONFIG, *LABELS)

# The recipes number the classes as they first appear among ESC-50's folds 1-3, in the order of its CSV.
# The published checkpoints come without that list.
ESC50_TRAINING_ORDER = tuple(
    """
    dog chirping_birds vacuum_cleaner thunderstorm door_wood_knock can_opening crow clapping fireworks chainsaw
    airplane mouse_click pouring_water train sheep water_drops church_bells clock_alarm keyboard_typing wind
    footsteps frog cow brushing_teeth car_horn crackling_fire helicopter drinking_sipping rain insects laughing hen
    engine breathing crying_baby hand_saw coughing glass_breaking snoring toilet_flush pig washing_machine
    clock_tick sneezing rooster sea_waves siren cat door_wood_creaks crickets
    """.split()  # noqa: SIM905
)

# The file's names, and `CosineHead`'s.
HEAD_NAMES = {
    "weight": "weight",
    "blocks.0.norm.weight": "norm.weight",
    "blocks.0.norm.bias": "norm.bias",
    "blocks.0.norm.running_mean": "norm.running_mean",
    "blocks.0.norm.running_var": "norm.running_var",
    "blocks.0.norm.num_batches_tracked": "norm.num_batches_tracked",
    "blocks.1.w.weight": "linear.weight",
    "blocks.1.w.bias": "linear.bias",
}


@dataclass(frozen=True)
class RecipeFiles:
    """A checkpoint as read.

    Attributes:
        family: "focalnet" or "vit".
        classes: class names in the order of the logits.
        geometry: of the backbone, keys of transformers' config.
        hidden: width of the head's linear layer.
        backbone: float32 tensors by the names of transformers 5.
        head: float32 tensors by the file's names, the keys of `HEAD_NAMES`.
        half: all floating point tensors came in half precision.
        assumed_classes: no file named the classes; they are the recipes' ESC-50 ones.
    """

    family: str
    classes: tuple[str, ...]
    geometry: dict[str, Any]
    hidden: int
    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    half: bool
    assumed_classes: bool


def read(folder: Path, labels: Path | None = None) -> RecipeFiles:
    """Read a recipe's checkpoint folder.

    Args:
        folder: as described above.
        labels: class names, where not in the folder.

    Raises:
        CheckpointError: a file is missing, is no plain state dict, has other keys or shapes, or holds
            numbers that are not finite; or class names are missing, double, or not as many as the head has.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected one with {' and '.join(REQUIRED)}")
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing; a recipe's checkpoint has {' and '.join(REQUIRED)}")
    embedding, embedding_half = read_state(folder / EMBEDDING)
    head, head_half = read_state(folder / HEAD)
    family = family_of(embedding, folder / EMBEDDING)
    backbone = current_names(family, embedding)
    geometry = geometry_of(folder, family, backbone, folder / EMBEDDING)
    check_keys(head, dict.fromkeys(HEAD_NAMES), folder / HEAD, "a recipe's classifier")
    if head["weight"].ndim != 2:
        raise CheckpointError(
            f"{folder / HEAD}: 'weight' has shape {tuple(head['weight'].shape)}, not (classes, hidden)"
        )
    count, hidden = head["weight"].shape
    classes, assumed = _classes(folder, labels, count)
    return RecipeFiles(
        family,
        classes,
        geometry,
        hidden,
        backbone,
        head,
        embedding_half and head_half,
        assumed,
    )


def _classes(folder: Path, labels: Path | None, count: int) -> tuple[tuple[str, ...], bool]:
    """Class names, and whether they are assumed."""
    path = labels or next((folder / name for name in LABELS if (folder / name).is_file()), None)
    if path is None:
        if count == len(ESC50_TRAINING_ORDER):
            return ESC50_TRAINING_ORDER, True
        raise CheckpointError(
            f"{folder} names no classes; write the {count} names in training order to {LABELS[0]}, one a line"
        )
    names = _read_labels(path)
    if len(names) != count:
        raise CheckpointError(f"{path} names {len(names)} classes, {HEAD} tells {count} apart")
    return names, False


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as text ({error})") from error
    names = _encoder_labels(lines, path) if any(" => " in line for line in lines) else [line.strip() for line in lines]
    if not names:
        raise CheckpointError(f"{path} names no class; write one name a line, in training order")
    for number, name in enumerate(names, start=1):
        if not name:
            raise CheckpointError(f"{path}: class {number} has no name")
        if name in names[: number - 1]:
            raise CheckpointError(f"{path} names '{name}' twice")
    return tuple(names)


def _encoder_labels(lines: list[str], path: Path) -> list[str]:
    """Names of SpeechBrain's CategoricalEncoder: lines of repr(label) => index, then ===, then extras."""
    by_index: dict[int, str] = {}
    for line in lines:
        if line.startswith("==="):
            break
        label, _, index = line.rpartition(" => ")
        try:
            name, number = ast.literal_eval(label), int(index)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise CheckpointError(f"{path}: {line[:80]!r} is not written as 'name' => index") from None
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: {label} is not a class name in quotes")
        if number in by_index:
            raise CheckpointError(f"{path} gives index {number} to '{by_index[number]}' and to '{name}'")
        by_index[number] = name
    if sorted(by_index) != list(range(len(by_index))):
        raise CheckpointError(f"{path}: its indices are not 0 to {len(by_index) - 1}, each once")
    return [by_index[index] for index in range(len(by_index))]
