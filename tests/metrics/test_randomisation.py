"""MPRT, efficient MPRT and random logit: values, what is randomised, and that the classifier is as before."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.references.randomisation import REFERENCES, rank_correlation
from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, ids
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explanation import Explanation
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.testing import GradientTimesInput, toy_batch, toy_classifier
from xaibench.testing.unchanged import unchanged

FAMILY = Lazy("xaibench.metrics.randomisation")
WEIGHTS = Lazy("xaibench.metrics._random_weights")
RANKS = Lazy("xaibench.metrics._rank_correlation")
NAMES = ["efficient_mprt", "mprt", "random_logit"]
SHAPE = (12, 9)


class NetToy(PictureClassifier):
    """Two convolutions, a normalisation, a bare parameter and a linear layer, in double precision."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__("net-toy", "toy", [f"class-{i}" for i in range(classes)])
        with seeded(3):
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.second = nn.Conv2d(4, 4, 3, padding=1)
            self.gain = nn.Parameter(1 + torch.rand(4, 2, 1))
            self.linear = nn.Linear(8, classes)
            nn.init.normal_(self.norm.weight, 1, 0.1)
        self.double().eval().requires_grad_(False)

    def picture_logits(self, x: Tensor) -> Tensor:
        image = self.second(torch.tanh(self.norm(self.first(x.double()[:, None]))))
        pooled = nn.functional.adaptive_avg_pool2d(torch.tanh(image), (2, 1)) * self.gain
        return self.linear(pooled.flatten(1))


CASCADE = [["linear"], ["second"], ["first", "norm"], [""]]  # the bare parameter is the classifier's own: first of all


class Loudness(GradientTimesInput):
    """The input itself: blind to the classifier and to the class."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(batch.x.clone(), batch.picture_shape)


class Answer(GradientTimesInput):
    """The gradient for the trained classifier; a constant for any other."""

    def __init__(self, constant: float) -> None:
        self.trained, self.constant = NetToy().linear.weight.clone(), constant

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        if torch.equal(classifier.linear.weight, self.trained):
            return super().explain(classifier, batch, target)
        return Explanation(torch.full_like(batch.x, self.constant), batch.picture_shape)


def spectrograms(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(count)) ** 2


def explained(
    classifier: Classifier,
    x: Tensor,
    method: GradientTimesInput | None = None,
    clip_ids: tuple[str, ...] | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> ScoringContext:
    """Evidence with the method's own maps."""
    forwarder = Forwarder(classifier, batch_size)
    batch = Batch(x, clip_ids or ids(len(x)), seed)
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    explainer = BoundExplainer(method or GradientTimesInput(), forwarder)
    return ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)


def score(name: str, context: ScoringContext) -> Scores:
    result = registry.create("metrics", name).score(context, None)
    assert result.values.dtype == torch.float64
    assert [math.isnan(value) for value in result.values] == [reason is not None for reason in result.reasons]
    return result


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1e-45, 0.25, 0.5, 3e38]), min_size=7, max_size=7),
    st.lists(st.floats(0, 1, width=32), min_size=7, max_size=7),
)
def test_rank_correlation_equals_the_reference(first, second):
    a, b = (torch.tensor(values).view(1, 1, 7) for values in (first, second))
    value = float(RANKS.Ranks.of(a).correlate(b))
    assert value == pytest.approx(rank_correlation(a.numpy(), b.numpy()), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("levels", [2, 50, 10**4, None], ids=lambda levels: f"{levels} levels")
def test_rank_correlation_equals_scipy_on_the_full_grid(levels):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 513, 431, generator=generator) ** 4
    b = a * torch.rand(a.shape, generator=generator)
    if levels:
        a, b = ((one * levels).round() / levels for one in (a, b))
    values = RANKS.Ranks.of(a).correlate(b)
    expected = [
        scipy.stats.spearmanr(*pair)[0] for pair in zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True)
    ]
    assert values.tolist() == pytest.approx(expected, abs=1e-12)
    assert all(0.2 < abs(value) < 0.99 for value in expected)


def maps_of(context: ScoringContext, classifier: Classifier, target: Tensor | None = None) -> np.ndarray:
    """Importance of the same clips for another classifier or class, by the method itself."""
    chosen = context.target if target is None else target
    return context.explainer.method.explain(classifier, context.clean.batch, chosen).map.abs().float().numpy()


def test_mprt_equals_the_reference():
    context = explained(NetToy(), spectrograms(5))
    copied, cascade = copy.deepcopy(context.classifier), []
    for names in CASCADE:
        WEIGHTS.randomise([(name, copied.get_submodule(name)) for name in names], seed=0)
        cascade.append(maps_of(context, copied))
    values = score("mprt", context).values.tolist()
    original = context.importance.numpy()
    expected = [REFERENCES["mprt"](original[i], [stage[i] for stage in cascade]) for i in range(5)]
    assert values == pytest.approx(expected, abs=1e-6)
    assert max(expected) - min(expected) > 0.01


def test_efficient_mprt_equals_the_reference():
    context = explained(NetToy(), spectrograms(5))
    copied = copy.deepcopy(context.classifier)
    WEIGHTS.randomise(WEIGHTS.layers(copied), seed=0)
    randomised = context.explainer.method.explain(copied, context.clean.batch, context.target).map.float()
    expected = [REFERENCES["efficient_mprt"](context.attribution[i].numpy(), randomised[i].numpy()) for i in range(5)]
    assert (context.attribution < 0).any()
    assert score("efficient_mprt", context).values.tolist() == pytest.approx(expected, abs=1e-6)
    assert max(expected) - min(expected) > 0.01


def test_random_logit_equals_the_reference():
    context = explained(NetToy(), spectrograms(5))
    others = FAMILY.other_classes(context)
    maps = maps_of(context, context.classifier, others)
    expected = [REFERENCES["random_logit"](context.importance[i].numpy(), maps[i]) for i in range(5)]
    assert score("random_logit", context).values.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_other_class_is_any_but_the_predicted_one():
    def made(seed: int) -> ScoringContext:
        context = explained(NetToy(), spectrograms(200), seed=seed)
        logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).double()
        context.clean = replace(context.clean, logits=logits)  # the toy itself names one class only
        return context

    context = made(0)
    others = FAMILY.other_classes(context)
    assert not (others == context.target).any()
    pairs = set(zip(context.target.tolist(), others.tolist(), strict=True))
    assert len(pairs) == 4 * 3
    assert torch.equal(others, FAMILY.other_classes(context))
    assert not torch.equal(others, FAMILY.other_classes(made(1)))


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_asks_the_classifier_beats_a_blind_one(name):
    asking, blind = (explained(NetToy(), spectrograms(6), method) for method in (GradientTimesInput(), Loudness()))
    better, worse = (score(name, context).values for context in (asking, blind))
    assert worse.tolist() == pytest.approx([0.0 if name == "efficient_mprt" else 1.0] * 6, abs=1e-12)
    if name == "efficient_mprt":
        assert (better != 0).all()
        return  # a rise is the finding of the paper, not a law
    assert not registry.load("metrics", name).higher_is_better
    assert (better < worse).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_alone_in_any_batch_and_order(name):
    x, order = spectrograms(5), [3, 0, 4, 2, 1]
    values = score(name, explained(NetToy(), x)).values
    with seeded(7):
        shuffled = explained(NetToy(), x[order], clip_ids=tuple(ids(5)[i] for i in order), batch_size=2)
        assert torch.allclose(score(name, shuffled).values, values[order], rtol=0, atol=1e-4)
    for i in range(5):
        alone = explained(NetToy(), x[i : i + 1], clip_ids=(ids(5)[i],))
        assert float(score(name, alone).values) == pytest.approx(float(values[i]), abs=1e-4)


def test_the_seed_of_the_run_decides_the_weights():
    x = spectrograms(3)
    first, again, other = (score("mprt", explained(NetToy(), x, seed=seed)).values for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("name", ["mprt", "random_logit"])
def test_a_constant_map_is_undefined(name):
    context = explained(NetToy(), spectrograms(3))
    attribution = context.attribution.clone()
    attribution[0], attribution[2] = 0, -1
    result = score(name, ScoringContext(context.clean, attribution, context.explainer))
    assert [reason is None for reason in result.reasons] == [False, True, False]
    assert "have no order" in result.reasons[0]


def test_efficient_mprt_of_a_map_of_one_value_is_undefined():
    context = explained(NetToy(), spectrograms(3))
    attribution = context.attribution.clone()
    attribution[0], attribution[2] = 0, 1e30
    result = score("efficient_mprt", ScoringContext(context.clean, attribution, context.explainer))
    assert [reason is None for reason in result.reasons] == [False, True, False]
    assert "one bin" in result.reasons[0]


@pytest.mark.parametrize("name", ["efficient_mprt", "mprt"])
@pytest.mark.parametrize(("constant", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_a_broken_map_of_the_randomised_classifier_is_undefined(name, constant, word):
    result = score(name, explained(NetToy(), spectrograms(2), Answer(constant)))
    assert all(word in reason and "random weights" in reason for reason in result.reasons)


def test_a_constant_map_of_the_randomised_classifier_has_no_rank_but_the_least_complexity():
    context = explained(NetToy(), spectrograms(2), Answer(0.5))
    assert all("with random weights: all bins" in reason for reason in score("mprt", context).reasons)
    assert score("efficient_mprt", context).values.tolist() == [-1.0, -1.0]


def test_a_classifier_without_parameters_or_other_classes_is_undefined():
    context = explained(LinearToy(), spectrograms(2))
    for name in ("mprt", "efficient_mprt"):
        assert set(score(name, context).reasons) == {"the classifier has no parameters to randomise"}
    only = explained(NetToy(classes=1), spectrograms(2))
    assert all("one class" in reason for reason in score("random_logit", only).reasons)


def test_the_fully_random_explanation_is_shared():
    asked: list[int] = []

    class Counted(GradientTimesInput):
        def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
            asked.append(len(batch))
            return super().explain(classifier, batch, target)

    context = explained(NetToy(), spectrograms(3), Counted())
    asked.clear()
    first = score("efficient_mprt", context)
    assert asked == [3]
    both = score("mprt", context)
    assert asked == [3] * len(CASCADE)
    apart = explained(NetToy(), spectrograms(3))
    assert torch.equal(both.values, score("mprt", apart).values)
    assert torch.equal(first.values, score("efficient_mprt", apart).values)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["efficient_mprt", "mprt"])
def test_the_classifier_is_as_before_after_an_exception_too(name):
    classifier, x = NetToy(), spectrograms(2)

    class Stopping(GradientTimesInput):
        def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
            if not torch.equal(classifier.linear.weight, NetToy().linear.weight):
                raise _Stop
            return super().explain(classifier, batch, target)

    storage = classifier.first.weight.data_ptr()
    for method, expected in ((GradientTimesInput(), ()), (Stopping(), _Stop)):
        context = explained(classifier, x, method)
        with unchanged(classifier, context.clean.batch, context.target, "scoring"):
            if expected:
                with pytest.raises(expected):
                    score(name, context)
            else:
                score(name, context)
    assert classifier.first.weight.data_ptr() == storage


def test_hooks_see_the_randomised_classifier_and_stay():
    classifier = NetToy()
    seen = []
    classifier.linear.register_forward_hook(lambda module, args, output: seen.append(module.weight.clone()))
    context = explained(classifier, spectrograms(2))
    seen.clear()
    score("efficient_mprt", context)
    assert len(seen) == 1
    assert not torch.equal(seen[0], classifier.linear.weight)
    assert len(classifier.linear._forward_hooks) == 1


@pytest.mark.parametrize(("dataset", "name"), references.shipped())
def test_stages_of_the_shipped_classifiers(dataset, name):
    classifier, _ = checkpoint.resolve(name, dataset)
    stages = WEIGHTS.stages(classifier)
    assert 5 <= len(stages) <= 6
    assert all(layer.startswith("head") for layer, _ in stages[0])
    layers = [layer for stage in stages for layer, _ in stage]
    assert len(layers) == len(set(layers))
    parameters = [id(p) for stage in stages for _, module in stage for p in module.parameters(recurse=False)]
    assert sorted(parameters) == sorted(id(p) for p in classifier.parameters())
    before = {key: tensor.clone() for key, tensor in classifier.named_parameters()}
    with WEIGHTS.restored(classifier):
        for stage in stages:
            WEIGHTS.randomise(stage, seed=0)
        after = {key: tensor.clone() for key, tensor in classifier.named_parameters()}
    for key, tensor in before.items():
        constant = bool((tensor == tensor.flatten()[0]).all())
        assert constant or not torch.equal(after[key], tensor), key
        if tensor.ndim > 1:
            correlation = torch.corrcoef(torch.stack([tensor.flatten(), after[key].flatten()]))[0, 1]
            assert abs(correlation) < 5 / math.sqrt(tensor.numel()), key


def names_of(*modules: nn.Module) -> list[list[str]]:
    return [[name for name, _ in stage] for stage in WEIGHTS.stages(nn.Sequential(*modules))]


def linear() -> nn.Linear:
    return nn.Linear(2, 2)


def test_stages_of_strangers():
    assert names_of() == []
    assert names_of(nn.ReLU()) == []
    assert names_of(linear()) == [["0"]]
    # A lone normalisation goes with what it normalises; dropout and activations are no stages.
    assert names_of(linear(), nn.BatchNorm1d(2), nn.ReLU(), linear(), nn.LayerNorm(2), nn.Dropout()) == [
        ["3", "4"],
        ["0", "1"],
    ]
    # One giant child is opened, through a chain of single children too.
    inner = nn.Sequential(nn.Sequential(*(linear() for _ in range(4))))
    assert names_of(inner, linear()) == [["1"], ["0.0.3"], ["0.0.2"], ["0.0.1"], ["0.0.0"]]
    # Many small ones are put together, all but the last.
    many = names_of(*(linear() for _ in range(13)))
    assert len(many) == 6
    assert many[0] == ["12"]
    assert [name for stage in reversed(many) for name in stage] == [str(i) for i in range(13)]


def test_a_bare_parameter_of_a_container_is_of_a_stage():
    model = nn.Sequential(linear(), linear())
    model.token = nn.Parameter(torch.rand(3, 2))
    assert [[name for name, _ in stage] for stage in WEIGHTS.stages(model)] == [["1"], ["0"], [""]]


def randomised(module: nn.Module, name: str = "layer", seed: int = 0) -> nn.Module:
    copied = copy.deepcopy(module)
    WEIGHTS.randomise([(name, copied)], seed)
    return copied


def test_bare_parameters_keep_mean_and_deviation_and_nothing_else():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Parameter(5 + 3 * torch.rand(200, 100, generator=torch.Generator().manual_seed(0)))

    module = Tokens()
    tokens, trained = randomised(module).tokens.detach(), module.tokens.detach()
    assert float(tokens.mean()) == pytest.approx(float(trained.mean()), abs=0.02)
    assert float(tokens.std()) == pytest.approx(float(trained.std()), rel=0.02)
    assert abs(np.corrcoef(tokens.flatten(), trained.flatten())[0, 1]) < 0.03


def test_weights_are_drawn_by_seed_and_name_and_leave_the_global_state_alone():
    module = nn.Linear(20, 20)
    state = torch.get_rng_state()
    first = randomised(module).weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(first, randomised(module).weight)
    assert torch.equal(first, randomised(nn.Linear(20, 20)).weight)
    assert not torch.equal(first, randomised(module, seed=1).weight)
    assert not torch.equal(first, randomised(module, name="another").weight)


def test_statistics_of_a_normalisation_are_forgotten_even_without_parameters():
    norm = nn.BatchNorm1d(3, affine=False)
    norm(torch.rand(8, 3))
    assert WEIGHTS.layers(nn.Sequential(norm)) == [("0", norm)]
    assert randomised(norm).running_mean.tolist() == [0.0] * 3


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("normalise", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_normalised_weights_are_randomised_although_reset_parameters_does_not_reach_them(normalise):
    model = nn.Sequential(nn.Linear(6, 6), normalise(nn.Linear(6, 6)))
    x = torch.rand(4, 6)
    before = model[1](x)
    kept = {key: tensor.clone() for key, tensor in model.named_parameters()}
    with WEIGHTS.restored(model):
        WEIGHTS.randomise(WEIGHTS.layers(model), seed=0)
        changed = [key for key, tensor in model[1].named_parameters() if not torch.equal(tensor, kept[f"1.{key}"])]
        assert not torch.allclose(model[1](x), before, atol=1e-2)
    assert len(changed) == 3, "magnitude, direction, bias"
    assert torch.equal(model[1](x), before)


def test_a_reset_that_puts_new_tensors_into_the_slots_is_undone():
    class Renewing(nn.Linear):
        def reset_parameters(self) -> None:
            self.weight = nn.Parameter(torch.randn(2, 2))
            self.register_buffer("count", torch.ones(()))

    model = nn.Sequential(Renewing(2, 2))
    weight, content = model[0].weight, model[0].weight.clone()
    with WEIGHTS.restored(model):
        WEIGHTS.randomise(WEIGHTS.layers(model), seed=0)
        assert model[0].weight is not weight
    assert model[0].weight is weight
    assert torch.equal(weight, content)


def test_bins_without_sound_have_no_rank() -> None:
    a, b = torch.rand(2, 3, *SHAPE, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    audible = torch.rand(3, SHAPE[1], generator=torch.Generator().manual_seed(1)) < 0.6
    audible[2] = True
    found = RANKS.Ranks.of(a * audible[:, None, :], audible).correlate(b)
    for one, other, sounds, value in zip(a, b, audible, found, strict=True):
        expected = scipy.stats.spearmanr(one[:, sounds].flatten(), other[:, sounds].flatten()).statistic
        assert float(value) == pytest.approx(expected, abs=1e-12)
    assert RANKS.Ranks.of(a, torch.zeros_like(audible)).constant.all()


@pytest.mark.parametrize("name", ["mprt", "random_logit"])
def test_what_ignores_weights_and_class_scores_1_on_a_padded_clip(name: str) -> None:
    batch, forwarder = toy_batch(2, seconds=1.25), Forwarder(toy_classifier(), 16)
    assert batch.audible is not None
    audible = batch.audible.clone()
    audible[0, 60:] = False
    batch = replace(batch, audible=audible)
    clean = Clean(batch, forwarder.logits_of_clips(batch), forwarder.silence(batch))
    explainer = BoundExplainer(registry.create("methods", "random"), forwarder)
    context = ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)
    assert registry.create("metrics", name).score(context, None).values.tolist() == pytest.approx([1, 1])
