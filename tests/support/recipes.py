"""Checkpoints in the format of SpeechBrain's ESC-50 recipes, small enough to make in a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tests.support.lazy import Lazy
from xaibench.sound.randomness import seeded

if TYPE_CHECKING:
    from transformers import FocalNetConfig, ViTConfig

transformers = Lazy("transformers")

CLASSES = ("rain", "dog", "sea_waves")
HIDDEN = 5


def focalnet_config() -> FocalNetConfig:
    """Two stages of width 8 and 16."""
    return transformers.FocalNetConfig(
        image_size=224,
        patch_size=8,
        embed_dim=8,
        depths=[1, 2],
        hidden_sizes=[16, 16],
        focal_levels=[2, 1],
        focal_windows=[3, 5],
        mlp_ratio=2.0,
        out_features=["stage2"],  # type: ignore[call-arg]
    )


def vit_config(**changes: Any) -> ViTConfig:
    """Two blocks, two heads of 64."""
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "image_size": 64,
        "patch_size": 16,
    }
    return transformers.ViTConfig(**sizes | changes)


def backbone(family: str) -> Any:
    """A random backbone of transformers, in evaluation mode."""
    with seeded(3):
        made = (
            transformers.FocalNetBackbone(focalnet_config())
            if family == "focalnet"
            else transformers.ViTModel(vit_config())
        )
    return made.eval()


def head(features: int, classes: int = len(CLASSES), hidden: int = HIDDEN) -> dict[str, Tensor]:
    """A random head by the recipe's names, its batch norm not the identity."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "weight": draw(classes, hidden),
        "blocks.0.norm.weight": draw(features),
        "blocks.0.norm.bias": draw(features),
        "blocks.0.norm.running_mean": draw(features),
        "blocks.0.norm.running_var": draw(features).square() + 0.1,
        "blocks.0.norm.num_batches_tracked": torch.tensor(7),
        "blocks.1.w.weight": draw(hidden, features),
        "blocks.1.w.bias": draw(hidden),
    }


def write(folder: Path, family: str, config: bool = True, labels: bool = True) -> Path:
    """A whole checkpoint folder."""
    folder.mkdir(parents=True)
    made = backbone(family)
    torch.save(made.state_dict(), folder / "embedding_model.ckpt")
    torch.save(head(16 if family == "focalnet" else 128), folder / "classifier.ckpt")
    if config:
        made.config.save_pretrained(folder)
    if labels:
        (folder / "labels.txt").write_text("\n".join(CLASSES))
    return folder


def change(path: Path, **tensors: Tensor | None) -> None:
    """Replace, add or (None) drop tensors of a saved state dict; double underscores stand for dots."""
    state = torch.load(path, weights_only=True)
    for key, value in tensors.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    torch.save(state, path)
