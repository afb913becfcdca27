"""Masks of exactly the spectrogram's size, whatever the sizes of the feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.front_end import FrontEnd, LinearResize, MelResize
from xaibench.explaining.trainable import FitContext, TrainingClips
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.testing import toy_batch

mask_decoder = Lazy("xaibench.methods._mask_decoder")
Sizes = Sequence[tuple[int, int]]

ODD: list[Sizes] = [
    [(7, 7)],
    [(5, 13)],
    [(14, 14)],
    [(1, 1)],
    [(29, 31), (14, 14), (5, 13)],
    [(40, 70), (7, 7), (7, 7)],
]


class OddToy(PictureClassifier):
    """A classifier whose feature maps have the sizes it is told."""

    def __init__(self, sizes: Sizes, front_end: FrontEnd) -> None:
        super().__init__("odd-toy", "toy", ["bell", "crow", "rain"])
        self.front_end, self.sizes = front_end, sizes
        widths = [1, *range(3, 3 + 2 * len(sizes), 2)]
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.feature_maps = nn.Identity()
        self.head = nn.Linear(widths[-1], 3)

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        maps, features = [], self.front_end(x)
        for size, step in zip(self.sizes, self.steps, strict=True):
            features = torch.relu(step(nn.functional.adaptive_avg_pool2d(features, size)))
            maps.append(features)
        return [*maps[:-1], self.feature_maps(maps[-1])]

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.head(self.feature_pyramid(x)[-1].mean(dim=(2, 3)))


def toy(sizes: Sizes, front_end: FrontEnd) -> Classifier:
    torch.manual_seed(0)
    return freeze(OddToy(sizes, front_end))


@pytest.mark.parametrize("front_end", [MelResize((32, 32)), LinearResize((37, 50))], ids=["mel", "linear"])
@pytest.mark.parametrize("sizes", ODD, ids=lambda sizes: "+".join(f"{h}x{w}" for h, w in sizes))
@pytest.mark.parametrize("name", ["piq", "lmac"])
def test_a_mask_has_the_spectrograms_size(name: str, sizes: Sizes, front_end: FrontEnd, tmp_path: Path) -> None:
    classifier, batch = toy(sizes, front_end), toy_batch(3)
    target = classifier.picture_logits(batch.x).argmax(dim=1)
    method = registry.create("methods", name)
    settings = method.settings | {"epochs": 1, "decoder_width": 4}
    assert batch.waveform is not None
    clips = TrainingClips(batch.x, batch.clip_ids, batch.waveform)
    context = FitContext(
        settings=settings,
        seed=0,
        device=torch.device("cpu"),
        precision=torch.float32,
        state=tmp_path,
        report=lambda epoch: None,
    )
    fitted = method.fit(classifier, clips, clips, context)
    assert len(fitted.epochs) == 1
    explanation = method.explain(classifier, batch, target)
    assert explanation.map.shape == (3, *PICTURE_SHAPE)
    assert explanation.native_shape == front_end.image_size
    assert 0 <= float(explanation.map.min()) < float(explanation.map.max()) <= 1
    method.save(tmp_path)
    other = registry.create("methods", name)
    other.load(tmp_path, classifier)
    assert other.explain(classifier, batch, target).map.shape == (3, *PICTURE_SHAPE)


@pytest.mark.parametrize("sizes", ODD, ids=lambda sizes: "+".join(f"{h}x{w}" for h, w in sizes))
def test_every_map_of_a_pyramid_decides_the_mask(sizes: Sizes, tmp_path: Path) -> None:
    torch.manual_seed(0)
    channels = [3 + 2 * i for i in range(len(sizes))]
    decoder = mask_decoder.MaskDecoder(channels, sizes, (32, 48), 4).train()
    maps = [torch.randn(2, count, *size, requires_grad=True) for count, size in zip(channels, sizes, strict=True)]
    drawn = decoder(maps)
    assert drawn.shape == (2, 32, 48)
    # Squares, for the batch norms make the plain sum nearly constant.
    for gradient in torch.autograd.grad(drawn.square().sum(), maps):
        assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("width", [4, 24])
def test_the_width_is_a_parameter(width: int) -> None:
    decoder = mask_decoder.MaskDecoder([8], [(4, 8)], (128, 128), width)
    widths = [step[0].out_channels for step in decoder.steps]
    assert max(widths) == 4 * width
    assert decoder.sizes[-1] == (128, 128)
    for (h, w), (taller, wider) in pairwise(decoder.sizes):
        assert taller <= 2 * h and wider <= 2 * w
