"""PIQ: posthoc interpretation via quantisation (Paissan, Subakan, Ravanelli, arXiv 2303.12659)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import PictureClassifier
from xaibench.explaining.trainable import Setting
from xaibench.sound.audio import PICTURE_SHAPE

from ._mask_decoder import MaskDecoder
from ._mask_fitting import Clips, ImageMaskNetwork, MaskExplainer
from ._sound import sound
from ._vector_quantisation import ClassCodebook

COMMITMENT_WEIGHT = 0.25
# Unused codes are moved until this share of the epochs, so that the network can still adapt to them.
RENEW_UNTIL = 0.7


class PiqNetwork(ImageMaskNetwork):
    """Network of an adapter on the deepest feature map, a codebook divided by class, and a decoder to a mask.

    Args:
        classifier: the classifier whose feature maps it reads; their channels and sizes are taken from it.
        settings: settings of Piq.
    """

    def __init__(self, classifier: PictureClassifier, settings: dict[str, Setting]) -> None:
        super().__init__()
        with torch.inference_mode():
            silence = torch.zeros(1, *PICTURE_SHAPE, device=classifier.device)
            _, channels, height, width = classifier.deepest_map(silence).shape
        size = int(settings["code_size"])
        self.adapter = Adapter(channels, size)
        self.codebook = ClassCodebook(
            int(settings["codes"]), int(settings["shared_codes"]), size, len(classifier.classes)
        )
        self.decoder = MaskDecoder(
            [size], [(height, width)], classifier.front_end.image_size, int(settings["decoder_width"])
        )
        self._seen: list[tuple[Tensor, Tensor]] = []

    def mask_logits(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> Tensor:
        return self._quantised(classifier, x, target)[0]

    def loss(self, classifier: PictureClassifier, clips: Clips, target: Tensor, epoch: int) -> Tensor:
        logits, codebook_loss, commitment_loss = self._quantised(classifier, clips.x, target)
        on_grid = classifier.front_end.to_picture(logits.float())
        mask_loss = nn.functional.binary_cross_entropy_with_logits(on_grid, sound(clips.x))
        return mask_loss + codebook_loss + COMMITMENT_WEIGHT * commitment_loss

    def after_epoch(self, share_done: float, generator: torch.Generator) -> None:
        if share_done <= RENEW_UNTIL:
            vectors, target = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
            self.codebook.renew(vectors, target, generator)
        else:
            self.codebook.used.zero_()
        self._seen.clear()

    def measures(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        index = self.codebook.choose(self.adapter(classifier.deepest_map(x)), target).flatten(1)
        chosen = torch.zeros(len(x), len(self.codebook.used), dtype=torch.bool, device=x.device)
        return {"codes_in_use": chosen.scatter_(1, index, True)}

    def _quantised(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            features = classifier.deepest_map(x)
        adapted = self.adapter(features)
        codes, codebook_loss, commitment_loss = self.codebook(adapted, target)
        if self.training:
            vectors = adapted.detach().flatten(2).transpose(1, 2)
            self._seen.append((vectors.flatten(0, 1), target.repeat_interleave(vectors.shape[1])))
        return self.decoder([codes]), codebook_loss, commitment_loss


class Adapter(nn.Module):
    """Network from (batch, channels, h, w) of any scale to (batch, size, h, w): it standardises, projects, and adds
    one residual block."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.BatchNorm2d(channels, affine=False), nn.Conv2d(channels, size, 1))
        self.block = nn.Sequential(
            nn.Conv2d(size, size, 3, padding=1, bias=False),
            nn.BatchNorm2d(size),
            nn.ReLU(),
            nn.Conv2d(size, size, 1, bias=False),
            nn.BatchNorm2d(size),
        )

    def forward(self, features: Tensor) -> Tensor:
        projected = self.project(features)
        return projected + self.block(projected)


class Piq(MaskExplainer):
    title = "PIQ"
    reference = "Paissan, Subakan, Ravanelli, arXiv 2303.12659"
    description = "mask decoded from the classifier's features, quantised with the codes of the predicted class"
    network = PiqNetwork
    settings = MaskExplainer.settings | {"codes": 1024, "shared_codes": 0, "code_size": 64, "decoder_width": 24}
