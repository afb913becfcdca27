"""Agreement of the axioms with Quantus 0.6, clip by clip, on real clips of full size."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, context
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.scoring.context import ScoringContext
from xaibench.sound import audio
from xaibench.sound.esc50 import Esc10

quantus = Lazy("quantus")

CLIPS = ("5-181766-A-10", "5-187979-A-21")  # rain; a sneeze, most of it digital silence
QUIET = {"disable_warnings": True}


class Logits(nn.Module):
    """What the attributions explain: logits at the temperature of spectrograms (batch, 1, freq, time)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.temperature * self.classifier.picture_logits(x[:, 0]).double()


class CellSwitches(nn.Module):
    """p of one clip as a function of 12 x 12 switches (batch, 1, 12, 12): its cells, on or off."""

    def __init__(self, classifier: Classifier, x: Tensor) -> None:
        super().__init__()
        self.classifier, self.x = classifier, x
        self.rows, self.columns = (torch.arange(side) * 12 // side for side in x.shape)
        self.eval()

    def forward(self, switches: Tensor) -> Tensor:
        on = switches[:, 0][:, self.rows][:, :, self.columns]
        return torch.softmax(self.classifier.temperature * self.classifier.picture_logits(self.x * on).double(), dim=1)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return checkpoint.resolve("cnn-micro", "esc10")[0]


@pytest.fixture(scope="module")
def sounds(esc50_folder) -> Tensor:
    """Log spectrograms (2, 513, 431)."""
    dataset = Esc10(esc50_folder)
    found = {clip.id: clip for clip in dataset.clips}
    waveforms = np.stack([dataset.waveform(found[name]) for name in CLIPS])
    return audio.spectrogram(torch.as_tensor(waveforms))


def explained(method: str, classifier: Classifier, x: Tensor) -> ScoringContext:
    """Evidence of a real method's signed maps."""
    empty = context(classifier, x, torch.zeros_like(x))
    made = registry.create("methods", method).explain(classifier, empty.clean.batch, empty.target)
    return context(classifier, x, made.map.detach())


def ours(name: str, made: ScoringContext) -> np.ndarray:
    return registry.load("metrics", name)().score(made, None).values.numpy()


def theirs(metric: Callable, model: nn.Module, x: np.ndarray, target: Tensor, maps: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(
            model=model,
            x_batch=x.copy(),
            y_batch=target.numpy(),
            a_batch=maps.copy(),
            channel_first=True,
            softmax=False,
        )


def quantus_completeness(made: ScoringContext) -> tuple[list[bool], np.ndarray]:
    """Its verdicts, and the change of the logit that it compared each sum with."""
    changes = []
    metric = quantus.Completeness(
        output_func=lambda change: changes.append(change) or change, perturb_baseline=0.0, normalise=False, **QUIET
    )
    maps = made.attribution[:, None].double().numpy()
    found = theirs(metric, Logits(made.classifier), made.clean.batch.x[:, None].numpy(), made.target, maps)
    (change,) = changes
    return [bool(one) for one in found], change


@pytest.mark.parametrize("method", ["integrated-gradients", "saliency"])
def test_completeness(method, classifier, sounds):
    """Quantus asks whether the two sides are equal to the last bit, which no computed attribution is: ours is the gap.

    Its default, normalise=True, divides the maps by their maximum first, after which nothing can add up.
    """
    made = explained(method, classifier, sounds)
    verdicts, change = quantus_completeness(made)
    assert verdicts == [False, False]
    total = made.attribution.flatten(1).double().sum(dim=1).numpy()
    gap = np.abs(total - change) / np.abs(change)
    np.testing.assert_allclose(ours("completeness", made), gap, rtol=1e-5, atol=1e-5)
    assert (gap < 0.25).all() if method == "integrated-gradients" else (gap > 0.3).all()


def test_completeness_where_quantus_says_yes():
    """One bin that holds the whole change, in numbers that add up exactly in either order."""
    x = torch.ones(2, 4, 3)
    classifier = LinearToy()
    classifier.weight, classifier.bias = (8 * classifier.weight).round() / 8, torch.zeros(5, dtype=torch.float64)
    made = context(classifier, x, torch.zeros_like(x))
    maps = torch.zeros_like(x)
    maps[:, 0, 0] = (made.of_target(made.clean.logits) - made.clean.silence[made.target]).float()
    maps[1, 1, 1] = 2.0**-10
    found = context(classifier, x, maps)
    assert quantus_completeness(found)[0] == [True, False]
    first, second = ours("completeness", found)
    assert first == 0.0
    assert 0 < second < 0.01


def test_non_sensitivity(classifier, sounds):
    """Quantus counts bins, with its default normalisation; given cells for bins, its count over 144 is our share."""
    made = explained("saliency", classifier, sounds[1:])
    rows, columns = (np.arange(side) * 12 // side for side in sounds.shape[1:])
    (one,) = made.attribution.abs().double().numpy()
    cells = np.array([[one[rows == r][:, columns == c].mean() for c in range(12)] for r in range(12)])
    metric = quantus.NonSensitivity(eps=1e-5, perturb_baseline=0.0, normalise=True, **QUIET)
    model = CellSwitches(classifier, sounds[1])
    (count,) = theirs(metric, model, np.ones((1, 1, 12, 12)), made.target, cells[None, None])
    assert 15 < count < 130
    np.testing.assert_allclose(ours("non_sensitivity", made), [count / 144], atol=1e-12)


def test_non_sensitivity_of_quantus_cannot_take_steps_of_several_bins():
    """With more than one feature in a step, it compares one answer per step with one attribution per feature."""
    made = context(LinearToy(), torch.rand(1, 8, 6), torch.rand(1, 8, 6))
    metric = quantus.NonSensitivity(features_in_step=4, **QUIET)
    with pytest.raises(ValueError, match="broadcast"):
        theirs(
            metric,
            Logits(LinearToy()),
            made.clean.batch.x[:, None].numpy(),
            made.target,
            made.importance[:, None].numpy(),
        )
