"""Every registered classifier keeps the protocol; the families have what explainers read."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import COSINE_SCALE, Classifier, CosineHead
from xaibench.explaining.explainer import Explainer
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.testing import check_classifier

CLASSES = ("dog", "rain", "siren")
NAMES = registry.names("classifiers")
MICRO = [name for name in NAMES if name.endswith("-micro")]
VITS = [name for name in NAMES if name.startswith("vit")]


@cache
def model(name: str) -> Classifier:
    """An untrained classifier, frozen."""
    with seeded(0):
        made = checkpoint.build(name, CLASSES)
        if name in MICRO:
            # Untrained batch norms let the signal die away; then no test could tell two clips apart.
            for module in made.modules():
                if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                    module.momentum = None  # the plain mean over what it sees
            with torch.no_grad():
                made.train().picture_logits(sound(5))
    return checkpoint.freeze(made)


@cache
def sound(count: int) -> torch.Tensor:
    """Random log spectrograms (count, 513, 431)."""
    generator = torch.Generator().manual_seed(count)
    # Patches as large as events, so that clips differ after any pooling.
    patches = torch.nn.functional.interpolate(torch.rand(count, 1, 6, 5, generator=generator), PICTURE_SHAPE)[:, 0]
    return 2 * patches * torch.rand(count, *PICTURE_SHAPE, generator=generator)


def test_the_three_families_in_two_sizes_are_registered() -> None:
    assert "logic-micro" in NAMES
    assert {"cnn-base", "cnn-micro", "focalnet-base", "focalnet-micro", "vit-base", "vit-micro"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_protocol(name: str) -> None:
    classifier = model(name)
    assert classifier.name == name
    assert classifier.classes == CLASSES
    assert classifier.temperature == (1.0 if classifier.family in ("cnn", "logic") else COSINE_SCALE)
    assert classifier.parameter_count == sum(p.numel() for p in classifier.parameters())
    assert classifier.device == next(classifier.parameters()).device
    x = sound(1).clone().requires_grad_()
    logits = classifier.picture_logits(x)
    if any(isinstance(module, CosineHead) for module in classifier.modules()):
        assert logits.abs().max() <= 1 + 1e-6
    (gradient,) = torch.autograd.grad(logits[0, 0], x)
    # An explanation needs the gradient of nearly every bin, not of a corner of the picture.
    assert (gradient != 0).double().mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract_of_classifiers(name: str) -> None:
    # What the large ones have in common with the small ones is not made twice.
    check_classifier(registry.load("classifiers", name) if name in MICRO else model(name))


@pytest.mark.parametrize("name", MICRO)
def test_different_clips_get_different_logits_and_probabilities(name: str) -> None:
    classifier, x = model(name), sound(5)
    with torch.inference_mode():
        logits, p = classifier.picture_logits(x), classifier.probabilities(x)
        torch.testing.assert_close(p, torch.softmax(classifier.temperature * logits, dim=-1))
        torch.testing.assert_close(classifier.log_probabilities(x).exp(), p)
    assert (logits[0] - logits[1]).abs().max() > 1e-2


@pytest.mark.parametrize("name", MICRO)
def test_micro_is_small(name: str) -> None:
    assert 0.29e6 <= model(name).parameter_count <= 3e6


def test_the_base_geometries_are_the_papers() -> None:
    focalnet: Any = model("focalnet-base")
    config = focalnet.backbone.config
    assert config.embed_dim == 128
    assert list(config.depths) == [2, 2, 18, 2]
    assert tuple(focalnet.front_end.image_size) == (224, 224)
    assert config.num_channels == 3
    # Yang et al., arXiv 2203.11926, table 1: FocalNet-B has 88.7 M parameters with 1000 classes.
    assert 86e6 < focalnet.parameter_count < 90e6
    vit: Any = model("vit-base")
    config = vit.backbone.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (12, 768, 12)
    assert (config.patch_size, config.intermediate_size) == (16, 3072)
    assert vit.patch_grid == (14, 14)
    assert 85e6 < vit.parameter_count < 87e6


@pytest.mark.parametrize("name", NAMES)
def test_what_it_offers_is_registered(name: str) -> None:
    classifier = model(name)
    assert classifier.capabilities <= set(registry.names("capabilities")), "without a sentence for refusals"
    if "rectifiers" in classifier.capabilities:
        others = (torch.nn.GELU, torch.nn.SiLU, torch.nn.Sigmoid, torch.nn.Tanh, torch.nn.Softmax, torch.nn.LayerNorm)
        assert not any(isinstance(module, others) for module in classifier.modules())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("focalnet")])
def test_the_modulator_is_as_large_as_the_last_feature_map(name: str) -> None:
    classifier: Any = model(name)
    seen: list[torch.Tensor] = []
    hook = classifier.modulation.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.inference_mode():
        classifier.picture_logits(sound(1))
    hook.remove()
    assert seen[0].shape[2:] == ((8, 8) if name in MICRO else (7, 7))


@pytest.mark.parametrize("name", VITS)
def test_attentions(name: str) -> None:
    classifier: Any = model(name)
    x = sound(1 if name.endswith("base") else 2)
    before = classifier.backbone.config._attn_implementation
    with torch.inference_mode():
        fused = classifier.picture_logits(x)
    with torch.inference_mode():
        logits, weights = classifier.logits_and_attentions(Batch(x, tuple("ab"[: len(x)])))
    torch.testing.assert_close(logits, fused, rtol=0, atol=1e-5)
    config = classifier.backbone.config
    tokens = 1 + classifier.patch_grid[0] * classifier.patch_grid[1]
    assert len(weights) == config.num_hidden_layers
    for layer in weights:
        assert layer.shape == (len(x), config.num_attention_heads, tokens, tokens)
        assert layer.min() >= 0
        torch.testing.assert_close(layer.sum(dim=-1), torch.ones(layer.shape[:-1]), rtol=0, atol=1e-5)
    assert before != "eager"
    assert config._attn_implementation == before
    with torch.inference_mode():
        torch.testing.assert_close(classifier.picture_logits(x), fused, rtol=0, atol=0)


def test_attentions_leave_nothing_behind_when_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier: Any = model("vit-micro")
    before = classifier.backbone.config._attn_implementation

    def fail(x: torch.Tensor) -> torch.Tensor:
        assert classifier.backbone.config._attn_implementation == "eager"
        raise RuntimeError("no memory")

    monkeypatch.setattr(classifier, "picture_logits", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        classifier.logits_and_attentions(Batch(sound(1), ("a",)))
    assert classifier.backbone.config._attn_implementation == before
    assert not any(module._forward_hooks for module in classifier.modules())


def test_every_need_of_a_builtin_explainer_is_offered_by_a_classifier() -> None:
    """A need that nothing offers would leave a method out everywhere, in silence."""
    offered = {offer for name in MICRO for offer in model(name).capabilities} | {"ground_truth"}
    requires: set[str] = set()
    for name in registry.names("methods"):
        method: type[Explainer] = registry.load("methods", name)
        requires |= method.requires
    assert requires <= offered
