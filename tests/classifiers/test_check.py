"""The check of a classifier says what it is like, and warns of each thing that spoils numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.sound_models import CLASSES, RATE, LogMel, clips, loudness, mel_cnn
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.check import _accuracy, glance
from xaibench.classifiers.check_findings import Check, Level, like_guessing
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import DataError
from xaibench.sound.synth import Synth
from xaibench.testing import toy_classifier

FINE = Check(
    name="fine",
    clips=10,
    labelled=10,
    accuracy=0.8,
    reordered=None,
    agreement=1.0,
    synthesis=1e-6,
    gradients="finite",
    batched=1e-7,
    repeated=0.0,
    training=False,
    shares=False,
    classes=4,
    p=0.9,
    levels=(Level(decibels=-20.0, agreement=0.5, p=0.4), Level(decibels=6.0, agreement=0.9, p=0.9)),
    seconds=0.01,
    memory_bytes=2**20,
)


def wrapped(net: nn.Module | None = None, **settings: Any) -> Classifier:
    given: dict[str, Any] = {"classes": CLASSES, "sample_rate": RATE, "front_end": LogMel(), **settings}
    return xb.wrap(net or mel_cnn(), **given)


def test_a_wrapped_network_agrees_with_itself_on_every_clip() -> None:
    classifier = wrapped()
    found = classifier.check(clips(20))
    assert (found.clips, found.agreement, found.gradients, found.repeated) == (20, 1.0, "finite", 0.0)
    assert found.accuracy is None and found.labelled is None
    assert not any("label" in words for words in found.warnings)
    assert found.synthesis < 1e-4 and found.batched < 1e-4 and not found.training
    assert found.seconds > 0 and found.classes == 4
    p = torch.softmax(classifier.logits(clips(20)), dim=1)
    assert found.p == pytest.approx(float(p.amax(dim=1).mean()), abs=1e-5)
    softer = torch.softmax(classifier.logits(clips(20) / 10), dim=1).gather(1, p.argmax(dim=1)[:, None])
    assert found.levels[0].p == pytest.approx(float(softer.mean()), abs=1e-5)


def test_accuracy_is_by_name(synth: Synth, trained: LoadedClassifier) -> None:
    right = trained.classifier.check(synth, limit=8)
    assert right.labelled == 8 and right.accuracy is not None and right.accuracy > 0.7 and right.reordered is None
    own = trained.classifier.classes
    trained.classifier.classes = tuple(f"other {name}" for name in own)
    try:
        strange = trained.classifier.check(synth, limit=2)
    finally:
        trained.classifier.classes = own
    assert strange.accuracy is None and any("none of the clips has a label" in words for words in strange.warnings)


def test_classes_in_another_order_are_noticed() -> None:
    labels = [(name,) for name in CLASSES] * 3
    predicted = [(CLASSES.index(label) + 1) % 4 for (label,) in labels]
    assert _accuracy(CLASSES, predicted, labels) == (0, 1, 12)
    assert _accuracy(CLASSES, predicted[:8], labels[:8]) == (0, None, 8)  # some order always fits few clips
    assert _accuracy((*CLASSES[1:], CLASSES[0]), predicted, [*labels[:11], ("unknown",)])[2] == 11
    words = replace(FINE, accuracy=0.0, reordered=1.0).warnings
    assert words == ("its accuracy would be 100% with the classes in another order: give them in the order of the "
                     "logits",)  # fmt: skip


def test_another_bare_model_is_noticed() -> None:
    found = wrapped().check(clips(4), bare=lambda waveform: np.eye(4)[3])
    assert found.agreement is not None and found.agreement < 1
    assert any("the bare model gives another class on" in words for words in found.warnings)


def test_a_black_box_and_a_reader_of_pictures_are_checked_too() -> None:
    box = xb.wrap(loudness, classes=CLASSES, sample_rate=RATE, gradients=False, returns="probabilities")
    assert box.check(clips(4)).gradients == "none" and box.check(clips(4)).agreement == 1
    found = toy_classifier().check(clips(2, 16_000, 5.0))
    assert found.agreement is None and found.gradients == "finite"


class Spoilt(Classifier):
    """A classifier that nobody tried out before, spoilt in one way."""

    sample_rate, samples = RATE, None
    domain = wrapped().domain

    def __init__(self, way: str) -> None:
        super().__init__("spoilt", "sound", CLASSES)
        self.way = way
        self.register_buffer("weight", torch.tensor([[1.0, -1.0, 0.5, 2.0]]))

    def logits(self, waveform: Tensor) -> Tensor:
        level = waveform.square().mean(dim=1, keepdim=True) * 50
        match self.way:
            case "random":
                level = level + 0.1 * torch.rand(1)
            case "batch":
                level = level + 0.1 * len(waveform)
            case "rounds":
                level = level.round()
            case "root":
                level = level + (waveform[:, :1] * 0).abs().sqrt()
            case "normalises":
                level = level / level.detach()
        return level * self.weight.detach()


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("random", "when the same is asked again: turn off dropout"),
        ("batch", "with the other clips of the batch: normalise each clip by itself"),
        ("rounds", "gradients are zero everywhere"),
        ("root", "gradients hold NaN or infinities"),
        ("normalises", "answers hardly change at -20 dB"),
    ],
)
def test_each_fault_is_warned_of(way: str, words: str) -> None:
    found = Spoilt(way).eval().check(clips(3))
    assert any(words in line for line in found.warnings), found
    assert "training mode" in str(Spoilt(way).train().check(clips(2)))


def test_a_fine_model_gets_no_warning_and_texts_say_what_was_found() -> None:
    assert FINE.warnings == ()
    assert FINE.lines()[0] == "accuracy: 80% of 10 clips"
    assert "at -20 dB" in str(FINE) and "same class on 50% of the clips, p 0.400" in str(FINE)
    assert "10.0 ms a clip" in str(FINE) and "1.0 MiB a clip" in str(FINE)
    assert replace(FINE, name="<b>")._repr_html_().startswith("<table><caption>&lt;b&gt;, 10 clips")
    assert any("near chance" in words for words in replace(FINE, accuracy=0.0).warnings)
    assert any("analysis and synthesis" in words for words in replace(FINE, synthesis=0.1).warnings)


def test_no_clips_are_refused() -> None:
    with pytest.raises(DataError, match="no clips to check"):
        wrapped().check(torch.zeros(0, RATE))


def few(count: int = 16) -> tuple[xb.Dataset, tuple[xb.Clip, ...]]:
    """Clips of the four classes in turn, a loud band each."""
    time = torch.arange(5 * RATE) / RATE
    tones = [0.3 * torch.sin(2 * torch.pi * (2_000 + 4_000 * (i % 4)) * time) for i in range(count)]
    data = xb.clips(tones, RATE, [CLASSES[i % 4] for i in range(count)], CLASSES)
    return data, data.clips


def loud_band(sounds: np.ndarray) -> np.ndarray:
    """Probabilities (batch, 4) of the bands, less sure of softer clips."""
    spectrum = np.abs(np.fft.rfft(sounds, axis=1)) ** 2
    bands = np.stack([part.sum(axis=1) for part in np.array_split(spectrum, 4, axis=1)], axis=1) + 1e7
    return np.asarray(bands / bands.sum(axis=1, keepdims=True))


def box(predict: Callable[[np.ndarray], np.ndarray] = loud_band, classes: Sequence[str] = CLASSES) -> Classifier:
    return xb.wrap(predict, classes=classes, sample_rate=RATE, gradients=False, returns="probabilities")


def test_a_glance_finds_nothing_wrong_with_a_good_model() -> None:
    before = torch.get_rng_state()
    assert glance(box(), *few()) == ()
    assert torch.equal(torch.get_rng_state(), before)  # scores stay what they were


def test_a_glance_finds_a_model_at_chance_and_one_that_is_not_itself() -> None:
    (words,) = glance(box(lambda sounds: loud_band(sounds)[:, ::-1]), *few())
    assert words.startswith("it is right on ") and "of 16 clips, as guessing may be: compare sample rate" in words
    (words,) = glance(box(classes=[f"other {name}" for name in CLASSES]), *few())
    assert words.startswith("none of the clips has a label")
    other: Any = Spoilt("nothing").eval()
    other.bare = lambda waveform: np.eye(4)[1]
    assert "the bare model gives another class on 100% of the clips" in glance(other, *few())[0]
    (words,) = glance(box(loudness), *few())
    assert words.startswith("its answers hardly change at -20 dB")
    # Told to give logits, what gives probabilities is right about every class, and wrong about how sure it is.
    unsaid = xb.wrap(loud_band, classes=CLASSES, sample_rate=RATE, gradients=False)
    assert 'wrap it with returns="probabilities"' in glance(unsaid, *few())[-1]
    assert unsaid.check(*few()[:1]).cautions[-1].startswith("all its logits lie between 0 and 1")
    assert glance(box(), few(1)[0], ()) == ()


def test_a_glance_finds_clips_that_change_each_other() -> None:
    def of_the_loudest(sounds: np.ndarray) -> np.ndarray:
        return loud_band(sounds * np.linspace(1, 1e-4, len(sounds))[:, None])

    (words, *more) = glance(box(of_the_loudest), *few())
    assert words.startswith("a probability changes by ") and words.endswith("normalise each clip by itself")
    assert not [line for line in more if "bare model" in line]


def test_a_model_of_half_precision_is_checked_too() -> None:
    for dtype in (torch.bfloat16, torch.float16):

        def halved(waveform: torch.Tensor, dtype: torch.dtype = dtype) -> torch.Tensor:
            return LogMel()(waveform).to(dtype)

        found = wrapped(mel_cnn().to(dtype), front_end=halved).check(clips(3))
        assert found.agreement == 1


@pytest.mark.parametrize(
    ("right", "clips", "classes", "like"),
    [(16, 16, 4, False), (4, 16, 4, True), (9, 16, 4, False), (0, 1, 4, False), (0, 16, 1, False), (0, 0, 4, False)],
)
def test_guessing(right: int, clips: int, classes: int, like: bool) -> None:
    """Too few clips, or a single class, tell nothing."""
    assert like_guessing(right, clips, classes) is like
