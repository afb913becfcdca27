"""L-MAC's loss is the paper's, of sounds that can be played."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.base import PictureClassifier
from xaibench.testing.toys import toy_batch, toy_classifier

mask_fitting = Lazy("xaibench.methods._mask_fitting")


@pytest.mark.parametrize("guided", [False, True])
def test_the_loss_is_of_what_is_heard(guided: bool) -> None:
    """The loss of arXiv 2403.13086, each part made into sound on its own and heard by the whole classifier."""
    lmac = registry.load("methods", "lmac")
    classifier = cast(PictureClassifier, toy_classifier())
    batch = toy_batch(4)
    settings = lmac.settings | {"decoder_width": 4, "smoothness_weight": 0.3, "epochs": 2, "guidance_epochs": 1}
    torch.manual_seed(0)
    network = lmac.network(classifier, settings).eval()
    target = classifier.logits_of_clips(batch).argmax(dim=1)
    with torch.no_grad():
        logits = classifier.front_end.to_picture(network.mask_logits(classifier, batch.x, target))
        mask = torch.sigmoid(logits)
        total, sounds = torch.zeros(len(batch)), []
        for share in (mask, 1 - mask):
            picture = torch.log1p(share * torch.expm1(batch.x))
            sounds.append(classifier.domain.synthesise(picture, batch.phase, batch.samples))
        scores = [torch.log_softmax(classifier.temperature * classifier.logits(one), dim=1) for one in sounds]
        kept, removed = (one[torch.arange(4), target] for one in scores)
        total = 0.2 * removed.clamp(min=-math.log(len(classifier.classes))) - 4.0 * kept + 0.4 * mask.mean(dim=(1, 2))
        steps = [(mask[:, 1:] - mask[:, :-1]).abs(), (mask[:, :, 1:] - mask[:, :, :-1]).abs()]
        total += 0.3 * sum(one.mean(dim=(1, 2)) for one in steps)
        if guided:
            heard = classifier.domain.analyse(sounds[0]).x.flatten(1)
            alike = torch.nn.functional.cosine_similarity(heard, batch.x.flatten(1)) >= 0.6
            loud = (batch.x >= 0.35 * batch.x.amax(dim=(1, 2), keepdim=True)).float()
            entropy = -(loud * mask.log() + (1 - loud) * (1 - mask).log()).mean(dim=(1, 2))
            assert alike.any()
            total += 4.0 * entropy * alike
        found = network.loss(
            classifier, mask_fitting.Clips(batch.x, cast(torch.Tensor, batch.waveform)), target, epoch=int(guided)
        )
    assert float(found) == pytest.approx(float(total.mean()), rel=1e-4)


def test_the_card_will_say_that_it_was_fitted_through_sound() -> None:
    assert registry.load("methods", "lmac").fitted_through == "sound"
    assert registry.load("methods", "piq").fitted_through == ""
