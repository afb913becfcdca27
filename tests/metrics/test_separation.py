"""SI-SDR of the kept sound, against a derivation by hand and on sound whose stems are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references.randomisation import REFERENCES
from tests.support.toy import LinearToy, ids
from xaibench import registry
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

CLIPS = 6


def clips_of_synth() -> tuple[Tensor, Tensor, Tensor]:
    """Mixtures, stems and known evidence of clips of different classes."""
    source = Synth()
    clips = source.in_folds([5])[:CLIPS]
    made = ([of(clip) for clip in clips] for of in (source.waveform, source.stem, source.ground_truth))
    mixtures, stems, known = (torch.from_numpy(np.stack(one)) for one in made)
    return mixtures, stems, known


@pytest.fixture(scope="module")
def sounds() -> tuple[Tensor, Tensor, Tensor]:
    return clips_of_synth()


def made_context(mixtures: Tensor, stems: Tensor | None, known: Tensor, importance: Tensor) -> ScoringContext:
    classifier = LinearToy()
    x = audio.spectrogram(mixtures)
    clean = Clean(Batch(x, ids(len(x)), 0, known), Forwarder(classifier, 16).logits(x), torch.zeros(5), mixtures, stems)
    return ScoringContext(
        clean, importance, BoundExplainer(registry.create("methods", "oracle"), Forwarder(classifier, 16))
    )


def score(context: ScoringContext, area: float) -> Scores:
    result = registry.create("metrics", "si_sdr").score(context, area)
    assert result.values.dtype == torch.float64
    assert [math.isnan(value) for value in result.values] == [reason is not None for reason in result.reasons]
    return result


def oracle(evidence_source: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Known evidence, louder bins first."""
    mixtures, _, known = evidence_source
    return known * (1 + audio.spectrogram(mixtures))


@pytest.mark.parametrize("area", AREAS)
def test_equals_the_reference(sounds, area):
    importance = torch.rand(sounds[2].shape, generator=torch.Generator().manual_seed(0)) + 0.5 * sounds[2]
    context = made_context(*sounds, importance)
    values = score(context, area).values
    for i in range(CLIPS):
        # As it is heard: the mask on the complex spectrogram, transformed back.
        chosen = torch.zeros(importance[i].numel())
        chosen[importance[i].flatten().argsort()[-round(area * importance[i].numel()) :]] = 1
        heard = audio.DOMAIN.istft(
            audio.stft(sounds[0][i : i + 1]) * chosen.view_as(importance[i]), audio.CLIP_SAMPLES
        )[0]
        expected = REFERENCES["si_sdr"](heard.numpy(), sounds[1][i].numpy())
        assert float(values[i]) == pytest.approx(expected, abs=1e-4)


def test_a_sum_of_the_event_and_orthogonal_noise_has_the_ratio_of_their_energies():
    """By hand: y = s + n with <s, n> = 0 has SI-SDR |s|^2 / |n|^2, whatever the gain of y."""
    time = torch.arange(audio.CLIP_SAMPLES) / audio.SAMPLE_RATE
    event, noise = torch.sin(2 * math.pi * 500 * time)[None], 0.1 * torch.sin(2 * math.pi * 1500 * time)[None]
    importance = torch.rand(1, *audio.PICTURE_SHAPE)
    for gain in (1.0, 0.01):
        context = made_context(
            gain * (event + noise), event, torch.ones(1, *audio.PICTURE_SHAPE, dtype=torch.bool), importance
        )
        assert score(context, 1.0).values.tolist() == pytest.approx([20.0], abs=0.01)


@pytest.mark.parametrize("area", AREAS)
def test_the_oracle_beats_random_clearly(sounds, area):
    random = torch.rand(sounds[2].shape, generator=torch.Generator().manual_seed(1))
    right, chance = (score(made_context(*sounds, one), area).values for one in (oracle(sounds), random))
    assert ((right - chance) > 3).all()
    assert (right - chance).mean() > 8


def test_keeping_everything_gives_the_mixture_and_more_than_random_parts_of_it(sounds):
    importance = torch.rand(sounds[2].shape, generator=torch.Generator().manual_seed(1))
    context = made_context(*sounds, importance)
    whole = score(context, 1.0).values
    expected = [REFERENCES["si_sdr"](sounds[0][i].numpy(), sounds[1][i].numpy()) for i in range(CLIPS)]
    assert whole.tolist() == pytest.approx(expected, abs=1e-2)
    assert (whole > score(context, 0.1).values).all()


def test_is_undefined_with_a_reason(sounds):
    mixtures, stems, known = (one[:3].clone() for one in sounds)
    importance = oracle((mixtures, stems, known))
    for part in ({"stem": None}, {"waveform": None}):
        context = made_context(mixtures, stems, known, importance)
        context.clean = replace(context.clean, **part)
        assert set(score(context, 0.1).reasons) == {"the event's own sound is not known"}
    stems[0] = 0
    mixtures[1] = 0
    reasons = score(made_context(mixtures, stems, known, importance), 0.1).reasons
    assert reasons == ("the event's own sound is silence", "the kept part is silence", None)


def test_a_clip_scores_the_same_alone_and_in_another_order(sounds):
    importance = oracle(sounds)
    together = score(made_context(*sounds, importance), 0.1).values
    for i in range(2):
        parts = [one[i : i + 1] for one in (*sounds, importance)]
        context = made_context(*parts)
        context.clean = replace(context.clean, batch=replace(context.clean.batch, clip_ids=(f"clip-{i}",)))
        assert score(context, 0.1).values.tolist() == pytest.approx([float(together[i])], abs=1e-6)


def test_needs_the_explanation_only(sounds):
    """No forward pass, no explanation."""
    context = made_context(*sounds, oracle(sounds))

    def refuse(*args: object, **settings: object) -> Explanation:
        raise AssertionError("asked")

    context.explainer.explain = refuse
    context.explainer.forwarder.logits = refuse
    score(context, 0.1)
