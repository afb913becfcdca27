"""Interpreters of the recipe's PIQ and classifiers of the recipes that fit them, small enough to make in a test."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.lazy import Lazy
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.sound.randomness import seeded

recipe = Lazy("xaibench.speechbrain.classifiers")

CLASSES = ("rain", "dog", "sea_waves")
SOURCE = "psi_model.ckpt"


def small_state(dim: int = 16, codes: int = 9) -> dict[str, Tensor]:
    """A random interpreter by the recipe's names; its batch norms are not the identity."""
    network: Any = importlib.import_module("xaibench.methods._recipe_interpreter").RecipeInterpreter
    with seeded(0):
        state = network(dim, codes, len(CLASSES)).state_dict()
        for key, value in state.items():
            if key.endswith(("running_var", "running_mean")):
                value.uniform_(0.5, 1.5)
    return {key: value.half().float() if value.is_floating_point() else value for key, value in state.items()}


def write(folder: Path, changes: dict[str, Tensor | None] | None = None, dim: int = 16, codes: int = 9) -> Path:
    """A folder with a psi_model.ckpt; changes replace, add or (None) drop tensors."""
    folder.mkdir(exist_ok=True)
    state: dict[str, Tensor | None] = {**small_state(dim, codes), **(changes or {})}
    torch.save({key: value for key, value in state.items() if value is not None}, folder / SOURCE)
    return folder


def small_geometry(family: str = "focalnet", **changes: Any) -> dict[str, Any]:
    """Of a classifier whose deepest features have 16 channels."""
    geometry: dict[str, Any] = {"family": family, "hidden": 5, "image_size": 224, "patch_size": 16}
    if family == "focalnet":
        geometry |= {"embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]}
    else:
        geometry |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return geometry | changes


def small_classifier(family: str = "focalnet", **changes: Any) -> Classifier:
    """A random recipe classifier whose deepest features have 16 channels."""
    with seeded(4):
        return checkpoint.freeze(recipe.build("small", CLASSES, small_geometry(family, **changes)))


def keep_classifier(folder: Path, name: str, **changes: Any) -> Path:
    """`small_classifier` as a checkpoint folder."""
    classifier = small_classifier(**changes)
    card = checkpoint.Card(
        classifier=name,
        dataset="",
        dataset_fingerprint="",
        data_licence="unknown",
        classes=CLASSES,
        temperature=30.0,
        train_folds=(),
        validation_folds=(),
        test_folds=(),
        seed=0,
        epochs=0,
        best_epoch=0,
        validation_accuracy=math.nan,
        test_accuracy=math.nan,
        parameters=classifier.parameter_count,
        seconds=0.0,
        command="",
        versions={},
        builder="speechbrain",
        geometry=small_geometry(**changes),
    )
    checkpoint.save(folder, classifier, card, torch.float32)
    return folder
