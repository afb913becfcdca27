"""Attention maps of transformers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import Attentive
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._picture import on_picture


class LastAttention(Explainer):
    title = "ViT attention"
    reference = "Della Libera, Subakan, Ravanelli, arXiv 2402.02754"
    description = "last block's attention from CLS to the patches, mean over heads; of all tokens where there is no CLS"
    polarity = "positive"
    requires = frozenset({"attentions"})
    protocols = Explainer.protocols | {"legacy-speechbrain"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        last = cast(Attentive, classifier).attention_weights(batch)[-1].mean(dim=1)
        return _over_patches(classifier, last, batch)


class AttentionRollout(Explainer):
    title = "Attention rollout"
    reference = "Abnar, Zuidema, arXiv 2005.00928"
    description = (
        "CLS row of the product over blocks of half the attention (mean over heads) and half the identity; mean of all "
        "rows where there is no CLS"
    )
    polarity = "positive"
    requires = frozenset({"attentions"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        flow: Tensor | None = None
        for weights in cast(Attentive, classifier).attention_weights(batch):
            mean = weights.mean(dim=1)
            mixed = 0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)
            mixed = mixed / mixed.sum(dim=-1, keepdim=True)
            flow = mixed if flow is None else mixed @ flow
        assert flow is not None
        return _over_patches(classifier, flow, batch)


def _over_patches(classifier: Classifier, weights: Tensor, batch: Batch) -> Explanation:
    """Turn weights between tokens (batch, tokens, tokens) into maps of what the head reads of the patches."""
    attentive = cast(Attentive, classifier)
    first = attentive.special_tokens
    readers = weights[:, :first] if first else weights
    maps = readers.mean(dim=1)[:, first:].unflatten(1, attentive.patch_grid).clone()
    return Explanation(on_picture(classifier, maps, batch), (maps.shape[1], maps.shape[2]))
