"""The robustness metrics and sufficiency against slow references, and what their noisy copies and maps promise.

The references need the copies and their maps, which belong to the engine: the copies' promises are tested by
themselves, and the maps are asked of the method again, clip by clip and copy by copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.references.robustness import REFERENCES, Explained, Heard
from tests.support.toy import LinearToy, ids
from xaibench import registry
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.checkpoint import resolve
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10
from xaibench.testing import GradientTimesInput

NAMES = sorted(REFERENCES)
STABILITIES = ["relative_input_stability", "relative_output_stability"]
CLIPS = 8


class LevelToy(PictureClassifier):
    """Class 1 if the mean of the spectrogram is above a level: noise, which raises it, changes the prediction."""

    def __init__(self, level: float) -> None:
        super().__init__("level-toy", "toy", ["quiet", "loud"], 4.0)
        self.level = level

    def picture_logits(self, x: Tensor) -> Tensor:
        above = x.double().mean(dim=(1, 2)) - self.level
        return torch.stack([-above, above], dim=1)


class MapToy(Explainer):
    """Maps made by a function of the spectrograms; remembers how many it was asked for."""

    title = "toy"
    reference = "a test"
    description = "a test"
    polarity = "absolute"

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make
        self.asked: list[int] = []

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        self.asked.append(len(batch))
        return Explanation(self.make(batch.x), batch.picture_shape)


class RoughToy(GradientTimesInput):
    """A gradient whose sign and size also turn with the sound, with zeros: nothing about it is smooth."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        smooth = super().explain(classifier, batch, target).map
        rough = smooth * torch.cos(9 * batch.x) * (batch.x > 0.05)
        return Explanation(rough.float(), batch.picture_shape)


def ask(
    method: Explainer,
    classifier: Classifier,
    x: Tensor,
    clip_ids: Sequence[str] | None = None,
    batch_size: int = 16,
    attribution: Tensor | None = None,
) -> ScoringContext:
    """Evidence of the method's own maps, asked for clip by clip as the evaluation loop does."""
    forwarder = Forwarder(classifier, batch_size)
    batch = Batch(x, tuple(clip_ids) if clip_ids is not None else ids(len(x)))
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    explainer = BoundExplainer(method, forwarder)
    if attribution is None:
        rows = [explainer.explain(batch.slice(i, i + 1), clean.target[i : i + 1]).map for i in range(len(x))]
        attribution = torch.cat(rows)
    return ScoringContext(clean, attribution, explainer)


def copies_of(context: ScoringContext) -> list[Tensor]:
    """The noisy copies that the metrics announce, each (batch, freq, time)."""
    return [one.apply(context) for one in registry.create("metrics", "sufficiency").perturbations(AREAS)]


def score(name: str, context: ScoringContext) -> Scores:
    result = registry.create("metrics", name).score(context, None)
    assert result.values.dtype == torch.float64
    assert [math.isnan(value) for value in result.values] == [reason is not None for reason in result.reasons]
    return result


def sounds(shape: tuple[int, int] = (9, 7), count: int = CLIPS, seed: int = 0) -> Tensor:
    """Spectrograms of loud and quiet blocks, with digital silence in some of them."""
    generator = torch.Generator().manual_seed(seed)
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]
    x[::2, :2] = 0
    return x


def by_hand(context: ScoringContext, copies: Sequence[Tensor]) -> list[Explained]:
    """What the references take; each map and forward pass is asked for alone."""
    method, classifier = context.explainer.method, context.classifier
    batch, target = context.clean.batch, context.target

    def heard(i: int, x: Tensor, attribution: Tensor) -> Heard:
        logits = classifier.temperature * classifier.picture_logits(x[None])[0]
        return Heard(x.numpy(), attribution.numpy(), logits.numpy())

    def copy(i: int, x: Tensor) -> Heard:
        asked = method.explain(classifier, replace(batch.slice(i, i + 1), x=x[None]), target[i : i + 1])
        return heard(i, x, asked.map[0].detach())

    return [
        Explained(heard(i, batch.x[i], context.attribution[i]), tuple(copy(i, one[i]) for one in copies))
        for i in range(len(batch))
    ]


def test_copies_are_spectrograms_within_growing_radii():
    x = sounds((40, 50))
    copies = copies_of(ask(GradientTimesInput(), LinearToy(), x))
    spread = x.amax(dim=(1, 2), keepdim=True) - x.amin(dim=(1, 2), keepdim=True)
    assert len(copies) == 8
    for draw, copy in enumerate(copies):
        radius = 0.1 * (draw + 1) / 8 * spread
        lowest = (x - radius).clamp(min=0)
        assert copy.dtype == torch.float32
        assert copy.min() >= 0
        assert ((copy - x).abs() <= radius * (1 + 1e-5) + 1e-6).all()
        # Uniform over what is allowed: all of it is reached, and its middle is the mean.
        place = (copy - lowest) / (x + radius - lowest)
        assert place.min() < 0.01
        assert place.max() > 0.99
        assert float(place.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(place.std()) == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_copies_belong_to_the_clip_the_draw_and_the_seed():
    x = sounds().clone()
    x[:] = x[0]
    context = ask(GradientTimesInput(), LinearToy(), x)
    copies = copies_of(context)
    assert not any(torch.equal(copy[i], copy[0]) for copy in copies for i in range(1, CLIPS))
    again = copies_of(ask(GradientTimesInput(), LinearToy(), x[:2], clip_ids=["clip-5", "clip-3"]))
    assert all(torch.equal(one[[5, 3]], other) for one, other in zip(copies, again, strict=True))
    context.clean = replace(context.clean, batch=replace(context.clean.batch, seed=1))
    assert not any(torch.equal(one, other) for one, other in zip(copies, copies_of(context), strict=True))
    noise = [(copy - x)[0].sign() for copy in copies]
    assert not any(torch.equal(noise[0], one) for one in noise[1:])


SHAPES = [(4, 3), (9, 7), (12, 15)]
SITUATIONS = {
    "smooth": lambda x: ask(GradientTimesInput(), LinearToy(), x),
    "rough": lambda x: ask(RoughToy(), LinearToy(), x),
    # All means are a little below the level, so that noise, which raises them, changes some predictions.
    "level": lambda x: ask(RoughToy(), LevelToy(0.45), x / x.mean(dim=(1, 2), keepdim=True) * 0.43),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_reference(name, situation, shape):
    context = SITUATIONS[situation](sounds(shape, seed=shape[0]))
    expected = [REFERENCES[name](one) for one in by_hand(context, copies_of(context))]
    assert score(name, context).values.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_the_reference_clips_tell_formulas_apart(shape):
    """Guards the test above: predictions that change in part, zeros, shares between 0 and 1, maps that move."""
    context = SITUATIONS["level"](sounds(shape, seed=shape[0]))
    explained = by_hand(context, copies_of(context))
    changed = [sum(copy.predicted != one.clip.predicted for copy in one.copies) for one in explained]
    assert any(0 < count < 8 for count in changed)
    assert (context.attribution == 0).any()
    assert (context.clean.batch.x == 0).any()
    assert any(0 < REFERENCES["sufficiency"](one) < 1 for one in explained)
    assert min(REFERENCES["avg_sensitivity"](one) for one in explained) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_alone_and_in_any_batch(name):
    x = sounds(count=5)
    together = score(name, ask(RoughToy(), LinearToy(), x))
    order = [3, 0, 4, 2, 1]
    names = [ids(5)[i] for i in order]
    shuffled = score(name, ask(RoughToy(), LinearToy(), x[order], clip_ids=names, batch_size=2))
    assert torch.allclose(shuffled.values, together.values[order], rtol=1e-9, equal_nan=True)
    for i in range(5):
        alone = score(name, ask(RoughToy(), LinearToy(), x[i : i + 1], clip_ids=[ids(5)[i]]))
        assert torch.allclose(alone.values[0], together.values[i], rtol=1e-9, equal_nan=True)
        assert alone.reasons[0] == together.reasons[i]


@pytest.mark.parametrize("name", NAMES)
def test_no_scale_of_a_method_changes_its_values(name):
    """Methods are compared with each other: 1000 times the same map is the same explanation."""
    x = sounds()
    plain = score(name, ask(MapToy(lambda x: torch.cos(9 * x) * (x > 0.05)), LinearToy(), x))
    louder = score(name, ask(MapToy(lambda x: 1024 * torch.cos(9 * x) * (x > 0.05)), LinearToy(), x))
    assert plain.values.tolist() == pytest.approx(louder.values.tolist(), rel=1e-12, nan_ok=True)
    assert not plain.values.isnan().all()


def test_the_sign_of_a_map_counts():
    """A map that turns from for to against has moved by twice its size, although its magnitude is the same."""
    x = sounds(count=1)
    turned = ask(MapToy(lambda asked: torch.ones_like(asked)), LinearToy(), x, attribution=-torch.ones_like(x))
    assert float(score("max_sensitivity", turned).values) == 2.0
    assert "within 0.2" in score("sufficiency", turned).reasons[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sufficiency"])
def test_direction(name):
    """A map that follows the noise less is better."""
    x = sounds() + 0.1
    steady, shaky = (
        ask(MapToy(lambda asked, k=k: (1 + k * torch.sin(40 * asked)).float()), LinearToy(), x) for k in (0.05, 0.5)
    )
    better, worse = score(name, steady).values, score(name, shaky).values
    defined = ~(better.isnan() | worse.isnan())
    assert defined.sum() >= 4
    assert (better < worse)[defined].all()
    assert not registry.create("metrics", name).higher_is_better


def test_direction_of_sufficiency():
    """A map that changes with the prediction says more about it than one that never does."""
    x, toy = quiet_clips(), LevelToy(0.03)
    follows = ask(MapToy(lambda asked: toy.picture_logits(asked)[:, 0, None, None].sign().float() + 0 * asked), toy, x)
    ignores = ask(MapToy(torch.ones_like), toy, x)
    assert score("sufficiency", follows).values.tolist() == [1.0] * len(x)
    assert (score("sufficiency", ignores).values < 1).all()
    assert registry.create("metrics", "sufficiency").higher_is_better


@pytest.mark.parametrize("name", NAMES)
def test_a_map_that_ignores_the_sound_is_the_best(name):
    """The trap of every robustness metric; sufficiency is then the share of copies that keep the prediction."""
    x, toy = quiet_clips(), LevelToy(0.03)
    context = ask(MapToy(lambda asked: torch.full_like(asked, 7)), toy, x)
    kept = torch.stack([toy.picture_logits(copy).argmax(dim=1) == context.target for copy in copies_of(context)])
    assert (kept.double().mean(dim=0) > 0).all()
    assert (kept.double().mean(dim=0) < 1).all()
    expected = kept.double().mean(dim=0).tolist() if name == "sufficiency" else [0.0] * len(x)
    assert score(name, context).values.tolist() == expected


def quiet_clips() -> Tensor:
    """Two clips of one loud bin in silence, whose mean the noise of the last copies raises to about 0.05."""
    x = torch.zeros(2, 9, 7)
    x[0, 2, 3] = x[1, 5, 5] = 1
    return x


@pytest.mark.parametrize("name", STABILITIES)
def test_copies_of_another_class_are_left_out(name):
    """The map of a copy that is classified otherwise is far off, and does not count."""
    x, toy = quiet_clips(), LevelToy(0.03)

    def jump(asked: Tensor) -> Tensor:
        return torch.where(toy.picture_logits(asked).argmax(dim=1)[:, None, None] == 1, 1e6, 1 + asked).float()

    context = ask(MapToy(jump), toy, x)
    values = score(name, context).values
    explained = by_hand(context, copies_of(context))
    assert values.tolist() == pytest.approx([REFERENCES[name](one) for one in explained], rel=1e-9)
    assert (score("max_sensitivity", context).values > 1e5).all()
    counted = [replace(one, copies=tuple(c for c in one.copies if c.predicted == 0)) for one in explained]
    assert all(0 < len(one.copies) < 8 for one in counted)
    assert values.tolist() == pytest.approx([REFERENCES[name](one) for one in counted], rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_where_every_copy_is_classified_differently(name):
    x, toy = quiet_clips(), LevelToy(0.017)  # the clips' means are 0.0159, and the least noise adds 0.006
    result = score(name, ask(MapToy(lambda asked: 1 + asked), toy, x))
    if name in STABILITIES:
        assert all("every noisy copy is classified differently" in reason for reason in result.reasons)
    elif name == "sufficiency":
        assert result.values.tolist() == [0.0, 0.0]
    else:
        assert result.reasons == (None, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_zeros_has_no_relative_change(name):
    x = sounds(count=3)
    attribution = torch.cos(x)
    attribution[1] = 0
    result = score(name, ask(MapToy(torch.cos), LinearToy(), x, attribution=attribution))
    assert result.reasons[1] == "the map is zero everywhere"
    assert result.reasons[0] is result.reasons[2] is None


@pytest.mark.parametrize("name", NAMES)
def test_a_copys_map_of_zeros_is_a_change_like_any(name):
    """It differs by the whole clean map, and explains nothing that the clip's map explains."""
    x = sounds(count=1)
    result = score(name, ask(MapToy(torch.zeros_like), LinearToy(), x, attribution=torch.ones_like(x)))
    if name == "sufficiency":
        assert "no noisy copy has a map within" in result.reasons[0]
    else:
        assert result.reasons == (None,)
        assert name not in {"max_sensitivity", "avg_sensitivity"} or float(result.values) == 1.0


@pytest.mark.parametrize("level", [0.0, 1.5])
@pytest.mark.parametrize("name", NAMES)
def test_a_clip_without_a_range_has_no_noise(name, level):
    x = sounds(count=3)
    x[1] = level
    result = score(name, ask(MapToy(torch.cos), LinearToy(), x))
    assert "every bin of the clip is equal" in result.reasons[1]
    assert result.reasons[0] is result.reasons[2] is None


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_map_of_one_copy(name, value, word):
    """One copy of one clip gets a broken map: that clip has no value, its neighbours do."""
    x = sounds(count=3)
    context = ask(MapToy(torch.cos), LinearToy(), x)
    third = copies_of(context)[2][1]

    def breaks(asked: Tensor) -> Tensor:
        maps = torch.cos(asked)
        maps[(asked == third).flatten(1).all(dim=1), 4, 4] = value
        return maps

    result = score(name, ask(MapToy(breaks), LinearToy(), x))
    assert result.reasons[1] == (
        "of a noisy copy, the map holds NaN" if word == "NaN" else "of a noisy copy, the map holds infinite values"
    )
    assert result.reasons[0] is result.reasons[2] is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-45, 1e-30, 3e38])
def test_maps_of_any_size_score_finite_values_or_a_reason(name, scale):
    x = sounds(count=3)
    attribution = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) * scale
    result = score(name, ask(GradientTimesInput(), LinearToy(), x, attribution=attribution))
    low, high = registry.create("metrics", name).bounds
    for value, reason in zip(result.values.tolist(), result.reasons, strict=True):
        assert reason is not None or (low <= value <= high and math.isfinite(value))


def test_logits_that_hardly_change_count_as_a_hundredth():
    """What is left of their change after rounding would otherwise decide."""
    deaf = LinearToy()
    deaf.weight = deaf.weight * 1e-9
    context = ask(MapToy(lambda asked: 1 + asked), deaf, sounds())
    explained = by_hand(context, copies_of(context))
    e = context.attribution.double()
    expected = [
        max(float(((torch.from_numpy(c.map).double() - e[i]) / e[i]).norm()) for c in one.copies) / 0.01
        for i, one in enumerate(explained)
    ]
    assert score("relative_output_stability", context).values.tolist() == pytest.approx(expected, rel=1e-9)


def test_the_method_is_asked_once_for_each_copy_whatever_reads_them():
    method, classifier = MapToy(torch.cos), LinearToy()
    context = ask(method, classifier, sounds(count=3))
    method.asked.clear()
    context.require([one for name in NAMES for one in registry.create("metrics", name).perturbations(AREAS)])
    before = len(classifier.forwarded)
    for name in NAMES:
        score(name, context)
    assert method.asked == [3] * 8
    assert len(classifier.forwarded) == before


@pytest.mark.parametrize("name", NAMES)
def test_forwards_nothing_that_it_does_not_read(name):
    scorer = registry.create("metrics", name)
    context = ask(MapToy(torch.cos), LinearToy(), sounds(count=2))
    lookup, asked = context.logits, set()
    context.logits = lambda one: (asked.add(one), lookup(one))[1]
    scorer.score(context, None)
    assert asked == set(scorer.perturbations(AREAS))
    assert len(asked) == (0 if name in {"avg_sensitivity", "local_lipschitz", "max_sensitivity"} else 8)


def test_a_real_clip_scores_the_same_alone(esc50_folder):
    """Real resolution, maps and float32 rounding: the values agree to 1e-4."""
    dataset = Esc10(esc50_folder)
    clips = [clip for clip in dataset.clips if clip.fold == 5][:20:10]
    x = audio.spectrogram(torch.stack([torch.from_numpy(dataset.waveform(clip)) for clip in clips]))
    names = [clip.id for clip in clips]
    classifier, _ = resolve("cnn-micro", "esc10")
    method = registry.create("methods", "saliency")
    together = ask(method, classifier, x, clip_ids=names)
    alone = ask(method, classifier, x[1:], clip_ids=names[1:])
    for name in NAMES:
        values = score(name, together).values
        assert not values.isnan().any(), name
        assert float(score(name, alone).values) == pytest.approx(float(values[1]), rel=1e-4), name
