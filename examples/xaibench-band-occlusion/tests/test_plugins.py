"""Both plugins keep the benchmark's contracts, and do what they say."""

import torch
from xaibench.testing import check_explainer, check_metric, toy_batch, toy_classifier

from xaibench_band_occlusion.explainer import BandOcclusion
from xaibench_band_occlusion.metric import LogOddsDrop


def test_the_explainer_keeps_its_contract() -> None:
    check_explainer(BandOcclusion)


def test_the_metric_keeps_its_contract() -> None:
    check_metric(LogOddsDrop)


def test_a_band_gets_what_its_silence_costs() -> None:
    classifier, batch = toy_classifier(), toy_batch(1)
    attribution = BandOcclusion().explain(classifier, batch, torch.tensor([2])).map
    silenced = batch.x.clone()
    silenced[:, :19] = 0  # 513 rows in 27 bands
    drop = (classifier.logits(batch.x) - classifier.logits(silenced))[0, 2]
    torch.testing.assert_close(attribution[0, :19], drop.expand(19, 431))
