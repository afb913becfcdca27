"""Every explainer's map against an independent derivation: autograd by hand, loops, axioms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.sound.audio import PICTURE_SHAPE, spectrogram
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

CLASSES = tuple(f"class {i}" for i in range(5))


def trained(name: str) -> Classifier:
    return checkpoint.resolve(name, "synth")[0]


@pytest.fixture(scope="module")
def cnn() -> Classifier:
    return trained("cnn-micro")


@pytest.fixture(scope="module")
def vit() -> Classifier:
    return trained("vit-micro")


@pytest.fixture(scope="module")
def focalnet() -> Classifier:
    return trained("focalnet-micro")


@pytest.fixture(scope="module", params=["cnn-micro", "vit-micro", "focalnet-micro"])
def any_classifier(request: pytest.FixtureRequest) -> Iterator[Classifier]:
    yield trained(request.param)


@pytest.fixture(scope="module")
def batch() -> Batch:
    source = Synth()
    clips = source.clips[:2]
    x = spectrogram(torch.stack([torch.from_numpy(source.waveform(clip)) for clip in clips]))
    context = torch.stack([torch.from_numpy(source.ground_truth(clip)) for clip in clips])
    return Batch(x, tuple(clip.id for clip in clips), seed=0, ground_truth=context)


TARGET = torch.tensor([1, 4])


def explain(name: str, classifier: Classifier, batch: Batch) -> Tensor:
    return registry.load("methods", name)().explain(classifier, batch, TARGET).map


def score(classifier: Classifier, x: Tensor) -> Tensor:
    """Temperature times the target's logit, clip by clip."""
    return classifier.temperature * classifier.picture_logits(x).gather(1, TARGET[: len(x), None])[:, 0]


def gradient(classifier: Classifier, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(score(classifier, x).sum(), x)[0]


def assert_close(found: Tensor, expected: Tensor, relative: float = 1e-4) -> None:
    scale = float(expected.abs().max())
    assert scale > 0
    assert float((found - expected).abs().max()) <= relative * scale


def test_saliency_is_the_gradient(any_classifier: Classifier, batch: Batch) -> None:
    assert_close(explain("saliency", any_classifier, batch), gradient(any_classifier, batch.x))


def test_input_x_gradient(any_classifier: Classifier, batch: Batch) -> None:
    assert_close(explain("input-x-gradient", any_classifier, batch), batch.x * gradient(any_classifier, batch.x))


def test_integrated_gradients_equal_the_quadrature_by_hand(cnn: Classifier, batch: Batch) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(32)
    total = torch.zeros_like(batch.x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient(cnn, batch.x * float(node))
    assert_close(explain("integrated-gradients", cnn, batch), batch.x * total, relative=1e-3)


def test_integrated_gradients_approach_the_difference(any_classifier: Classifier, batch: Batch) -> None:
    """Completeness, arXiv 1703.01365, proposition 1: exact in the limit of many steps."""
    one, target = batch.slice(0, 1), TARGET[:1]
    with torch.no_grad():
        expected = score(any_classifier, one.x) - score(any_classifier, torch.zeros_like(one.x))
    errors = []
    for steps in (4, 200):
        method = registry.load("methods", "integrated-gradients")()
        method.parameters = method.parameters | {"steps": steps}
        found = method.explain(any_classifier, one, target).map.sum(dim=(1, 2))
        errors.append(float((found - expected).abs()))
    assert errors[1] < errors[0]
    assert errors[1] < 0.1


def test_smoothgrad_is_a_mean_of_gradients_near_the_clip(cnn: Classifier, batch: Batch) -> None:
    """Its draws are not ours, so compare with many draws of our own: close in direction."""
    found = explain("smoothgrad", cnn, batch)
    generator = torch.Generator().manual_seed(0)
    spread = 0.15 * (batch.x.amax(dim=(1, 2)) - batch.x.amin(dim=(1, 2)))
    total = torch.zeros_like(batch.x)
    for _ in range(48):
        total += gradient(cnn, batch.x + spread[:, None, None] * torch.randn(batch.x.shape, generator=generator))
    cosine = nn.functional.cosine_similarity(found.flatten(1), total.flatten(1))
    plain = nn.functional.cosine_similarity(gradient(cnn, batch.x).flatten(1), total.flatten(1))
    assert (cosine > 0.8).all()
    assert (cosine > plain).all()


def test_gradient_shap_is_near_integrated_gradients(cnn: Classifier, batch: Batch) -> None:
    """With silence as the only baseline and little noise, its expectation is integrated gradients."""
    found, expected = explain("gradient-shap", cnn, batch), explain("integrated-gradients", cnn, batch)
    assert (nn.functional.cosine_similarity(found.flatten(1), expected.flatten(1)) > 0.7).all()


@pytest.mark.parametrize(("name", "tool"), [("smoothgrad", "NoiseTunnel"), ("gradient-shap", "GradientShap")])
def test_the_deviation_of_noise_is_rounded_as_the_pinned_scores_were(
    name: str, tool: str, cnn: Classifier, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32: rounded in double it moves scores of the protocol spectrogram by up to 1e-3."""
    import captum.attr

    asked: list[float] = []
    attribute = getattr(captum.attr, tool).attribute

    def listen(self: object, *args: Any, **settings: Any) -> Tensor:
        asked.append(settings["stdevs"])
        return attribute(self, *args, **settings)

    monkeypatch.setattr(getattr(captum.attr, tool), "attribute", listen)
    explain(name, cnn, batch)
    level = registry.create("methods", name).parameters["noise_level"]
    assert set(asked) == {(level * (x.max() - x.min())).item() for x in batch.x}


def test_deeplift_sums_to_the_difference(cnn: Classifier, batch: Batch) -> None:
    """Summation to delta, arXiv 1704.02685, equation 1: exact for the rescale rule."""
    found = explain("deeplift", cnn, batch).sum(dim=(1, 2))
    with torch.no_grad():
        expected = score(cnn, batch.x) - score(cnn, torch.zeros_like(batch.x))
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_guided_backprop_by_hand(cnn: Classifier, batch: Batch) -> None:
    """Gradients clamped at every ReLU's input by hooks of our own (arXiv 1412.6806)."""
    hooks = [
        module.register_full_backward_hook(lambda module, given, arrived: (given[0].clamp(min=0),))
        for module in cnn.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        expected = gradient(cnn, batch.x)
    finally:
        for hook in hooks:
            hook.remove()
    assert_close(explain("guided-backprop", cnn, batch), expected)


def naive_gradcam(classifier: Classifier, x: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: kept.append(output))
    x = x.clone().requires_grad_()
    value = score(classifier, x).sum()
    hook.remove()
    slope = torch.autograd.grad(value, kept[0])[0]
    maps = []
    for activation, gradients in zip(kept[0].detach(), slope, strict=True):
        total = sum(g.mean() * a for a, g in zip(activation, gradients, strict=True))
        maps.append(torch.relu(torch.as_tensor(total)))
    return torch.stack(maps)


def test_gradcam_by_hand(any_classifier: Classifier, batch: Batch) -> None:
    expected = any_classifier.front_end.to_picture(naive_gradcam(any_classifier, batch.x))
    assert_close(explain("gradcam", any_classifier, batch), expected)


def test_guided_gradcam_is_the_product(cnn: Classifier, batch: Batch) -> None:
    expected = explain("gradcam", cnn, batch) * explain("guided-backprop", cnn, batch)
    assert_close(explain("guided-gradcam", cnn, batch), expected)


def test_occlusion_by_loops(cnn: Classifier, batch: Batch) -> None:
    method = registry.load("methods", "occlusion")()
    (height, width), (down, right) = method.parameters["window"], method.parameters["stride"]
    total, count = torch.zeros_like(batch.x), torch.zeros(PICTURE_SHAPE)
    rows = [*range(0, PICTURE_SHAPE[0] - height, down), -(-(PICTURE_SHAPE[0] - height) // down) * down]
    columns = [*range(0, PICTURE_SHAPE[1] - width, right), -(-(PICTURE_SHAPE[1] - width) // right) * right]
    with torch.no_grad():
        full = score(cnn, batch.x)
        for top in rows:
            for left in columns:
                window = (slice(top, top + height), slice(left, left + width))
                hidden = batch.x.clone()
                hidden[:, *window] = 0
                total[:, *window] += (full - score(cnn, hidden))[:, None, None]
                count[window] += 1
    explanation = method.explain(cnn, batch, TARGET)
    assert explanation.native_shape == (len(rows), len(columns))
    assert_close(explanation.map, total / count, relative=1e-3)


def test_modulation_is_the_norm_of_the_last_modulator(focalnet: Classifier, batch: Batch) -> None:
    """arXiv 2402.02754: recomputed from the block's own input, equations 3 to 5 of arXiv 2203.11926."""
    stage = focalnet.backbone.focalnet.encoder.stages[-1]  # type: ignore[union-attr,index]
    block = stage.layers[-1].modulation
    kept: list[Tensor] = []
    hook = block.register_forward_hook(lambda module, args, output: kept.append(args[0]))
    with torch.no_grad():
        focalnet.picture_logits(batch.x)
        hook.remove()
        projected = block.projection_in(kept[0]).permute(0, 3, 1, 2)
        _, context, gates = projected.split([block.dim, block.dim, block.focal_level + 1], dim=1)
        gathered = torch.zeros_like(context)
        for level in range(block.focal_level):
            context = block.focal_layers[level](context)
            gathered += context * gates[:, level : level + 1]
        gathered += nn.functional.gelu(context.mean(dim=(2, 3), keepdim=True)) * gates[:, block.focal_level :]
        maps = block.projection_context(gathered).square().sum(dim=1).sqrt()
    assert maps.shape[1:] == (8, 8)
    assert_close(explain("focalnet", focalnet, batch), focalnet.front_end.to_picture(maps))


def attention_by_hand(classifier: Classifier, x: Tensor) -> list[Tensor]:
    """softmax(q k / sqrt(d)), mean over heads, of every block: (batch, tokens, tokens)."""
    kept: list[tuple[nn.Module, Tensor]] = []
    layers = classifier.backbone.layers  # type: ignore[union-attr]
    hooks = [
        layer.attention.register_forward_hook(lambda module, args, output: kept.append((module, args[0])))
        for layer in layers  # type: ignore[union-attr]
    ]
    with torch.no_grad():
        classifier.picture_logits(x)
    for hook in hooks:
        hook.remove()
    weights = []
    for module, hidden in kept:
        heads = module.num_attention_heads
        query = module.q_proj(hidden).unflatten(2, (heads, -1)).transpose(1, 2)  # type: ignore[operator]
        key = module.k_proj(hidden).unflatten(2, (heads, -1)).transpose(1, 2)  # type: ignore[operator]
        weights.append((query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=1))
    return weights


def test_last_attention_by_hand(vit: Classifier, batch: Batch) -> None:
    row = attention_by_hand(vit, batch.x)[-1][:, 0, 1:].unflatten(1, (8, 16))
    assert_close(explain("vit-attention", vit, batch), vit.front_end.to_picture(row))


def test_rollout_by_loops(vit: Classifier, batch: Batch) -> None:
    """arXiv 2005.00928, equation 1: A = 0.5 W + 0.5 I, rollout(l) = A(l) rollout(l - 1)."""
    weights = attention_by_hand(vit, batch.x)
    for clip in range(len(batch)):
        flow = np.eye(weights[0].shape[-1])
        for block in weights:
            flow = (0.5 * block[clip].double().numpy() + 0.5 * np.eye(len(flow))) @ flow
        row = torch.from_numpy(flow[0, 1:].reshape(1, 8, 16)).float()
        assert_close(explain("vit-rollout", vit, batch)[clip], vit.front_end.to_picture(row)[0])


def test_attention_gradient_by_loops(vit: Classifier, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """arXiv 2103.15679, equations 5 and 6, on attention that is computed here, head by head."""
    seen: list[list[Tensor]] = []

    def attend(module: Any, hidden: Tensor, *mask: object) -> tuple[Tensor, None]:
        heads, mixed = [], []
        width = module.head_dim
        for head in range(module.num_attention_heads):
            part = slice(head * width, (head + 1) * width)
            query, key, value = (f(hidden)[..., part] for f in (module.q_proj, module.k_proj, module.v_proj))
            heads.append((query @ key.transpose(1, 2) / width**0.5).softmax(dim=-1))
            mixed.append(heads[-1] @ value)
        seen.append(heads)
        return module.o_proj(torch.cat(mixed, dim=-1)), None

    for layer in vit.backbone.layers:  # type: ignore[union-attr]
        monkeypatch.setattr(layer.attention, "forward", partial(attend, layer.attention))
    value = score(vit, batch.x.clone().requires_grad_()).sum()
    slopes = [torch.autograd.grad(value, heads, retain_graph=True) for heads in seen]
    monkeypatch.undo()
    for clip in range(len(batch)):
        relevance = np.eye(129)
        for heads, slope in zip(seen, slopes, strict=True):
            carried = np.zeros((129, 129))
            for attention, gradients in zip(heads, slope, strict=True):
                product = (attention[clip] * gradients[clip]).detach().double().numpy()
                carried += np.where(product > 0, product, 0) / len(heads)
            relevance = relevance + carried @ relevance
        row = torch.from_numpy(relevance[0, 1:].reshape(1, 8, 16)).float()
        assert_close(explain("attention-gradient", vit, batch)[clip], vit.front_end.to_picture(row)[0])


def test_controls(cnn: Classifier, batch: Batch) -> None:
    assert torch.equal(explain("energy", cnn, batch), batch.x)
    assert explain("uniform", cnn, batch).unique().numel() == 1
    oracle = explain("oracle", cnn, batch)
    assert batch.ground_truth is not None
    assert (oracle[~batch.ground_truth] == 0).all()
    assert torch.equal(oracle[batch.ground_truth], batch.x[batch.ground_truth])
    noise = explain("random", cnn, batch)
    assert abs(float(noise.mean()) - 0.5) < 0.01
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize(
    ("name", "family", "word"),
    [
        ("vit-rollout", "cnn-micro", "attention"),
        ("vit-attention", "focalnet-micro", "attention"),
        ("attention-gradient", "cnn-micro", "attention"),
        ("focalnet", "vit-micro", "modulation"),
        ("deeplift", "vit-micro", "ReLU"),
        ("guided-backprop", "focalnet-micro", "ReLU"),
        ("guided-gradcam", "vit-micro", "ReLU"),
        ("oracle", "cnn-micro", "ground truth"),
    ],
)
def test_impossible_pairs_are_refused_with_the_reason(name: str, family: str, word: str) -> None:
    classifier = checkpoint.build(family, CLASSES)
    reason = registry.load("methods", name)().refusal(classifier, has_ground_truth=False)
    assert reason is not None
    assert word in reason
