"""MPRT, efficient MPRT and random logit against Quantus 0.6, on real clips at the full resolution.

Quantus runs with normalise=False: its default divides by the largest value of the batch, which
orders no bins anew but can round two of them to one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10
from xaibench.testing import toy_batch, toy_classifier

quantus = Lazy("quantus")
similarity = Lazy("quantus.functions.similarity_func")

FAMILY = Lazy("xaibench.metrics.randomisation")
WEIGHTS = Lazy("xaibench.metrics._random_weights")
CLIPS = 2


def made_context(folder: Path, name: str) -> ScoringContext:
    source = Esc10(folder)
    chosen = source.in_folds([5])[:CLIPS]
    x = audio.spectrogram(torch.stack([torch.from_numpy(source.waveform(clip)) for clip in chosen]))
    classifier, _ = checkpoint.resolve(name, "esc10")
    forwarder = Forwarder(classifier, 16)
    batch = Batch(x, tuple(clip.id for clip in chosen))
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    explainer = BoundExplainer(registry.create("methods", "saliency"), forwarder)
    return ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)


@pytest.fixture(scope="module")
def context(esc50_folder: Path) -> ScoringContext:
    return made_context(esc50_folder, "cnn-micro")


class Image(torch.nn.Module):
    """A classifier as Quantus calls it: of pictures with a channel, (batch, 1, freq, time)."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.picture_logits(x[:, 0])


def explain_function(context: ScoringContext) -> Callable[..., np.ndarray]:
    """The method as Quantus calls it, for the clips of the evidence."""
    batch, method = context.clean.batch, context.explainer.method

    def explain(model: Image, inputs: np.ndarray, targets: np.ndarray, **settings: Any) -> np.ndarray:
        x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)[:, 0]
        target = torch.as_tensor(np.asarray(targets), dtype=torch.long)
        return (
            method.explain(model.classifier, Batch(x, batch.clip_ids, batch.seed), target).map.detach().numpy()[:, None]
        )

    return explain


def theirs(context: ScoringContext, metric: type, **settings: Any) -> Any:
    scorer = metric(normalise=False, disable_warnings=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scorer(
            model=Image(context.classifier).eval(),
            x_batch=context.clean.batch.x.numpy()[:, None],
            y_batch=context.target.numpy(),
            a_batch=context.attribution.numpy()[:, None].copy(),
            explain_func=explain_function(context),
            channel_first=True,
        )


def ours(context: ScoringContext, name: str) -> np.ndarray:
    result = registry.create("metrics", name).score(context, None)
    assert set(result.reasons) == {None}
    return result.values.numpy()


def test_mprt_by_layer_has_the_correlations_of_quantus(context):
    """Every layer and clip; benchmarks/engine.py says what it costs."""
    found = FAMILY.mprt_by_layer(context)
    expected = theirs(context, quantus.MPRT, layer_order="top_down", abs=True)
    assert list(expected) == ["original", *(f"classifier.{layer}" for layer in found)]
    for layer, values in found.items():
        np.testing.assert_allclose(values.numpy(), expected[f"classifier.{layer}"], rtol=0, atol=1e-9, err_msg=layer)
    assert max(float(values.abs().max()) for values in found.values()) < 0.99


def test_the_average_of_quantus_counts_the_original_map_as_a_layer(context):
    """Its table calls the trained classifier "original", its average leaves "orig" out: a 1 is averaged in."""
    shortened = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    x = np.random.default_rng(0).random((2, 4)).astype(np.float32)

    def gradient(model: torch.nn.Module, inputs: np.ndarray, targets: np.ndarray, **settings: Any) -> np.ndarray:
        given = torch.as_tensor(np.asarray(inputs)).float().requires_grad_()
        chosen = model(given).gather(1, torch.as_tensor(np.asarray(targets)).long()[:, None]).sum()
        return torch.autograd.grad(chosen, given)[0].numpy()

    common = {"model": shortened, "x_batch": x, "y_batch": np.zeros(2, dtype=int), "explain_func": gradient}
    settings = {"normalise": False, "disable_warnings": True, "layer_order": "top_down"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_layer = quantus.MPRT(**settings)(**common)
        average = quantus.MPRT(return_average_correlation=True, **settings)(**common)
    rows = [np.array(values) for values in by_layer.values()]
    assert rows[0].tolist() == pytest.approx([1.0, 1.0])
    assert average == pytest.approx(np.mean(rows, axis=0).tolist())
    assert not np.allclose(average, np.mean(rows[1:], axis=0), atol=1e-3)


@pytest.fixture
def quantus_draws_our_weights(context: ScoringContext, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Quantus's generator of randomised models yields our stages, cumulatively."""
    from quantus.helpers.model.pytorch_model import PyTorchModel

    def generate(self: PyTorchModel, order: str, seed: int) -> Iterator[tuple[str, torch.nn.Module]]:
        copied = checkpoint.resolve("cnn-micro", "esc10")[0]
        for i, stage in enumerate(WEIGHTS.stages(copied)):
            WEIGHTS.randomise(stage, context.clean.batch.seed)
            yield f"stage {i}", Image(copied).eval()

    count = len(WEIGHTS.stages(context.classifier))
    monkeypatch.setattr(PyTorchModel, "get_random_layer_generator", generate)
    monkeypatch.setattr(PyTorchModel, "random_layer_generator_length", property(lambda self: count))
    yield


@pytest.mark.usefixtures("quantus_draws_our_weights")
def test_mprt_with_the_same_weights(context):
    expected = theirs(context, quantus.MPRT, layer_order="top_down", abs=True)
    stages = np.array([values for stage, values in expected.items() if stage != "original"])
    np.testing.assert_allclose(ours(context, "mprt"), stages.mean(axis=0), rtol=0, atol=1e-9)


@pytest.mark.usefixtures("quantus_draws_our_weights")
def test_efficient_mprt_with_the_same_weights(context):
    """Quantus histograms float32 values between float32 edges, we in double precision: a few bins of 221,103 move."""
    values = ours(context, "efficient_mprt")
    expected = theirs(context, quantus.EfficientMPRT)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert (np.abs(values) > 0.01).all()


def test_random_logit_with_the_same_classes(context, monkeypatch):
    """With Spearman's correlation in place of its default, SSIM of the map laid out in one row."""
    drawn: Tensor = FAMILY.other_classes(context)
    index = (drawn - (drawn > context.target).long()).numpy()  # among the classes without the predicted one
    monkeypatch.setattr(np.random, "randint", lambda low, high, size: index)
    settings = {"num_classes": len(context.classifier.classes), "similarity_func": similarity.correlation_spearman}
    expected = theirs(context, quantus.RandomLogit, abs=True, **settings)
    np.testing.assert_allclose(ours(context, "random_logit"), expected, rtol=0, atol=1e-9)


def test_the_default_similarity_of_quantus_random_logit_sees_rows_not_pictures(context):
    """Why not SSIM: it gets flat maps, so that its windows of 7 run along time alone and over the rows' ends."""
    from skimage.metrics import structural_similarity

    drawn = FAMILY.other_classes(context)
    other = context.explainer.explain(context.clean.batch, drawn).map.abs().numpy()
    own = context.importance.numpy()
    flat = similarity.ssim(own.reshape(CLIPS, -1), other.reshape(CLIPS, -1), batched=True)
    for i in range(CLIPS):
        span = float(max(own[i].max(), other[i].max()) - min(own[i].min(), other[i].min()))
        picture = structural_similarity(own[i], other[i], data_range=span)
        row = structural_similarity(own[i].ravel(), other[i].ravel(), data_range=span)
        assert flat[i] == pytest.approx(row)
        assert abs(flat[i] - picture) > 1e-3


def test_bare_parameters_stay_trained_in_quantus_and_by_layer_but_not_in_mprt():
    """Class token, position embeddings and class vectors have no reset_parameters."""
    classifier = toy_classifier({"attentions"})
    by_layer = {name for name, module in classifier.named_modules() if hasattr(module, "reset_parameters")}
    in_stages = {name for stage in WEIGHTS.stages(classifier) for name, _ in stage}
    assert in_stages - by_layer == {"backbone.embeddings", "head"}
    forwarder, batch = Forwarder(classifier, 16), toy_batch(1)
    clean = Clean(batch, forwarder.logits(batch.x), forwarder.logits(torch.zeros_like(batch.x))[0])
    explainer = BoundExplainer(registry.create("methods", "saliency"), forwarder)
    made = ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)
    assert set(FAMILY.mprt_by_layer(made)) == by_layer
