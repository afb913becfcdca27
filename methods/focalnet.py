"""FocalNet's modulation map, which is part of the network by design (arXiv 2402.02754)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import Modulated
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch


class FocalModulation(Explainer):
    title = "FocalNet modulation"
    reference = "Della Libera, Subakan, Ravanelli, arXiv 2402.02754; Yang et al., arXiv 2203.11926"
    description = "L2 norm over channels of the last block's modulator, which shows where the network gathers context"
    polarity = "positive"
    requires = frozenset({"modulation"})
    protocols = frozenset({"standard", "legacy-speechbrain"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        modulators: list[Tensor] = []
        module = cast(Modulated, classifier).modulation
        hook = module.register_forward_hook(lambda module, args, output: modulators.append(output))
        try:
            with torch.inference_mode():
                classifier.logits(batch.x)
        finally:
            hook.remove()
        maps = modulators[0].norm(dim=1).clone()
        return Explanation(classifier.front_end.to_picture(maps), (maps.shape[1], maps.shape[2]))
