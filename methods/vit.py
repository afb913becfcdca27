"""Attention maps of transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import Attentive
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._picture import explained


class LastAttention(Explainer):
    title = "ViT attention"
    family = "attention"
    reference = "Della Libera, Subakan, Ravanelli, arXiv 2402.02754"
    description = "last block's attention from CLS to the patches, mean over heads; of all tokens where there is no CLS"
    polarity = "positive"
    requires = frozenset({"attentions"})
    protocols = Explainer.protocols | {"legacy-speechbrain"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        last = _attentions(classifier, batch)[-1].mean(dim=1)
        return _over_patches(classifier, last, batch)


class AttentionRollout(Explainer):
    title = "Attention rollout"
    family = "attention"
    reference = "Abnar, Zuidema, arXiv 2005.00928"
    description = (
        "CLS row of the product over blocks of half the attention (mean over heads) and half the identity; mean of all "
        "rows where there is no CLS"
    )
    polarity = "positive"
    requires = frozenset({"attentions"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        flow: Tensor | None = None
        for weights in _attentions(classifier, batch):
            mean = weights.mean(dim=1)
            mixed = 0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)
            mixed = mixed / mixed.sum(dim=-1, keepdim=True)
            flow = mixed if flow is None else mixed @ flow
        assert flow is not None
        return _over_patches(classifier, flow, batch)


class AttentionGradient(Explainer):
    """Gradient-weighted attention, equations 5 and 6 of the paper, for encoders with self-attention alone.

    From R = I on, block by block, R becomes R + A' R, where A' is the mean over heads of the positive part of the
    attention times the gradient of the target's logit with respect to it.
    """

    title = "Attention x gradient"
    family = "attention"
    reference = "Chefer, Gur, Wolf, arXiv 2103.15679"
    description = (
        "CLS row of the relevance that attention times its gradient, where positive, carries from block to block "
        "(mean over heads); mean of all rows where there is no CLS"
    )
    polarity = "positive"
    requires = frozenset({"gradients", "attentions"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        with torch.enable_grad():
            # The weights are frozen: autograd records the pass because the clips ask for a gradient.
            if batch.waveform is None:
                asking = replace(batch, x=batch.x.clone().requires_grad_())
            else:
                asking = replace(batch, waveform=batch.waveform.clone().requires_grad_())
            logits, attentions = cast(Attentive, classifier).logits_and_attentions(asking)
            chosen = classifier.temperature * logits.gather(1, target[:, None]).sum()
        slopes = torch.autograd.grad(chosen, attentions, allow_unused=True)
        relevance = torch.eye(attentions[0].shape[-1], device=logits.device)
        for weights, slope in zip(attentions, slopes, strict=True):
            if slope is None:
                raise ExplanationError(
                    f"{classifier.name} computes its attentions beside its logits, which have no gradient with respect "
                    "to them; use vit-rollout, which needs none"
                )
            relevance = relevance + (weights * slope).clamp(min=0).mean(dim=1).detach() @ relevance
        return _over_patches(classifier, relevance, batch)


@torch.inference_mode()
def _attentions(classifier: Classifier, batch: Batch) -> list[Tensor]:
    return cast(Attentive, classifier).logits_and_attentions(batch)[1]


def _over_patches(classifier: Classifier, weights: Tensor, batch: Batch) -> Explanation:
    """Turn weights between tokens (batch, tokens, tokens) into maps of what the head reads of the patches."""
    attentive = cast(Attentive, classifier)
    first = attentive.special_tokens
    readers = weights[:, :first] if first else weights
    maps = readers.mean(dim=1)[:, first:].unflatten(1, attentive.patch_grid).clone()
    return explained(classifier, maps, batch)
