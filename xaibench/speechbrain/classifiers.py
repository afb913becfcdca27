"""Classifiers of SpeechBrain's ESC-50 recipes (arXiv 2402.02754), published or one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import FocalNetConfig, ViTConfig

from xaibench.classifiers import transformers_files as backbone_files
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.focalnet import FocalNetClassifier
from xaibench.classifiers.front_end import FrontEnd
from xaibench.classifiers.resize import resize
from xaibench.classifiers.vit import VitClassifier
from xaibench.errors import CheckpointError
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.speechbrain import files as recipe_files

FAMILY = "family"
HIDDEN = "hidden"
FEATURES = "recipe_features"  # the capability of classifiers that the recipe's PIQ can read


class RecipeFrontEnd(FrontEnd):
    """The recipes' image: the log spectrogram as (time, freq), resized, not standardised.

    Images are square, so a native resolution reads the same along either axis order.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = (image_size, image_size)

    def forward(self, x: Tensor) -> Tensor:
        return resize(x.transpose(1, 2), self.image_size)[:, None]

    def to_picture(self, maps: Tensor) -> Tensor:
        return resize(maps, (PICTURE_SHAPE[1], PICTURE_SHAPE[0])).transpose(1, 2)


class RecipeFocalNet(FocalNetClassifier):
    """FocalNet on the recipes' image; its modulation and feature maps are (batch, channels, time, freq)."""

    def __init__(self, name: str, classes: Sequence[str], config: FocalNetConfig, hidden: int) -> None:
        super().__init__(name, classes, RecipeFrontEnd(cast(int, config.image_size)), config, hidden)
        self.input_norm = nn.Identity()
        self.capabilities = self.capabilities | {FEATURES}

    def recipe_features(self, x: Tensor) -> Tensor:
        """Compute what the recipe's PIQ reads: the last feature map at twice its size.

        Args:
            x: spectrograms (batch, 513, 431).

        Returns:
            (batch, channels, h, w), h along time.
        """
        maps = _output_of(self.feature_maps, self, x)
        size = (2 * maps.shape[2], 2 * maps.shape[3])
        return functional.interpolate(maps, size, mode="bilinear", antialias=True)


class RecipeVit(VitClassifier):
    """ViT on the recipes' image; its patches run along time first."""

    def __init__(self, name: str, classes: Sequence[str], config: ViTConfig, hidden: int) -> None:
        super().__init__(name, classes, RecipeFrontEnd(cast(int, config.image_size)), config, hidden)
        self.input_norm = nn.Identity()
        self.capabilities = self.capabilities | {FEATURES}

    def recipe_features(self, x: Tensor) -> Tensor:
        """Compute what the recipe's PIQ reads: the patches' last hidden states as a map.

        Args:
            x: spectrograms (batch, 513, 431).

        Returns:
            (batch, channels, h, w), h along time.
        """
        tokens = _output_of(self.backbone.layernorm, self, x)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, self.patch_grid)


def _output_of(module: nn.Module, classifier: Classifier, x: Tensor) -> Tensor:
    """Return what a module gives while the classifier sees spectrograms."""
    seen: list[Tensor] = []
    hook = module.register_forward_hook(lambda module, args, output: seen.append(output))
    try:
        classifier.picture_logits(x)
    finally:
        hook.remove()
    return seen[0]


def build(name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
    """An untrained recipe classifier.

    Args:
        geometry: `family`, `hidden` (width of the head's linear layer) and keys of transformers' config.

    Raises:
        CheckpointError: no such network.
    """
    try:
        keys: dict[str, Any] = {key: value for key, value in geometry.items() if key not in {FAMILY, HIDDEN}}
        if geometry[FAMILY] == "vit":
            return RecipeVit(name, classes, ViTConfig(**keys), geometry[HIDDEN])
        stages = len(keys["depths"])
        # transformers' default, a tuple of four, is wrong for another width and breaks the backbone.
        keys["hidden_sizes"] = [keys["embed_dim"] * 2 ** min(i + 1, stages - 1) for i in range(stages)]
        keys |= {key: list(keys[key]) for key in ("depths", "focal_levels", "focal_windows")}
        config = FocalNetConfig(**keys, out_features=[f"stage{stages}"])  # type: ignore[call-arg]
        return RecipeFocalNet(name, classes, config, geometry[HIDDEN])
    except Exception as error:  # whatever transformers and torch raise on impossible sizes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"{name}: its geometry is that of no network ({reason})") from error


def geometry_of(files: recipe_files.RecipeFiles) -> dict[str, Any]:
    """What `build` needs, for a card."""
    return {FAMILY: files.family, HIDDEN: files.hidden, **files.geometry}


def from_files(files: recipe_files.RecipeFiles, name: str, folder: Path) -> Classifier:
    """The frozen classifier of a checkpoint that was read.

    Raises:
        CheckpointError: tensors and geometry do not fit each other.
    """
    geometry = geometry_of(files)
    with torch.device("meta"):  # nothing is allocated for a geometry that does not fit
        plan: Any = build(name, files.classes, geometry)
    body = f"a {backbone_files.NAMES[files.family]}"
    check_fit = backbone_files.check_fit
    check_fit(plan.backbone.state_dict(), files.backbone, folder / recipe_files.EMBEDDING, body)
    head = plan.head.state_dict()
    names = recipe_files.HEAD_NAMES
    expected = {theirs: head[ours] for theirs, ours in names.items()}
    check_fit(expected, files.head, folder / recipe_files.HEAD, "the recipe's head")
    classifier: Any = build(name, files.classes, geometry)
    classifier.backbone.load_state_dict(files.backbone)
    classifier.head.load_state_dict({names[key]: value for key, value in files.head.items()})
    return cast(Classifier, classifier.eval().requires_grad_(False))


def load_recipe(folder: Path, name: str | None = None, labels: Path | None = None) -> Classifier:
    """A frozen classifier from a folder in the recipes' own format.

    Its logits are raw cosines, its classes in training order, its temperature the scale it was trained at.

    Raises:
        CheckpointError: see `recipe_files.read` and `from_files`.
    """
    folder = Path(folder)
    return from_files(recipe_files.read(folder, labels), name or folder.resolve().name, folder)
