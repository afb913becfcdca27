"""Every metric that scores a method's own soft mask, against slow references and at its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references.randomisation import REFERENCES as OF_SOUND
from tests.references.values import REFERENCES, Clip
from tests.support.toy import LinearToy, context, probability_function
from xaibench import registry
from xaibench.errors import ExplanationError
from xaibench.scoring.context import Masked
from xaibench.scoring.metric import Metric
from xaibench.sound import audio

NAMES = [
    *("average_drop", "average_gain", "average_increase", "energy_removed", "faithfulness", "faithfulness_kept"),
    *("fidelity_in", "mask_area", "mask_inconsistency", "mask_iou", "si_sdr"),
]
OF_SOUND_ALONE = ("energy_removed", "mask_inconsistency", "si_sdr")  # at the end, and in test_heard.py
OF_SPECTROGRAMS = [name for name in NAMES if name not in OF_SOUND_ALONE]
CLIPS = 8


def metric(name: str) -> Metric:
    return registry.create("metrics", name)


def clips(shape: tuple[int, int] = (9, 7)) -> tuple[Tensor, Tensor, Tensor]:
    """Spectrograms with loud and quiet blocks, soft masks, and known evidence that they overlap in part."""
    generator = torch.Generator().manual_seed(shape[0])
    blocks = 4 * torch.rand(CLIPS, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(CLIPS, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]
    mask = torch.rand(CLIPS, *shape, generator=generator) ** 2
    known = mask + torch.rand(CLIPS, *shape, generator=generator) > 1.2
    return x, mask, known


def test_these_metrics_score_soft_masks() -> None:
    kinds = {name: registry.load("metrics", name).soft_mask for name in registry.names("metrics")}
    assert [name for name, kind in kinds.items() if kind != "never"] == NAMES
    assert [name for name, kind in kinds.items() if kind == "only"] == ["mask_area"]


@pytest.mark.parametrize("shape", [(4, 3), (9, 7), (12, 15)], ids=str)
@pytest.mark.parametrize("name", OF_SPECTROGRAMS)
def test_equals_the_reference(name: str, shape: tuple[int, int]) -> None:
    x, mask, known = clips(shape)
    result = metric(name).score(context(LinearToy(), x, mask, known), None)
    probabilities = probability_function(LinearToy())
    singles = [Clip(x[i].numpy(), mask[i].numpy(), probabilities, known[i].numpy()) for i in range(CLIPS)]
    expected = [REFERENCES[name](clip, None) for clip in singles]
    assert result.reasons == (None,) * CLIPS
    assert result.values.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)  # the masks are float32
    if name not in {"fidelity_in", "average_increase"}:
        assert len(set(expected)) > 1  # where every clip scores alike, any formula agrees


@pytest.mark.parametrize("name", OF_SPECTROGRAMS)
def test_wants_exactly_what_it_reads(name: str) -> None:
    x, mask, known = clips()
    classifier, scorer = LinearToy(), metric(name)
    made = context(classifier, x, mask, known)
    made.require(scorer.perturbations((None,)))
    before = len(classifier.forwarded)
    scorer.score(made, None)
    assert len(classifier.forwarded) == before


@pytest.mark.parametrize("name", OF_SPECTROGRAMS)
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_what_is_no_mask_is_refused(name: str, value: float) -> None:
    x, mask, known = clips()
    mask[2, 3, 4] = value
    with pytest.raises(ExplanationError, match=r"a mask holds values from .* expected 0 to 1"):
        metric(name).score(context(LinearToy(), x, mask, known), None)


def test_the_two_parts_of_a_soft_mask_are_the_whole() -> None:
    """On the linear magnitude, where sound adds up."""
    x, mask, _ = clips()
    made = context(LinearToy(), x, mask)
    kept, removed = (Masked(part, None).apply(made) for part in ("kept", "removed"))  # type: ignore[arg-type]
    torch.testing.assert_close(torch.expm1(kept) + torch.expm1(removed), torch.expm1(x))


@pytest.mark.parametrize("name", [name for name in OF_SPECTROGRAMS if name != "mask_area"])
def test_a_soft_mask_of_zeros_and_ones_scores_as_the_hard_one(name: str) -> None:
    x, mask, known = clips((10, 8))
    made = context(LinearToy(), x, mask, known)
    hard = context(LinearToy(), x, made.mask(0.1).float(), known)
    first, second = metric(name).score(hard, None).values, metric(name).score(made, 0.1).values
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


def test_the_area_of_a_mask() -> None:
    x, _, _ = clips()
    for level in (0.0, 0.25, 1.0):
        assert (
            metric("mask_area").score(context(LinearToy(), x, torch.full_like(x, level)), None).values.tolist()
            == [level] * CLIPS
        )


def test_si_sdr_of_a_soft_mask_by_hand() -> None:
    """The kept sound is the inverse transform of the mask times the complex spectrogram."""
    time = torch.arange(audio.CLIP_SAMPLES) / audio.SAMPLE_RATE
    event = 0.4 * torch.sin(2 * torch.pi * 700 * time)[None]
    mixture = event + 0.3 * torch.randn(event.shape, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    x = audio.spectrogram(mixture)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    made = context(LinearToy(), x, mask, torch.ones_like(x, dtype=torch.bool))
    made.clean = replace(made.clean, waveform=mixture, stem=event)
    heard = audio.DOMAIN.istft(audio.stft(mixture) * mask, audio.CLIP_SAMPLES)[0].numpy().astype(np.float64)
    expected = OF_SOUND["si_sdr"](heard, event[0].numpy())
    assert metric("si_sdr").score(made, None).values.tolist() == pytest.approx([expected], abs=1e-3)
