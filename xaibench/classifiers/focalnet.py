"""FocalNet (arXiv 2203.11926) as a sound classifier, as in the source paper (arXiv 2402.02754)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import FocalNetBackbone, FocalNetConfig

from xaibench.classifiers.base import COSINE_SCALE, Classifier, CosineHead, InputNorm, PictureClassifier, Recipe
from xaibench.classifiers.front_end import FrontEnd, LinearResize, MelResize


class FocalNetClassifier(PictureClassifier):
    """FocalNet backbone, mean over the last feature map, cosine head.

    Attributes:
        modulation: the last block's modulator projection, whose output (batch, channels, h, w)
            is the by-design interpretation.
    """

    capabilities = PictureClassifier.capabilities | {"modulation"}

    def __init__(
        self, name: str, classes: Sequence[str], front_end: FrontEnd, config: FocalNetConfig, hidden: int
    ) -> None:
        super().__init__(name, "focalnet", classes, temperature=COSINE_SCALE)
        self.front_end = front_end
        self.input_norm: nn.Module = InputNorm()
        self.backbone = FocalNetBackbone(config)
        self.feature_maps = nn.Identity()
        features = config.embed_dim * 2 ** (len(config.depths) - 1)
        self.head = CosineHead(features, hidden, len(self.classes))
        self.recipe = Recipe(epochs=120, learning_rate=1e-3, weight_decay=0.05)

    @property
    def modulation(self) -> nn.Module:
        encoder: Any = self.backbone.focalnet.encoder  # transformers types its stages as bare modules
        return encoder.stages[-1].layers[-1].modulation.projection_context

    def picture_logits(self, x: Tensor) -> Tensor:
        features = self.feature_maps(self.backbone(self._image(x)).feature_maps[-1])
        return self.head(features.mean(dim=(2, 3)))

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        # What enters the stages, and what leaves the last one.
        return list(self.backbone.focalnet(self._image(x), output_hidden_states=True).reshaped_hidden_states)

    def _image(self, x: Tensor) -> Tensor:
        image = self.input_norm(self.front_end(x))
        return image.expand(-1, self.backbone.config.num_channels, -1, -1)


def _config(image_size: tuple[int, int], channels: int, embed_dim: int, depths: Sequence[int], drop_path: float):
    stages = len(depths)
    # A tuple of hidden sizes, transformers' own default, breaks FocalNetBackbone: pass lists.
    return FocalNetConfig(
        image_size=image_size,
        num_channels=channels,
        embed_dim=embed_dim,
        depths=list(depths),
        hidden_sizes=[embed_dim * 2 ** min(i + 1, stages - 1) for i in range(stages)],
        focal_levels=[2] * stages,
        focal_windows=[3] * stages,
        drop_path_rate=drop_path,
        out_features=[f"stage{stages}"],  # type: ignore[call-arg]  # taken through kwargs by transformers
    )


def micro(classes: Sequence[str]) -> Classifier:
    """About 1.5 M parameters at 128 x 128; the modulation map is 8 x 8."""
    size = (128, 128)
    return FocalNetClassifier(
        "focalnet-micro", classes, MelResize(size), _config(size, 1, 48, (2, 4, 2), 0.1), hidden=64
    )


def base(classes: Sequence[str]) -> Classifier:
    """The paper's geometry: FocalNet-base at 224 x 224, three equal channels, map 7 x 7."""
    size = (224, 224)
    return FocalNetClassifier(
        "focalnet-base", classes, LinearResize(size), _config(size, 3, 128, (2, 2, 18, 2), 0.1), hidden=64
    )
