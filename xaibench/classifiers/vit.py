"""Vision transformer (arXiv 2010.11929) as a sound classifier, as in arXiv 2402.02754."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from xaibench.classifiers.base import COSINE_SCALE, Classifier, CosineHead, InputNorm, PictureClassifier, Recipe
from xaibench.classifiers.front_end import FrontEnd, LinearResize, MelResize
from xaibench.sound.batch import Batch


class VitClassifier(PictureClassifier):
    """ViT encoder, mean over all tokens (CLS included), cosine head.

    `feature_maps` sees the patch tokens that enter the last block: after the last block a mean
    pool makes every token's gradient the same, and GradCAM would not use the last attention.

    Attributes:
        patch_grid: patches along (freq, time).
        special_tokens: tokens before those of the patches: CLS.
    """

    capabilities = PictureClassifier.capabilities | {"attentions"}

    special_tokens = 1

    def __init__(self, name: str, classes: Sequence[str], front_end: FrontEnd, config: ViTConfig, hidden: int) -> None:
        super().__init__(name, "vit", classes, temperature=COSINE_SCALE)
        self.front_end = front_end
        self.input_norm: nn.Module = InputNorm()
        self.backbone = ViTModel(config, add_pooling_layer=False)
        self.feature_maps = nn.Identity()
        patch = config.patch_size if not isinstance(config.patch_size, int) else (config.patch_size,) * 2
        self.patch_grid = (front_end.image_size[0] // patch[0], front_end.image_size[1] // patch[1])
        self.head = CosineHead(config.hidden_size, hidden, len(self.classes))
        self.recipe = Recipe(epochs=110, learning_rate=7e-4, weight_decay=0.05)

    def logits_and_attentions(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Logits (batch, classes), and the attention of every block: each (batch, heads, 1 + patches, 1 + patches).

        Weights exist only on the eager path (the fused one returns none), so it is taken here and
        left again, after an exception too.
        """
        weights: list[Tensor] = []
        backbone: Any = self.backbone  # transformers types its layers as bare modules
        hooks = [
            block.attention.register_forward_hook(lambda module, args, output: weights.append(output[1]))
            for block in backbone.layers
        ]
        before = backbone.config._attn_implementation
        backbone.set_attn_implementation("eager")
        try:
            logits = self.logits_of_clips(batch)
        finally:
            backbone.set_attn_implementation(before)
            for hook in hooks:
                hook.remove()
        return logits, weights

    def picture_logits(self, x: Tensor) -> Tensor:
        *_, (tokens, patches) = self._blocks(x)
        patches = self.feature_maps(patches).flatten(2).transpose(1, 2)
        tokens = self.backbone.layers[-1](torch.cat([tokens[:, :1], patches], dim=1))
        return self.head(self.backbone.layernorm(tokens).mean(dim=1))

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        # All maps have one size here: a third and two thirds of the way, and the deepest.
        maps = [patches for _, patches in self._blocks(x)]
        return [maps[len(maps) // 3], maps[2 * len(maps) // 3], maps[-1]]

    def _blocks(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Before each block but the first, tokens (batch, 1 + patches, channels) and maps (batch, channels, h, w)."""
        image = self.input_norm(self.front_end(x))
        tokens = self.backbone.embeddings(image.expand(-1, self.backbone.config.num_channels, -1, -1))
        for block in self.backbone.layers[:-1]:
            tokens = block(tokens)
            yield tokens, tokens[:, 1:].transpose(1, 2).unflatten(2, self.patch_grid)


def micro(classes: Sequence[str]) -> Classifier:
    """About 1.6 M parameters at 128 x 128 with patches of 16 mel rows by 8 frames: an 8 x 16 map."""
    size = (128, 128)
    config = ViTConfig(
        image_size=list(size),
        patch_size=[16, 8],
        num_channels=1,
        hidden_size=144,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=576,
        hidden_dropout_prob=0.1,
    )
    return VitClassifier("vit-micro", classes, MelResize(size), config, hidden=64)


def base(classes: Sequence[str]) -> Classifier:
    """The paper's geometry: ViT-base, 224 x 224, patches of 16 x 16, three equal channels."""
    config = ViTConfig(image_size=224, patch_size=16, num_channels=3)
    return VitClassifier("vit-base", classes, LinearResize((224, 224)), config, hidden=64)
