"""Audio classifiers of transformers, small ones from their configurations, with their extractors' normalisation."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import xaibench as xb
from tests.support.lazy import Lazy
from tests.support.sound_models import CLASSES, clips
from tests.support.transformers_models import ARCHITECTURES, TYPICAL, parts
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.extractor_twins import twin_of
from xaibench.classifiers.forward import Forwarder
from xaibench.classifiers.loaded import loaded_model
from xaibench.errors import ClassifierError, ExplanationError
from xaibench.explaining.bound import BoundExplainer
from xaibench.sound.batch import Batch

transformers = Lazy("transformers")
RATE = 16_000


@cache
def classifier_of(architecture: str) -> Classifier:
    model, extractor = parts(architecture)
    return xb.from_transformers(model, extractor=extractor, samples=2 * RATE)


def sounds(count: int = 2) -> Tensor:
    return clips(count, RATE, 2.0)


def batch_of(classifier: Classifier) -> Batch:
    return Batch.of_sound(sounds(), ("a", "b"), classifier.domain)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_answers_as_model_and_extractor_do(architecture: str) -> None:
    model, extractor = parts(architecture)
    inputs = extractor(list(sounds().numpy()), sampling_rate=RATE, return_tensors="pt")
    twin = twin_of(extractor)(sounds())
    for name, value in twin.items():
        torch.testing.assert_close(value, inputs[name].to(value.dtype), rtol=0, atol=1e-4)
    with torch.no_grad():
        expected = model(**inputs).logits
    classifier = classifier_of(architecture)
    torch.testing.assert_close(classifier.logits(sounds()), expected, rtol=1e-3, atol=1e-4)
    assert classifier.classes == CLASSES and classifier.sample_rate == RATE and classifier.samples == 2 * RATE
    assert "gradients" in classifier.capabilities


@pytest.mark.parametrize("seconds", [0.53, 1.0, 6.0])
@pytest.mark.parametrize("architecture", TYPICAL)
def test_twins_equal_extractors_at_every_length(architecture: str, seconds: float) -> None:
    _, extractor = parts(architecture)
    short = clips(1, RATE, seconds)
    inputs = extractor(short[0].numpy(), sampling_rate=RATE, return_tensors="pt")
    for name, value in twin_of(extractor)(short).items():
        torch.testing.assert_close(value, inputs[name].to(value.dtype), rtol=0, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attentions_are_of_its_tokens(architecture: str) -> None:
    classifier: Any = classifier_of(architecture)
    with torch.inference_mode():
        logits, weights = classifier.logits_and_attentions(batch_of(classifier))
        torch.testing.assert_close(logits, classifier.logits(sounds()), rtol=0, atol=1e-4)
    high, wide = classifier.patch_grid
    tokens = classifier.special_tokens + high * wide
    assert len(weights) == 2 and all(one.shape == (2, 2, tokens, tokens) for one in weights)
    torch.testing.assert_close(weights[-1].sum(dim=-1), torch.ones(2, 2, tokens), rtol=0, atol=1e-4)
    if architecture in TYPICAL:  # some others have the eager path alone
        assert classifier.net.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("method", ["vit-attention", "vit-rollout", "attention-gradient", "saliency"])
@pytest.mark.parametrize("architecture", TYPICAL)
def test_methods_explain_it(architecture: str, method: str) -> None:
    classifier = classifier_of(architecture)
    explainer = registry.create("methods", method)
    assert explainer.refusal(classifier, False) is None
    batch = batch_of(classifier)
    target = torch.tensor([0, 1])
    found = BoundExplainer(explainer, Forwarder(classifier, 16)).explain(batch, target).map
    assert found.shape == batch.x.shape and found.isfinite().all() and found.abs().max() > 0


def test_attentions_beside_the_logits_have_no_gradient_and_that_is_said() -> None:
    """WavLM returns the mean of its heads, which nothing is computed from."""
    classifier = classifier_of("wavlm")
    with pytest.raises(ExplanationError, match=r"computes its attentions beside its logits.* use vit-rollout"):
        registry.create("methods", "attention-gradient").explain(classifier, batch_of(classifier), torch.tensor([0, 1]))


def test_patches_of_ast_lie_where_their_mel_bands_and_frames_do() -> None:
    classifier: Any = classifier_of("ast")
    high, wide = classifier.patch_grid
    assert (high, wide) == (5, 25) and classifier.special_tokens == 2
    shape = classifier.domain.shape(2 * RATE)
    maps = torch.zeros(1, high, wide)
    maps[0, 2, 10] = 1  # bands 20 to 35 of 64, frames 100 to 115
    picture = classifier.to_picture(maps, shape)[0]
    row, column = divmod(int(picture.argmax()), shape[1])
    low, top = (1127 * np.log1p(hertz / 700) for hertz in (20, 8000))
    band = 700 * np.expm1((low + 28.5 * (top - low) / 65) / 1127)
    assert float(classifier.domain.frequencies[row]) == pytest.approx(band, abs=16)
    assert float(classifier.domain.times(2 * RATE)[column]) == pytest.approx(1.0875, abs=0.012)


def test_a_folder_is_loaded_with_its_extractor(tmp_path: Path) -> None:
    model, extractor = parts("wav2vec2")
    model.save_pretrained(tmp_path / "mine")
    extractor.save_pretrained(tmp_path / "mine")
    loaded = xb.from_transformers(tmp_path / "mine", samples=2 * RATE)
    assert loaded.name == "mine" and loaded.classes == CLASSES
    torch.testing.assert_close(loaded.logits(sounds()), classifier_of("wav2vec2").logits(sounds()))
    assert (
        loaded.code_identity().known and loaded_model(loaded).sha256 == loaded_model(classifier_of("wav2vec2")).sha256
    )


def test_several_labels_are_a_sigmoid_and_names_may_be_given() -> None:
    model, extractor = parts("wav2vec2")
    names = ["a", "b", "c", "d"]
    model.config.problem_type = "multi_label_classification"
    try:
        found = xb.from_transformers(model, extractor=extractor, classes=names, samples=RATE)
    finally:
        model.config.problem_type = None
    assert found.activation == "sigmoid" and found.classes == tuple(names)
    assert classifier_of("wav2vec2").activation == "softmax"


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("wav2vec2", {"extractor": None}, "alone does not tell how sound becomes its input; give extractor="),
        ("wav2vec2", {"classes": ["a"]}, "gives 4 logits, and classes names 1"),
        ("wav2vec2", {"extractor": object()}, "no extractor called object is known here"),
        ("wav2vec2", {"samples": 50}, "needs more than 50 samples"),
    ],
)
def test_what_is_wrong_is_said(model: str, settings: dict[str, Any], words: str) -> None:
    own, extractor = parts(model)
    with pytest.raises(ClassifierError, match=words):
        xb.from_transformers(own, **{"extractor": extractor, "samples": RATE, **settings})


def test_other_models_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="no audio classifier of transformers"):
        xb.from_transformers(torch.nn.Linear(1, 1), extractor=parts("wav2vec2")[1])
    with pytest.raises(ClassifierError, match="cannot be loaded as an audio classifier") as raised:
        xb.from_transformers(tmp_path / "nothing")
    assert "\n" not in str(raised.value)
    whisper = transformers.WhisperFeatureExtractor(dither=0.1)
    with pytest.raises(ClassifierError, match="its extractor adds noise"):
        xb.from_transformers(parts("whisper")[0], extractor=whisper)
