"""Score-CAM: feature maps as masks, each weighted by how probable the class is in what it leaves of the clip."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._baseline import BASELINES, attributed, probability
from ._captum import INTERNAL_BATCH
from ._features import ClassActivation, seen_maps
from ._picture import explained, on_picture


class ScoreCam(ClassActivation):
    """Score-CAM, with the paper's channel-wise increase of confidence as weights, f the probability of the class.

    A feature map A is resized to the picture and scaled to [0, 1]: the mask H. Its weight is f(clip masked by H) minus
    f(baseline), and the map of the method is relu(sum of weight A). Masks act as those of RISE: on the bins of the
    picture, which is then heard.
    """

    title = "Score-CAM"
    reference = "Wang et al., arXiv 1910.01279"
    description = (
        "feature maps weighted by the probability of the predicted class in what each of them, as a mask, leaves of "
        "the clip"
    )
    requires = frozenset({"feature_map"})
    forwards_parameter = "channels"
    parameters = {**ClassActivation.parameters, "channels": 256, "baseline": "silence"}
    choices = {"baseline": BASELINES}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = torch.cat([self._map(classifier, batch.slice(i, i + 1), int(target[i])) for i in range(len(batch))])
        return explained(classifier, maps, batch)

    def _map(self, classifier: Classifier, clip: Batch, target: int) -> Tensor:
        """Compute the map of one clip, (1, h, w)."""
        with torch.no_grad(), seen_maps(self.layer(classifier)) as seen:
            classifier.logits_of_clips(clip)
        if len(seen) != 1 or len(seen[0]) != 1:
            asked = f"{len(seen)} times" if len(seen) != 1 else f"with {len(seen[0])} inputs"
            raise ExplanationError(
                f"{self.title} needs a layer that is asked once for a clip, and {self.parameters['layer']} of "
                f"{classifier.name} is asked {asked}; choose another layer"
            )
        # A map that is the same everywhere says nothing of where; those that vary most are asked for.
        spread = seen[0][0].flatten(1).var(dim=1)
        features = seen[0][0][spread.argsort(descending=True, stable=True)[: self.parameters["channels"]]]
        of = attributed(classifier, clip, self.parameters["baseline"])
        silent = probability(classifier, of.answers(torch.zeros_like(clip.x)), target)
        total = torch.zeros_like(features[0])
        for some in features.split(INTERNAL_BATCH):
            masks = _as_masks(on_picture(classifier, some, clip))
            weights = probability(classifier, of.answers(masks), target) - silent
            total += torch.einsum("n,nhw->hw", weights.to(some), some)
        return total.clamp(min=0)[None]


def _as_masks(maps: Tensor) -> Tensor:
    """Scale maps (n, freq, time) so that each goes from 0 to 1; one that is the same everywhere becomes 0."""
    low, high = maps.aminmax(dim=2)
    low, high = low.amin(dim=1)[:, None, None], high.amax(dim=1)[:, None, None]
    return (maps - low) / torch.where(high > low, high - low, 1)
