"""Which frequency bands a prediction rests on."""

import torch
from torch import Tensor
from xaibench import Batch, Classifier, Explainer, Explanation


class BandOcclusion(Explainer):
    title = "Band occlusion"
    reference = "after Zeiler, Fergus, arXiv 1311.2901, with windows of one frequency band and all frames"
    description = "drop of the predicted class's logit when a frequency band is silenced"
    polarity = "positive"
    parameters = {"bands": 27}

    @torch.no_grad()
    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        def score(x: Tensor) -> Tensor:
            return classifier.logits_of(x, batch.phase, batch.samples).gather(1, target[:, None])[:, 0]

        whole = score(batch.x)
        attribution = torch.empty_like(batch.x)
        bands = self.parameters["bands"]
        for rows in torch.arange(batch.picture_shape[0], device=batch.x.device).tensor_split(bands):
            silenced = batch.x.clone()
            silenced[:, rows] = 0
            attribution[:, rows] = (whole - score(silenced))[:, None, None]
        return Explanation(attribution, native_shape=(bands, 1))
