"""The conformance kit on classifiers: each broken promise is caught and named, and sound ones pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.sound_models import CLASSES, LogMel, loudness, mel_cnn, waveform_network
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.sound.domain import Domain
from xaibench.sound.randomness import seeded
from xaibench.testing import check_classifier, toy_classifier

RATE = 8_000


class Good(Classifier):
    """Two strided convolutions on a second at 8 kHz, with a feature map of time steps."""

    sample_rate, samples, domain = RATE, RATE, Domain.at(RATE)
    capabilities = frozenset({"gradients", "feature_map"})

    def __init__(self) -> None:
        super().__init__("good", "sound", CLASSES)
        with seeded(0):
            self.first, self.second = nn.Conv1d(1, 4, 32, stride=8), nn.Conv1d(4, 8, 16, stride=8)
            self.head = nn.Linear(8, len(CLASSES))
        self.head.weight.data.mul_(30)  # so that it tells a tone from silence
        self.feature_maps = nn.Identity()
        freeze(self)

    def logits(self, waveform: Tensor) -> Tensor:
        maps = self.second(self.first(waveform[:, None]).relu()).relu()
        return self.finish(waveform, self.head(self.feature_maps(maps[:, :, None]).mean(dim=(2, 3))))

    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        return nn.functional.interpolate(maps[:, None], shape, mode="bilinear")[:, 0]


class SpaceInName(Good):
    def __init__(self) -> None:
        super().__init__()
        self.name = "two words"


class SameClassTwice(Good):
    def __init__(self) -> None:
        super().__init__()
        self.classes = ("bell", "bell", "rain", "saw")


class ColdHead(Good):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = 0.0


class FractionalRate(Good):
    sample_rate = 8_000.5  # type: ignore[assignment]


class OtherDomain(Good):
    domain = Domain.at(16_000)


class WordsForCapabilities(Good):
    capabilities = "gradients"  # type: ignore[assignment]


class TensorSetting(Good):
    settings = {"weights": torch.ones(2)}


class StillTraining(Good):
    def __init__(self) -> None:
        super().__init__()
        self.head.train()


class StillTrained(Good):
    def __init__(self) -> None:
        super().__init__()
        self.head.requires_grad_()


class OffersAttentions(Good):
    capabilities = frozenset({"gradients", "attentions"})


class Raises(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        raise ZeroDivisionError("no such clip")


class ReturnsArray(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Any:
        return logits.detach().numpy()


class OneLogitTooMany(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return torch.cat([logits, logits[:, :1]], dim=1)


class Doubles(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits.double()


class DeafToSilence(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits + waveform.square().mean(dim=1, keepdim=True).log()


class WritesToTheWaveform(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        waveform.mul_(0.5)
        return logits


class DropsOut(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return nn.functional.dropout(logits, 0.5, training=True)


class NumbersItsClips(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits + torch.arange(len(logits))[:, None]


class NormalisesTheBatch(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits / logits.abs().amax()


class IsNotCopied(Good):
    def __deepcopy__(self, memory: dict[int, Any]) -> Good:
        made = Good()
        with torch.no_grad():
            made.head.bias.add_(1)
        return made


class FreeInWords(Good):
    samples = None

    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        if waveform.shape[1] < 10_000:
            raise ValueError("too short")
        return logits


class ForgetsItsPhase(Good):
    def logits_of(self, x: Tensor, phase: Tensor | None = None, samples: int | None = None) -> Tensor:
        return self.logits(self.domain.synthesise(x, torch.ones_like(phase), samples or 0))  # type: ignore[arg-type]


class ReadsAnotherPicture(Good):
    capabilities = frozenset({"gradients", "picture"})

    def picture_logits(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), len(self.classes))


class NoGradients(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits.detach()


class BrokenGradients(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        return logits + (waveform[:, :1] * 0).sqrt()


class CountsItsCalls(Good):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        self.calls += 1
        return logits


class MapsTwice(Good):
    def finish(self, waveform: Tensor, logits: Tensor) -> Tensor:
        self.feature_maps(waveform[:, None, None])
        return logits


class FlatMaps(Good):
    def logits(self, waveform: Tensor) -> Tensor:
        maps = self.second(self.first(waveform[:, None]).relu()).relu()
        return self.head(self.feature_maps(maps).mean(dim=2))


class PlacesNowhere(Good):
    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        return maps


class GoodAttention(Good):
    capabilities = frozenset({"gradients", "attentions"})
    patch_grid, special_tokens = (1, 3), 1

    def logits_and_attentions(self, batch: xb.Batch) -> tuple[Tensor, list[Tensor]]:
        return self.logits_of_clips(batch), [torch.full((len(batch), 1, 4, 4), 1 / 4)]


class HalfTheAttention(GoodAttention):
    def logits_and_attentions(self, batch: xb.Batch) -> tuple[Tensor, list[Tensor]]:
        logits, attentions = super().logits_and_attentions(batch)
        return logits, [one / 2 for one in attentions]


class AttentionOfOtherLogits(GoodAttention):
    def logits_and_attentions(self, batch: xb.Batch) -> tuple[Tensor, list[Tensor]]:
        logits, attentions = super().logits_and_attentions(batch)
        return 2 * logits, attentions


class AttentionWithoutSpecialTokens(GoodAttention):
    special_tokens = 0


BAD = {
    SpaceInName: "name is 'two words'; use letters",
    SameClassTwice: "two classes have the same name",
    ColdHead: "temperature must be a positive number, not 0.0",
    FractionalRate: "sample_rate must be a whole number, not 8000.5",
    OtherDomain: "it hears 8000 Hz, and its domain is of 16000 Hz",
    WordsForCapabilities: "capabilities must be a frozenset of names",
    TensorSetting: "settings must be plain JSON values",
    StillTraining: "head is in training mode; call eval",
    StillTrained: "head.weight, head.bias asks for gradients; call requires_grad_",
    OffersAttentions: "it offers 'attentions' but has no logits_and_attentions, patch_grid, special_tokens",
    Raises: "two clips, one of them silent raised ZeroDivisionError: no such clip",
    ReturnsArray: r"logits\(\) returned ndarray, expected a tensor",
    OneLogitTooMany: r"has shape \(2, 5\), expected \(batch, classes\) = \(2, 4\)",
    Doubles: "logits are torch.float64, expected torch.float32",
    DeafToSilence: "holds NaN or infinities for silence",
    WritesToTheWaveform: "changed the waveform; clone it first",
    DropsOut: "the same sound gets other logits each time; turn off dropout",
    NumbersItsClips: "a clip's logits depend on the order of the batch",
    NormalisesTheBatch: "depend on the other clips of its batch; normalise each clip by itself",
    IsNotCopied: r"a copy of the classifier \(copy.deepcopy\) gives other logits",
    FreeInWords: r"a clip of 0.9 s \(it says that it takes any length: samples = None\) raised ValueError: too short",
    ForgetsItsPhase: r"logits_of\(\) of a picture with its phase is not logits\(\) of the sound",
    ReadsAnotherPicture: "it offers 'picture', and picture_logits",
    NoGradients: "it offers 'gradients', and asked for one it raised RuntimeError",
    BrokenGradients: "its gradients hold NaN or infinities",
    CountsItsCalls: "a forward and a backward pass left these changed: calls",
    MapsTwice: "feature_maps ran 2 times in one pass",
    FlatMaps: r"feature_maps gives \(2, 8, 123\), expected \(batch, channels, freq, time\)",
    PlacesNowhere: r"to_picture\(\) makes \(2, 1, 123\) of maps",
    HalfTheAttention: "rows of attention do not sum to 1",
    AttentionOfOtherLogits: r"logits_and_attentions\(\) gives other logits than logits\(\)",
    AttentionWithoutSpecialTokens: r"attention weights are \(1, 1, 4, 4\), expected .* with 3 tokens",
}


def test_good_classifiers_pass() -> None:
    check_classifier(Good())
    check_classifier(Good)
    check_classifier(GoodAttention())
    check_classifier(toy_classifier())


@pytest.mark.parametrize("classifier", BAD, ids=lambda classifier: classifier.__name__)
def test_a_bad_classifier_is_caught(classifier: type[Good]) -> None:
    with pytest.raises(AssertionError, match=BAD[classifier]):
        check_classifier(classifier())


def test_wrapped_models_pass() -> None:
    check_classifier(xb.wrap(waveform_network(), classes=CLASSES, sample_rate=16_000))
    rate = 32_000
    check_classifier(xb.wrap(mel_cnn(), front_end=LogMel(), classes=CLASSES, sample_rate=rate, layer="block2"))
    box = {"gradients": False, "returns": "probabilities", "version": "1"}
    check_classifier(xb.wrap(loudness, classes=CLASSES, sample_rate=rate, name="box", **box))


def test_a_function_makes_the_same_classifier_each_time() -> None:
    drawn = np.random.default_rng(0)

    def make() -> Classifier:
        made = Good()
        made.head.bias.add_(float(drawn.random()))
        return made

    with pytest.raises(AssertionError, match="made twice, it has two kinds of weights"):
        check_classifier(make)
    with pytest.raises(AssertionError, match=r"the function makes a int; return what xaibench\.wrap"):
        check_classifier(lambda: 3)  # type: ignore[arg-type, return-value]


def test_a_function_of_classes_makes_a_classifier_of_these() -> None:
    def other(classes: tuple[str, ...]) -> Classifier:
        return Good()

    check_classifier(other)  # the toy's classes are its own

    def deaf(classes: tuple[str, ...]) -> Classifier:
        made = Good()
        made.classes = classes[:2]
        return made

    with pytest.raises(AssertionError, match=r"asked for the classes .*, it has"):
        check_classifier(deaf)
