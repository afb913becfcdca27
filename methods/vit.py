"""Attention maps of vision transformers with a CLS token."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import Attentive
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch


class LastAttention(Explainer):
    title = "ViT attention"
    reference = "Della Libera, Subakan, Ravanelli, arXiv 2402.02754"
    description = "last block's attention from CLS to the patches, mean over heads"
    polarity = "positive"
    requires = frozenset({"attentions"})
    protocols = frozenset({"standard", "legacy-speechbrain"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        last = cast(Attentive, classifier).attention_weights(batch.x)[-1].mean(dim=1)
        return _over_patches(classifier, last[:, 0, 1:])


class AttentionRollout(Explainer):
    title = "Attention rollout"
    reference = "Abnar, Zuidema, arXiv 2005.00928"
    description = "CLS row of the product over blocks of half the attention (mean over heads) and half the identity"
    polarity = "positive"
    requires = frozenset({"attentions"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        flow: Tensor | None = None
        for weights in cast(Attentive, classifier).attention_weights(batch.x):
            mean = weights.mean(dim=1)
            mixed = 0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)
            mixed = mixed / mixed.sum(dim=-1, keepdim=True)
            flow = mixed if flow is None else mixed @ flow
        assert flow is not None
        return _over_patches(classifier, flow[:, 0, 1:])


def _over_patches(classifier: Classifier, weights: Tensor) -> Explanation:
    """Turn weights of the patches (batch, patches) into maps."""
    maps = weights.unflatten(1, cast(Attentive, classifier).patch_grid).clone()
    return Explanation(classifier.front_end.to_picture(maps), (maps.shape[1], maps.shape[2]))
