"""AttnLRP against a derivation in relevances, block by block, and sums of relevance without biases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.lazy import Lazy
from tests.support.sound_models import clips
from tests.support.toy import ids
from tests.support.transformers_models import parts
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.sound.batch import Batch
from xaibench.testing import toy_batch, toy_classifier

attnlrp = Lazy("xaibench.methods.attnlrp")
RATE = 16_000


def vit() -> Any:
    return toy_classifier({"attentions"})


def ast() -> Any:
    model, extractor = parts("ast")
    return xb.from_transformers(model, extractor=extractor, samples=2 * RATE)


def batch_of(classifier: Classifier) -> Batch:
    if "picture" in classifier.capabilities:
        return toy_batch(2)
    return Batch.of_sound(clips(2, RATE, 2.0), ids(2), classifier.domain)


def ask(classifier: Classifier, batch: Batch) -> Tensor:
    direct = "picture" in classifier.capabilities
    logits = classifier.logits_of(batch.x.clone().requires_grad_(), None if direct else batch.phase, batch.samples)
    return classifier.temperature * logits


@contextmanager
def tokens_of(classifier: Any) -> Iterator[list[Tensor]]:
    """The tokens that enter the first block."""
    seen: list[Tensor] = []
    network = classifier.backbone if hasattr(classifier, "backbone") else classifier.net.audio_spectrogram_transformer
    layers = network.layers if hasattr(network, "layers") else network.encoder.layer
    hook = layers[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()


class ByHand:
    """The rules in relevances, R = z_ij / z_j R_j and the paper's propositions, of one clip in double precision."""

    def __init__(self, classifier: Any) -> None:
        self.classifier, self.of_softmax = classifier, 0.0

    def linear(self, module: Any, a: Tensor, relevance: Tensor) -> Tensor:
        return a * (relevance / (a @ module.weight.T + module.bias) @ module.weight)

    def layer_norm(self, module: Any, a: Tensor, relevance: Tensor) -> Tensor:
        deviation = (a.var(dim=-1, correction=0, keepdim=True) + module.eps).sqrt()
        s = relevance / module(a) * module.weight / deviation
        return a * (s - s.mean(dim=-1, keepdim=True))

    def attention(self, module: Any, a: Tensor, relevance: Tensor) -> Tensor:
        """Equation 7 and propositions 3.1 and 3.3, head by head."""
        query, key, value = module.q_proj(a), module.k_proj(a), module.v_proj(a)
        width, mixed, probabilities, products = module.head_dim, [], [], []
        for head in range(module.num_attention_heads):
            part = slice(head * width, (head + 1) * width)
            products.append(query[:, part] @ key[:, part].T / width**0.5)
            probabilities.append(products[-1].softmax(dim=-1))
            mixed.append(probabilities[-1] @ value[:, part])
        arrived = self.linear(module.o_proj, torch.cat(mixed, dim=1), relevance)
        of = [torch.zeros_like(one) for one in (query, key, value)]
        for head, (scores, p, out) in enumerate(zip(products, probabilities, mixed, strict=True)):
            part = slice(head * width, (head + 1) * width)
            share = arrived[:, part] / (2 * out)
            of[2][:, part] = value[:, part] * (p.T @ share)
            of_p = p * (share @ value[:, part].T)
            of_scores = scores * (of_p - p * of_p.sum(dim=1, keepdim=True))
            self.of_softmax += float(of_p.sum() - of_scores.sum())
            share = of_scores / (2 * scores) / width**0.5
            of[0][:, part] = query[:, part] * (share @ key[:, part])
            of[1][:, part] = key[:, part] * (share.T @ query[:, part])
        projections = (module.q_proj, module.k_proj, module.v_proj)
        return sum(self.linear(m, a, one) for m, one in zip(projections, of, strict=True))  # type: ignore[return-value]

    def block(self, layer: Any, a: Tensor, relevance: Tensor) -> Tensor:
        first = layer.layernorm_before(a)
        attended = layer.attention(first[None])[0][0]
        middle = a + attended
        second = layer.layernorm_after(middle)
        raised = layer.mlp.fc1(second)
        lowered = layer.mlp.fc2(nn.functional.gelu(raised))
        s = relevance / (middle + lowered)
        of_raised = self.linear(layer.mlp.fc2, nn.functional.gelu(raised), lowered * s)  # and GELU passes it on
        of_middle = middle * s + self.layer_norm(
            layer.layernorm_after, middle, self.linear(layer.mlp.fc1, second, of_raised)
        )
        s = of_middle / middle
        of_first = self.attention(layer.attention, first, attended * s)
        return a * s + self.layer_norm(layer.layernorm_before, a, of_first)

    def tokens(self, tokens: Tensor, target: int) -> Tensor:
        backbone, head = self.classifier.backbone, self.classifier.head
        seen = [tokens]
        for layer in backbone.layers:
            seen.append(layer(seen[-1][None])[0])
        last = backbone.layernorm(seen[-1])
        pooled = last.mean(dim=0)
        scaled = head.norm(pooled[None])[0]
        hidden = head.linear(scaled)
        unit, weight = (nn.functional.normalize(one, dim=-1) for one in (hidden, head.weight[target]))
        relevance = self.linear(head.linear, scaled, self.classifier.temperature * unit * weight)
        scale = head.norm.weight / (head.norm.running_var + head.norm.eps).sqrt()
        of_pooled = pooled * scale * relevance / scaled
        relevance = self.layer_norm(backbone.layernorm, seen[-1], last / len(last) * of_pooled / pooled)
        for layer, a in zip(reversed(backbone.layers), reversed(seen[:-1]), strict=True):
            relevance = self.block(layer, a, relevance)
        return relevance


def test_attnlrp_by_relevances() -> None:
    classifier = vit().double()
    batch = toy_batch(2)
    target = torch.tensor([0, 2])
    x = batch.x.double().requires_grad_()
    with attnlrp.rules(classifier), tokens_of(classifier) as tokens:
        chosen = (classifier.temperature * classifier.picture_logits(x)).gather(1, target[:, None]).sum()
        of_tokens, of_x = torch.autograd.grad(chosen, [tokens[0], x])
    with torch.no_grad():
        for clip in range(2):
            expected = ByHand(classifier).tokens(tokens[0][clip], int(target[clip]))
            torch.testing.assert_close((tokens[0] * of_tokens)[clip], expected, rtol=1e-5, atol=1e-7)
    found = registry.create("methods", "attnlrp").explain(vit(), batch, target).map
    torch.testing.assert_close(found, (x * of_x).detach().float(), rtol=1e-3, atol=1e-3 * float(found.abs().max()))


@pytest.mark.parametrize("make", [vit, ast])
def test_without_biases_relevance_is_conserved(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to what softmax takes (its constant, proposition 3.1): together they are the logit, within 1%."""
    classifier = make()
    for module in classifier.modules():
        for name in ("bias", "running_mean"):
            if isinstance(getattr(module, name, None), Tensor):
                monkeypatch.setattr(getattr(module, name), "data", torch.zeros_like(getattr(module, name)))
    kept: list[tuple[Tensor, Tensor]] = []

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **others: Any
    ) -> tuple[Tensor, Tensor]:
        half = attnlrp.half
        scores = half(query) @ half(key).transpose(2, 3) / query.shape[-1] ** 0.5
        kept.append((scores, scores.softmax(dim=-1)))
        return (half(kept[-1][1]) @ half(value)).transpose(1, 2), kept[-1][1]

    batch, target = batch_of(classifier), torch.tensor([0, 2])
    monkeypatch.setattr("xaibench.methods.attnlrp.attend", attend)
    with attnlrp.rules(classifier), tokens_of(classifier) as tokens:
        chosen = ask(classifier, batch).gather(1, target[:, None]).sum()
        slopes = torch.autograd.grad(chosen, [tokens[0], *(one for pair in kept for one in pair)])
    values = [tokens[0], *(one for pair in kept for one in pair)]
    total, *rest = [float((one.detach() * slope).sum()) for one, slope in zip(values, slopes, strict=True)]
    of_softmax = sum(rest[1::2]) - sum(rest[::2])
    assert total + of_softmax == pytest.approx(float(chosen.detach()), rel=0.01)


@pytest.mark.parametrize("make", [vit, ast])
def test_the_answer_stays_and_so_does_the_network(make: Any) -> None:
    classifier = make()
    batch = batch_of(classifier)
    with torch.no_grad():
        before = ask(classifier, batch)
        with attnlrp.rules(classifier):
            torch.testing.assert_close(ask(classifier, batch), before, rtol=1e-4, atol=1e-4)
        assert torch.equal(ask(classifier, batch), before)
    found = registry.create("methods", "attnlrp").explain(classifier, batch, torch.tensor([0, 2])).map
    assert found.shape == batch.x.shape and found.isfinite().all() and found.abs().max() > 0


def test_other_networks_are_refused() -> None:
    lrp = registry.create("methods", "attnlrp")
    assert "attention" in (lrp.refusal(checkpoint.build("cnn-micro", ("a", "b")), False) or "")
    model, extractor = parts("wav2vec2")
    other = xb.from_transformers(model, extractor=extractor, samples=RATE, name="other")
    assert lrp.refusal(other, False) == (
        "has rules for the ViT of xaibench and the AST of transformers, and other is neither"
    )
