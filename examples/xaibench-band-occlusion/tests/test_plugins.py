"""The plugins keep the benchmark's contracts, and do what they say."""

from pathlib import Path

import torch
from xaibench import (
    FitContext,
    PictureClassifier,
    TrainingClips,
    check_explainer,
    check_metric,
    toy_batch,
    toy_classifier,
)

from xaibench_band_occlusion.class_contrast import ClassContrast
from xaibench_band_occlusion.explainer import BandOcclusion
from xaibench_band_occlusion.metric import LogOddsDrop


def test_the_explainer_keeps_its_contract() -> None:
    check_explainer(BandOcclusion)


def test_the_trained_explainer_keeps_its_contract() -> None:
    check_explainer(ClassContrast)


def test_the_metric_keeps_its_contract() -> None:
    check_metric(LogOddsDrop)


def test_a_band_gets_what_its_silence_costs() -> None:
    classifier, batch = toy_classifier(), toy_batch(1)
    attribution = BandOcclusion().explain(classifier, batch, torch.tensor([2])).map
    silenced = batch.x.clone()
    silenced[:, :19] = 0  # 513 rows in 27 bands
    whole, without = (classifier.logits_of(x, batch.phase, batch.samples) for x in (batch.x, silenced))
    drop = (whole - without)[0, 2]
    torch.testing.assert_close(attribution[0, :19], drop.expand(19, 431))


class Alternating(PictureClassifier):
    """Calls every second clip of six by the other class."""

    def __init__(self) -> None:
        super().__init__("alternating", "toy", ["bell", "crow", "rain"])

    def picture_logits(self, x: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[torch.arange(len(x)) % 2]


def test_the_contrast_of_a_class_is_its_mean_spectrum_less_that_of_all(tmp_path: Path) -> None:
    classifier, batch, method = Alternating(), toy_batch(6), ClassContrast()
    clips = TrainingClips(batch.x, batch.clip_ids, batch.waveform)
    context = FitContext(
        settings={}, seed=0, device=torch.device("cpu"), precision=torch.float32, state=tmp_path, report=print
    )
    method.fit(classifier, clips, clips, context)
    attribution = method.explain(classifier, batch, torch.tensor([0, 1, 2, 0, 1, 2])).map
    spectra = batch.x.mean(dim=2)
    for i, label in enumerate([0, 1, 2, 0, 1, 2]):
        contrast = spectra[label::2].mean(dim=0) - spectra.mean(dim=0) if label < 2 else torch.zeros(513)
        torch.testing.assert_close(attribution[i], batch.x[i] * contrast[:, None])
    assert attribution[0].abs().max() > 0
