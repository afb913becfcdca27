"""The reference maps are what they are called, and the same as the controls among the methods."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from xaibench import registry
from xaibench.sound.audio import DOMAIN
from xaibench.sound.batch import Batch
from xaibench.sound.mixtures import Mixtures
from xaibench.sound.synth import Synth
from xaibench.testing import check_explainer, toy_batch, toy_classifier
from xaibench.validation.reference_maps import REFERENCE_MAPS, SHIFT, reference_maps


@pytest.mark.parametrize("name", REFERENCE_MAPS)
def test_a_reference_map_keeps_the_contract(name: str) -> None:
    check_explainer(REFERENCE_MAPS[name])


def maps() -> dict[str, torch.Tensor]:
    batch = toy_batch()
    classifier, target = toy_classifier(), torch.zeros(len(batch), dtype=torch.long)
    return {name: kind().explain(classifier, batch, target).map for name, kind in REFERENCE_MAPS.items()}


def test_reference_maps_are_what_they_are_called() -> None:
    batch, found = toy_batch(), maps()
    known = batch.ground_truth
    assert known is not None
    for name, one in found.items():
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(dim=(1, 2)), torch.ones(len(batch)), rtol=1e-4, atol=0), name
    loud = known & (batch.x > 0)
    assert torch.equal(found["oracle"] > 0, loud)
    assert not (found["inverted"] * known).any() and (found["inverted"] > 0).float().mean() > 0.5
    kept = (found["half"] > 0).sum() / loud.sum()
    assert kept == pytest.approx(0.5, abs=0.05) and not ((found["half"] > 0) & ~loud).any()
    steps = round(SHIFT * batch.picture_shape[1])
    assert steps > 0
    torch.testing.assert_close(found["shifted"], found["oracle"].roll(steps, dims=2), rtol=1e-4, atol=0)
    torch.testing.assert_close(found["energy"] * batch.x.sum(dim=(1, 2), keepdim=True), batch.x, rtol=1e-4, atol=0)
    assert len(found["uniform"].unique()) == 1
    assert len(found["random"][0].unique()) > 0.9 * found["random"][0].numel()


def test_the_map_of_the_other_sound_takes_its_place_where_there_is_one() -> None:
    one, two = set(reference_maps(Synth())), set(reference_maps(Mixtures(Synth())))
    assert one - two == {"shifted", "inverted"} and two - one == {"swapped"}


def test_swapped_marks_where_the_other_sound_is_louder() -> None:
    dataset = Mixtures(Synth())
    clip = dataset.clips[0]
    target, other = (torch.from_numpy(stem) for stem in dataset.stems(clip))
    batch = Batch.of_sound(torch.from_numpy(dataset.waveform(clip))[None], (clip.id,), DOMAIN)
    known = torch.from_numpy(dataset.ground_truth(clip))[None]
    batch = replace(batch, ground_truth=known)
    found = REFERENCE_MAPS["swapped"]().explain(toy_classifier(), batch, torch.zeros(1, dtype=torch.long)).map[0] > 0
    both = DOMAIN.stft(torch.stack([target, other])).abs()
    audible = (batch.x[0].expm1() > 1e-3 * batch.x[0].expm1().max()) & (batch.x[0] > 0)
    assert (found != (audible & (both[1] >= both[0]))).float().mean() < 1e-4  # but where rounding decides
    assert found.any() and not (found & known[0]).any()


@pytest.mark.parametrize("name", ["random", "uniform", "energy", "oracle"])
def test_a_reference_map_is_the_control_of_its_name_scaled_to_one(name: str) -> None:
    batch, classifier = toy_batch(), toy_classifier()
    target = torch.zeros(len(batch), dtype=torch.long)
    control = registry.create("methods", name).explain(classifier, batch, target).map
    one = REFERENCE_MAPS[name]().explain(classifier, batch, target).map
    assert torch.equal(one, control / control.sum(dim=(1, 2), keepdim=True))


def test_a_silent_clip_has_empty_maps_instead_of_undefined_ones() -> None:
    x = torch.zeros(1, *toy_batch().picture_shape)
    batch = Batch(x, ("silence",), ground_truth=torch.ones_like(x, dtype=torch.bool))
    one = REFERENCE_MAPS["oracle"]().explain(toy_classifier(), batch, torch.zeros(1, dtype=torch.long))
    assert not one.map.any()
