"""L2I: the dictionary, the relevance of its components, their masks and the loss, against loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.base import PictureClassifier
from xaibench.classifiers.front_end import LinearResize
from xaibench.errors import XaibenchError
from xaibench.explaining.trainable import FitContext, TrainingClips
from xaibench.testing import toy_batch, toy_classifier

l2i = Lazy("xaibench.methods.l2i")
mask_fitting = Lazy("xaibench.methods._mask_fitting")
recipes = Lazy("xaibench.speechbrain.classifiers")
SMALL: dict[str, Any] = {"epochs": 2, "components": 6, "width": 4, "relevance_threshold": 0.1}


@pytest.fixture(scope="module")
def classifier() -> PictureClassifier:
    return cast(PictureClassifier, toy_classifier())


def clips(count: int = 3) -> TrainingClips:
    batch = toy_batch(count)
    assert batch.waveform is not None
    return TrainingClips(batch.x, batch.clip_ids, batch.waveform)


def context(settings: dict[str, Any], folder: Path = Path("nowhere")) -> FitContext:
    return FitContext(
        settings=settings,
        seed=0,
        device=torch.device("cpu"),
        precision=torch.float32,
        state=folder,
        report=lambda epoch: None,
    )


def made(classifier: PictureClassifier) -> Any:
    """The network with small settings and a dictionary, untrained; and its settings."""
    settings = registry.load("methods", "l2i").settings | SMALL
    torch.manual_seed(0)
    network = l2i.L2iNetwork(classifier, settings).eval()
    network.prepare(clips(), context(settings))
    return network


def test_the_dictionary_is_of_spectra_that_rebuild_the_clips(classifier: PictureClassifier) -> None:
    network = made(classifier)
    spectra = network.dictionary
    assert spectra.shape == (6, 513) and (spectra >= 0).all()
    torch.testing.assert_close(spectra.norm(dim=1), torch.ones(6))
    frames = clips().x.transpose(1, 2).flatten(0, 1)
    projected = frames @ torch.linalg.pinv(spectra) @ spectra  # the nearest sums of spectra, of any sign
    missed = float((projected - frames).square().mean() / frames.square().mean())
    assert missed < 0.25
    silent = TrainingClips(torch.zeros(1, 513, 9), ("a",), torch.zeros(1, 1600))
    with pytest.raises(XaibenchError, match="all training clips are silent"):
        network.prepare(silent, context(network.settings))


def test_l2i_by_loops(classifier: PictureClassifier) -> None:
    """Relevance, threshold and masks of the paper's interpretation, component by component."""
    network, batch, target = made(classifier), toy_batch(2), torch.tensor([1, 3])
    with torch.no_grad():
        found = network.interpret(classifier, batch.x)
        explanation = network.masks(classifier, batch, target)
        method = registry.create("methods", "l2i")
        method._fitted = network
        relevance, each = method.components(classifier, batch, target)
    assert found.activations.shape == (2, 6, 431) and (found.activations >= 0).all()
    chosen = 0
    for clip in range(2):
        weights = network.head.weight[target[clip]].detach()
        said = [float(found.pooled[clip, k] * weights[k]) for k in range(6)]
        part, whole = torch.zeros(513, 431), torch.zeros(513, 431)
        for k in range(6):
            layer = torch.outer(network.dictionary[k], found.activations[clip, k])
            r = said[k] / max(map(abs, said))
            assert float(relevance[clip, k]) == pytest.approx(r, rel=1e-5)
            chosen += r > 0.1
            part, whole = part + (layer if r > 0.1 else 0), whole + layer
        expected = torch.where(whole > 1e-6, part / whole, 0)
        torch.testing.assert_close(torch.where(whole > 1e-6, explanation.map[clip], 0), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(each[clip].sum(dim=0)[whole > 1e-6], torch.ones(int((whole > 1e-6).sum())))
        kept = each[clip][relevance[clip] > 0.1].sum(dim=0)
        torch.testing.assert_close(kept, explanation.map[clip], rtol=1e-4, atol=1e-5)
    assert 0 < chosen < 12


def test_the_interpreters_decision_is_a_mean_under_attention(classifier: PictureClassifier) -> None:
    network, batch = made(classifier), toy_batch(2)
    with torch.no_grad():
        activations, pooled, logits = network.interpret(classifier, batch.x)
        scores = torch.einsum("k,bkt->bt", network.attention.weight[0, :, 0], activations)
    for clip in range(2):
        share = scores[clip].exp() / scores[clip].exp().sum()
        expected = sum(share[t] * activations[clip, :, t] for t in range(431))
        torch.testing.assert_close(pooled[clip], cast(Tensor, expected), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, pooled @ network.head.weight.T)


def test_the_loss_by_hand(classifier: PictureClassifier) -> None:
    network, batch = made(classifier), toy_batch(2)
    assert batch.waveform is not None
    with torch.no_grad():
        activations, _, logits = network.interpret(classifier, batch.x)
        p = torch.softmax(classifier.temperature * classifier.picture_logits(batch.x), dim=1)
        fidelity = -(p * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        rebuilt = network.dictionary.T @ activations
        expected = fidelity + 5.0 * (rebuilt - batch.x).square().mean() + 0.1 * activations.mean()
        found = network.loss(classifier, mask_fitting.Clips(batch.x, batch.waveform), logits.argmax(dim=1), 0)
        target = torch.stack([logits[0].argmax(), (logits[1].argmax() + 1) % 4])
        measured = network.measures(classifier, batch.x, target)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert measured["fidelity"].tolist() == [1.0, 0.0]


def test_time_may_be_the_other_axis_of_the_image() -> None:
    seen = [
        l2i._time_comes_first(type("Any", (), {"front_end": one, "device": torch.device("cpu")}))
        for one in (LinearResize((32, 32)), recipes.RecipeFrontEnd(32))
    ]
    assert seen == [False, True]
