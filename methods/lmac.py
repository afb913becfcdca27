"""L-MAC: listenable maps for audio classifiers (Paissan, Della Libera, Ravanelli, Subakan, arXiv 2403.13086)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import PictureClassifier
from xaibench.explaining.trainable import Setting
from xaibench.sound.audio import PICTURE_SHAPE

from ._mask_decoder import MaskDecoder
from ._mask_fitting import Clips, ImageMaskNetwork, MaskExplainer
from ._sound import sound

# Fine-tuning draws a mask towards the clip's loud bins if the kept part resembles the clip at least this much.
GUIDANCE_CORRELATION = 0.6


class LmacNetwork(ImageMaskNetwork):
    """Decoder on the classifier's feature pyramid.

    Args:
        classifier: the classifier whose feature maps it reads; their channels and sizes are taken from it.
        settings: settings of Lmac.
    """

    def __init__(self, classifier: PictureClassifier, settings: dict[str, Setting]) -> None:
        super().__init__()
        with torch.inference_mode():
            maps = classifier.feature_pyramid(torch.zeros(1, *PICTURE_SHAPE, device=classifier.device))
        self.settings = settings
        self.decoder = MaskDecoder(
            [one.shape[1] for one in maps],
            [(one.shape[2], one.shape[3]) for one in maps],
            classifier.front_end.image_size,
            int(settings["decoder_width"]),
        )

    def mask_logits(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            maps = classifier.feature_pyramid(x)
        return self.decoder(maps)

    def stage(self, epoch: int) -> int:
        return int(epoch >= int(self.settings["epochs"]) - int(self.settings["guidance_epochs"]))

    def loss(self, classifier: PictureClassifier, clips: Clips, target: Tensor, epoch: int) -> Tensor:
        """Compute the masking loss of the paper; with guidance, that of its fine-tuning stage.

        Both parts are sounds, as soft masks are scored and as one hears them. The likelihood of the removed part counts
        only down to that of a guess. Below it nothing is left to remove, and an unbounded reward would outweigh
        everything else.
        """
        weights = {name: float(value) for name, value in self.settings.items()}
        x, waveform = clips
        logits = classifier.front_end.to_picture(self.mask_logits(classifier, x, target).float())
        mask = torch.sigmoid(logits)
        sound_kept = classifier.domain.masked(waveform, mask)
        # What a mask keeps and what it removes add up to the clip.
        heard = classifier.domain.log_magnitudes(torch.cat([sound_kept, waveform - sound_kept]))
        logs = classifier.log_probabilities(heard).float()
        own = logs.gather(1, target.repeat(2)[:, None])[:, 0]
        likelihood_kept, likelihood_removed = own.split(len(x))
        guess = -math.log(logs.shape[1])
        loss = weights["removed_weight"] * likelihood_removed.clamp(min=guess) - (
            weights["kept_weight"] * likelihood_kept
        )
        loss = loss + weights["sparsity_weight"] * mask.mean(dim=(1, 2))
        loss = loss + weights["smoothness_weight"] * _total_variation(mask)
        if self.stage(epoch):
            loss = loss + weights["guidance_weight"] * _guidance(logits, heard[: len(x)].detach(), x)
        return loss.mean()


def _total_variation(mask: Tensor) -> Tensor:
    """Average the absolute steps between neighbours along frequency and along time, (batch,)."""
    return mask.diff(dim=1).abs().mean(dim=(1, 2)) + mask.diff(dim=2).abs().mean(dim=(1, 2))


def _guidance(logits: Tensor, kept: Tensor, x: Tensor) -> Tensor:
    """Compute the cross-entropy between mask and loud bins for clips that the kept part resembles, (batch,); else 0."""
    resembles = nn.functional.cosine_similarity(kept.flatten(1), x.flatten(1)) >= GUIDANCE_CORRELATION
    distance = nn.functional.binary_cross_entropy_with_logits(logits, sound(x), reduction="none")
    return distance.mean(dim=(1, 2)) * resembles


class Lmac(MaskExplainer):
    title = "L-MAC"
    reference = "Paissan, Della Libera, Ravanelli, Subakan, arXiv 2403.13086"
    description = (
        "mask decoded from the classifier's feature pyramid so that it keeps the decision and its removal does not"
    )
    requires = frozenset({"picture", "feature_pyramid"})
    fitted_through = "sound"
    network = LmacNetwork
    settings = MaskExplainer.settings | {
        "epochs": 16,
        "decoder_width": 24,
        "kept_weight": 4.0,
        "removed_weight": 0.2,
        "sparsity_weight": 0.4,
        "smoothness_weight": 0.0,
        "guidance_epochs": 0,
        "guidance_weight": 4.0,
    }
