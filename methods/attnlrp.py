"""AttnLRP: layer-wise relevance propagation for transformers whose parts are known, ViT and AST.

Relevance R of a value a is carried as its gradient c = R / a. Then each rule is a change of one gradient, and what is
linear (linear layers, sums, means, convolutions) needs none: there it is LRP-0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier, CosineHead
from xaibench.classifiers.from_transformers import TransformersClassifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import TargetScore
from ._gains import along_input

_AST = "audio-spectrogram-transformer"
_ATTENTION = "xaibench-attnlrp"  # the name under which transformers finds `attend`
_ACTIVATIONS = "activations"  # its modules, and those of torch, that work on each number alone
Rule = Callable[[nn.Module, Tensor, Tensor], Tensor]


class AttnLrp(Explainer):
    """AttnLRP, with the softmax rule of the paper's proposition 3.1, the product of matrices of 3.3, layer norm of 3.4.

    Softmax keeps its gradient. A product of two matrices gives each of them half (the uniform rule, equation 7). The
    deviation by which layer norm divides, and the length by which a cosine head does, are constants. What an activation
    gets goes on unchanged (the identity rule, equation 9).
    """

    title = "AttnLRP"
    family = "rules"
    reference = "Achtibat et al., arXiv 2402.05602"
    description = (
        "the logit, shared out backwards through attention, layer norm and linear layers of a ViT or an AST, down to "
        "their input, and from there by the gradient"
    )
    polarity = "positive"
    requires = frozenset({"gradients", "attentions"})

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        reason = super().refusal(classifier, has_ground_truth)
        if reason is None and _network(classifier) is None:
            return f"has rules for the ViT of xaibench and the AST of transformers, and {classifier.name} is neither"
        return reason

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        reads = "picture" in classifier.capabilities
        x = batch.x.clone().requires_grad_()
        with torch.enable_grad(), rules(classifier):
            score = TargetScore(classifier, batch.samples)(x, None if reads else batch.phase)
            (slope,) = torch.autograd.grad(score.gather(1, target[:, None]).sum(), x)
        return Explanation(along_input(batch.x, slope, reads), batch.picture_shape)


@contextmanager
def rules(classifier: Classifier) -> Iterator[None]:
    """Make the gradients of a classifier carry relevance inside `with`; what it answers stays the same."""
    from transformers import AttentionInterface

    network = _network(classifier)
    assert network is not None
    AttentionInterface.register(_ATTENTION, attend)
    before = network.config._attn_implementation
    hooks = []
    for module in classifier.modules():
        rule = _rule_of(module)
        if rule is not None:
            hooks.append(module.register_forward_hook(_led(rule)))
    network.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        network.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor]:
    """Attend as transformers' eager path does, to query, key and value (batch, heads, tokens, width)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = half(query) @ half(key).transpose(2, 3) * scale
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1)
    return (half(weights) @ half(value)).transpose(1, 2).contiguous(), weights


def half(a: Tensor) -> Tensor:
    """Return the same numbers with half their gradient."""
    return (a + a.detach()) / 2


def of_layer_norm(norm: nn.LayerNorm, a: Tensor, output: Tensor) -> Tensor:
    """Normalise by a constant."""
    centred = a - a.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt().detach()
    return centred / deviation * norm.weight + norm.bias


def of_activation(module: nn.Module, a: Tensor, output: Tensor) -> Tensor:
    """Multiply by a constant."""
    return a * torch.where(a == 0, 0, output / a).detach()


def of_cosine_head(head: CosineHead, a: Tensor, output: Tensor) -> Tensor:
    """Divide by a constant length."""
    hidden = head.linear(head.norm(a))
    length = hidden.norm(dim=-1, keepdim=True).clamp(min=1e-12).detach()
    return hidden / length @ F.normalize(head.weight, dim=-1).T


def _led(rule: Rule) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    return lambda module, given, output: rule(module, given[0], output)


def _rule_of(module: nn.Module) -> Any:
    if isinstance(module, nn.LayerNorm):
        return of_layer_norm
    if isinstance(module, CosineHead):
        return of_cosine_head
    *_, origin = type(module).__module__.split(".")
    is_activation = origin in {_ACTIVATIONS, nn.GELU.__module__.rpartition(".")[2]} and not list(module.children())
    return of_activation if is_activation else None


def _network(classifier: Classifier) -> Any:
    """The transformer inside a classifier, if all that it computes is known here."""
    # transformers takes seconds to import: only where a classifier may be one of its.
    from xaibench.classifiers.vit import VitClassifier

    if isinstance(classifier, VitClassifier):
        return classifier.backbone
    if isinstance(classifier, TransformersClassifier) and classifier.net.config.model_type == _AST:
        return classifier.net
    return None
