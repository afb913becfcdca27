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

from ._picture import explained


class FocalModulation(Explainer):
    title = "FocalNet modulation"
    family = "by design"
    reference = "Della Libera, Subakan, Ravanelli, arXiv 2402.02754; Yang et al., arXiv 2203.11926"
    description = "L2 norm over channels of the last block's modulator, which shows where the network gathers context"
    polarity = "positive"
    requires = frozenset({"modulation"})
    protocols = Explainer.protocols | {"legacy-speechbrain"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        modulators: list[Tensor] = []
        module = cast(Modulated, classifier).modulation
        hook = module.register_forward_hook(lambda module, args, output: modulators.append(output))
        try:
            with torch.inference_mode():
                classifier.logits_of_clips(batch)
        finally:
            hook.remove()
        maps = modulators[0].norm(dim=1).clone()
        return explained(classifier, maps, batch)
