"""The correlation metrics and infidelity against their references, with the draws that the engine made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.references import correlation as reference
from tests.references.values import Clip
from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, RegionToy, context, ids, probability_function
from xaibench import registry
from xaibench.classifiers.base import PictureClassifier
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric
from xaibench.sound import cells
from xaibench.testing import GradientTimesInput

_cells = Lazy("xaibench.metrics._cells")
correlation = Lazy("xaibench.metrics.correlation")
infidelity = Lazy("xaibench.metrics.infidelity")

CORRELATIONS = ["faithfulness_correlation", "sensitivity_n", "faithfulness_estimate", "monotonicity_correlation"]
NAMES = [*CORRELATIONS, "infidelity"]
SHAPES = [(9, 7), (26, 31)]
CLIPS = 4
TEMPERATURE = 0.3  # far from certain, and nearly linear


class Contribution(GradientTimesInput):
    """Its maps count as contributions: their sign says for or against."""

    polarity = "positive"


def toy() -> LinearToy:
    return LinearToy(temperature=TEMPERATURE)


def metric(name: str) -> Metric:
    return registry.load("metrics", name)()


def clips(shape: tuple[int, int], count: int = CLIPS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Spectrograms and signed maps without ties in size that follow the classifier in part."""
    generator = torch.Generator().manual_seed(seed + shape[0])
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]
    return x, x * torch.randn(count, *shape, generator=generator)


def signed(x: Tensor, maps: Tensor, polarity: str, **settings) -> ScoringContext:
    """Evidence whose method declares the polarity."""
    made = context(toy(), x, maps, **settings)
    method = {"absolute": GradientTimesInput, "positive": Contribution}[polarity]()
    return ScoringContext(made.clean, maps, BoundExplainer(method, made.explainer.forwarder))


def subsets(made: ScoringContext, perturbations: list) -> list[list[np.ndarray]]:
    """What each perturbation silences of each clip, bool (freq, time): read off a clip of ones."""
    ones = torch.ones_like(made.clean.batch.x)
    blank = ScoringContext(
        replace(made.clean, batch=replace(made.clean.batch, x=ones)), made.attribution, made.explainer
    )
    silenced = [(one.apply(blank) == 0).numpy() for one in perturbations]
    return [[one[i] for one in silenced] for i in range(len(made))]


def as_clip(made: ScoringContext, maps: Tensor, i: int) -> Clip:
    x = made.clean.batch.x[i].numpy()
    return Clip(x, maps[i].numpy(), probability_function(toy()), np.ones(x.shape, dtype=bool))


def contribution(made: ScoringContext) -> Tensor:
    """A contribution map as it is, the size of a sensitivity map."""
    return made.attribution if isinstance(made.explainer.method, Contribution) else made.attribution.abs()


@pytest.mark.parametrize("polarity", ["absolute", "positive"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_faithfulness_correlation_and_sensitivity_n_equal_their_references(shape, polarity):
    x, maps = clips(shape)
    made = signed(x, maps, polarity)
    whole, sizes = metric("faithfulness_correlation"), metric("sensitivity_n")
    correlations, means = (one.score(made, None).values.tolist() for one in (whole, sizes))
    assert min(correlations) < max(correlations) - 0.05
    drawn, drawn_n = subsets(made, whole.perturbations(())), subsets(made, sizes.perturbations(()))
    for i in range(CLIPS):
        clip = as_clip(made, contribution(made), i)
        assert correlations[i] == pytest.approx(reference.faithfulness_correlation(clip, drawn[i]), abs=1e-9)
        by_n = [drawn_n[i][start : start + 20] for start in (0, 20, 40, 60)]
        assert means[i] == pytest.approx(reference.sensitivity_n(clip, by_n), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_faithfulness_estimate_equals_its_reference(shape):
    x, maps = clips(shape)
    made = signed(x, maps, "absolute")
    values = metric("faithfulness_estimate").score(made, None).values.tolist()
    for i in range(CLIPS):
        clip = as_clip(made, maps.abs(), i)
        assert values[i] == pytest.approx(reference.faithfulness_estimate(clip, None), abs=1e-9)


@pytest.mark.parametrize("polarity", ["absolute", "positive"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_monotonicity_correlation_equals_its_reference(shape, polarity):
    """For every method the bands go by |a|; each draw changes its band alone, to values of the clip."""
    x, maps = clips(shape)
    made = signed(x, maps, polarity)
    scorer = metric("monotonicity_correlation")
    values = scorer.score(made, None).values.tolist()
    changed = [one.apply(made).numpy() for one in scorer.perturbations(())]
    for i in range(CLIPS):
        clip = as_clip(made, maps.abs(), i)
        draws = [[one[i] for one in changed[start : start + 3]] for start in range(0, 60, 3)]
        for band, versions in zip(reference.bands(clip), draws, strict=True):
            for version in versions:
                assert np.array_equal(version[~band], clip.x[~band])
                assert np.isin(version[band], clip.x).all()
                assert (version[band] != clip.x[band]).any()
        assert len({one.tobytes() for versions in draws for one in versions}) == 60
        assert values[i] == pytest.approx(reference.monotonicity_correlation(clip, draws), abs=1e-9)


@pytest.mark.parametrize("polarity", ["absolute", "positive"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_infidelity_equals_its_reference(shape, polarity):
    """A sensitivity map is multiplied by what is silenced, a contribution map is not; signs count in both."""
    x, maps = clips(shape)
    made = signed(x, maps, polarity)
    scorer = metric("infidelity")
    values = scorer.score(made, None).values.tolist()
    effect = (maps.double() * x.double() if polarity == "absolute" else maps).numpy()
    drawn = subsets(made, scorer.perturbations(()))
    plain = infidelity.infidelity(
        _cells.subset_sums(made, infidelity.SUBSETS, infidelity.effect(made)), _cells.drops(made, infidelity.SUBSETS)
    ).tolist()
    for i in range(CLIPS):
        clip = as_clip(made, maps, i)
        assert values[i] == pytest.approx(reference.infidelity(clip, effect[i], drawn[i]), abs=1e-12)
        assert plain[i] == pytest.approx(reference.infidelity(clip, effect[i], drawn[i], scale=False), rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (9, 7), (26, 31), (513, 431)], ids=str)
def test_cells_cut_the_grid_into_near_equal_rectangles(shape):
    index = cells.cell_index(shape, torch.device("cpu"))
    assert index.dtype == torch.int64
    assert np.array_equal(index.numpy(), reference.cells(shape))
    assert index.unique().tolist() == list(range(cells.cell_count(shape)))
    rows, columns = cells.cell_sides(shape)
    for of_side, count in ((index[:, 0] // columns, rows), (index[0] % columns, columns)):
        sizes = of_side.bincount(minlength=count)
        assert int(sizes.max() - sizes.min()) <= 1


def test_cell_sums_and_means():
    maps = torch.rand(2, 26, 31, generator=torch.Generator().manual_seed(0))
    index = reference.cells((26, 31))
    sums, means = cells.cell_sums(maps), cells.cell_means(maps)
    assert sums.shape == (2, 144)
    for i in range(2):
        for cell in (0, 11, 70, 143):
            inside = maps[i].numpy()[index == cell].astype(float)
            assert float(sums[i, cell]) == pytest.approx(inside.sum(), rel=1e-12)
            assert float(means[i, cell]) == pytest.approx(inside.mean(), rel=1e-12)
    assert torch.equal(cells.on_bins(sums, (26, 31))[1], sums[1][torch.from_numpy(index)])
    small = cells.cell_means(maps[:, :24, :30], (8, 15))  # 3 x 2 bins each
    torch.testing.assert_close(small.view(2, 8, 15).float(), torch.nn.functional.avg_pool2d(maps[:, :24, :30], (3, 2)))


@pytest.mark.parametrize("name", CORRELATIONS)
def test_padding_is_in_no_band_and_its_attribution_counts_nowhere(name: str) -> None:
    """A clip with a padded end scores the same whatever the method says of the padding, and padding stays silent."""
    x, maps = clips((26, 31))
    audible = torch.ones(CLIPS, 31, dtype=torch.bool)
    audible[:, 20:] = False
    x[:, :, 20:], loud = 0.0, maps.clone()
    maps[:, :, 20:], loud[:, :, 20:] = 0.0, 5.0
    found = []
    for one in (maps, loud):
        made = signed(x, one, "positive")
        batch = replace(made.clean.batch, audible=audible)
        padded = ScoringContext(replace(made.clean, batch=batch), one, made.explainer)
        found.append(metric(name).score(padded, None).values)
        for perturbation in metric(name).perturbations(()):
            assert not torch.as_tensor(perturbation.apply(padded))[:, :, 20:].any()
    torch.testing.assert_close(found[0], found[1], equal_nan=True)
    bands = [correlation._band(padded, padded.ranking, band) for band in range(correlation.BANDS)]
    sizes = torch.stack([band.flatten(1).sum(dim=1) for band in bands])
    assert (sizes.sum(dim=0) == 26 * 20).all() and int(sizes.max() - sizes.min()) <= 1


@pytest.mark.parametrize(("share", "size"), [(0.05, 7), (0.10, 14), (0.20, 29), (0.40, 58)])
def test_a_subset_is_whole_cells_of_its_share(share, size):
    x, maps = clips((26, 31))
    made = signed(x, maps, "absolute")
    index = reference.cells((26, 31))
    drawn = subsets(made, [_cells.RandomCellsSilenced(share, draw) for draw in range(10)])
    for one in drawn:
        for subset in one:
            silent = set(index[subset].tolist())
            assert len(silent) == size
            assert np.array_equal(subset, np.isin(index, list(silent)))
    assert len({subset.tobytes() for one in drawn for subset in one}) == 10 * CLIPS
    counts = np.mean([subset for one in drawn for subset in one], axis=0)
    assert counts.min() < share < counts.max()


def test_draws_are_shared():
    """Three metrics need 110 forwards together, not 180."""
    names = ("faithfulness_correlation", "sensitivity_n", "infidelity")
    wanted = [one for name in names for one in metric(name).perturbations(())]
    assert len(wanted) == 180
    assert len(set(wanted)) == 110
    assert set(metric("infidelity").perturbations(())) == set(metric("faithfulness_correlation").perturbations(()))


def test_draws_belong_to_the_clip_and_not_to_the_method():
    x, maps = clips((26, 31))
    one, other = signed(x, maps, "absolute"), signed(x, -maps.flip(1), "positive")
    silenced = _cells.RandomCellsSilenced(0.2, 3)
    assert torch.equal(silenced.chosen(one), silenced.chosen(other))
    order = [2, 0]
    alone = signed(x[order], maps[order], "absolute", clip_ids=[ids(CLIPS)[i] for i in order])
    assert torch.equal(silenced.chosen(alone), silenced.chosen(one)[order])


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_scores_the_same_alone_and_in_any_batch(name):
    x, maps = clips((26, 31))
    made = signed(x, maps, "positive")
    values = metric(name).score(made, None).values
    order = [3, 1, 0]
    shuffled = signed(x[order], maps[order], "positive", clip_ids=[ids(CLIPS)[i] for i in order], batch_size=2)
    assert torch.allclose(metric(name).score(shuffled, None).values, values[order], rtol=0, atol=1e-11)
    again = signed(x, maps, "positive")
    assert torch.equal(metric(name).score(again, None).values, values)


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize("level", [0.0, 1 / 3, 1e30])
def test_a_constant_map_has_no_correlation(name, level):
    """Cells differ in size by a row or a column, so that their sums alone would correlate with something."""
    x, maps = clips((26, 31))
    maps[1] = level
    result = metric(name).score(signed(x, maps, "positive"), None)
    assert [reason is None for reason in result.reasons] == [True, False, True, True]
    assert "same everywhere" in result.reasons[1]
    assert result.values.isnan().tolist() == [False, True, False, False]


def test_a_map_that_differs_only_within_cells_has_no_correlation_over_cells():
    x, _ = clips((48, 36), count=2)
    stripes = torch.zeros(2, 48, 36)
    stripes[:, ::4] = 0.1  # one row of every cell's four
    for name in ("faithfulness_correlation", "sensitivity_n"):
        result = metric(name).score(signed(x, stripes, "positive"), None)
        assert all("same importance" in reason for reason in result.reasons)
        assert result.values.isnan().all()


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_certain_classifier_leaves_nothing_to_correlate_with(name):
    """At p_c = 1 - 1e-9 all drops are rounding."""
    x, maps = clips((9, 7), count=2)
    x[0, :3] += 500
    made = context(RegionToy(), x, maps.abs())
    assert float(1 - made.p_full[0]) < 1e-9
    result = metric(name).score(made, None)
    assert result.reasons[1] is None
    if name != "sensitivity_n":  # 40% of the cells may be all of the loud ones
        assert "changes equally" in result.reasons[0]


@pytest.mark.parametrize("name", CORRELATIONS)
def test_silence_has_no_correlation(name):
    x, maps = clips((9, 7), count=2)
    x[1] = 0
    result = metric(name).score(context(LinearToy(), x, maps.abs()), None)
    assert result.reasons[0] is None
    assert "changes equally" in result.reasons[1]


def test_infidelity_of_a_zero_map_is_the_mean_squared_drop():
    x, maps = clips((9, 7))
    maps[1] = 0
    made = signed(x, maps, "positive")
    result = metric("infidelity").score(made, None)
    assert result.reasons == (None,) * CLIPS
    worst = _cells.drops(made, infidelity.SUBSETS).square().mean(dim=1)
    assert float(result.values[1]) == float(worst[1])
    assert (result.values <= worst * (1 + 1e-12)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [2.0**-100, 2.0**90])
def test_the_scale_of_a_map_does_not_count(name, factor):
    x, maps = clips((9, 7))
    values = metric(name).score(signed(x, maps, "positive"), None).values
    other = metric(name).score(signed(x, maps * factor, "positive"), None).values
    assert torch.allclose(values, other, rtol=1e-9, atol=1e-12)


def drop_by_bin(x: Tensor) -> Tensor:
    """Gradient of p_c times x: to first order, what every definition asks of a map."""
    leaf = x.clone().requires_grad_()
    classifier = toy()
    p = torch.softmax(classifier.temperature * classifier.picture_logits(leaf), dim=1)
    (gradient,) = torch.autograd.grad(p.amax(dim=1).sum(), leaf)
    return gradient * x


def test_direction():
    """The true contributions beat random ones; their opposite is worst where the sign counts."""
    x, _ = clips((26, 31), count=6, seed=3)
    true = drop_by_bin(x)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(1))
    found = {
        (name, kind): metric(name).score(signed(x, maps, "positive"), None).values
        for name in ("faithfulness_correlation", "sensitivity_n", "infidelity")
        for kind, maps in {"true": true, "random": noise, "opposite": -true}.items()
    }
    for name in ("faithfulness_correlation", "sensitivity_n"):
        assert (found[name, "true"] > 0.9).all()
        assert float(found[name, "random"].abs().mean()) < 0.4
        assert torch.allclose(found[name, "opposite"], -found[name, "true"])
    assert (found["infidelity", "true"] < 0.2 * found["infidelity", "random"]).all()
    # The best unit of the opposite is negative.
    assert torch.allclose(found["infidelity", "opposite"], found["infidelity", "true"])


class Weighted(PictureClassifier):
    """Class 0 against class 1 by a weighted mean of the bins."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__("weighted", "toy", ["loud", "quiet"], temperature=1.0)
        self.weight = weight

    def picture_logits(self, x: Tensor) -> Tensor:
        return (self.weight * x.double()).mean(dim=(1, 2))[:, None] * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize("name", ["faithfulness_estimate", "monotonicity_correlation"])
def test_direction_over_bands(name):
    """A map that is the weight of each bin beats one that is not."""
    generator = torch.Generator().manual_seed(3)
    x, noise = torch.rand(2, 6, 26, 31, generator=generator)
    weight = torch.rand(26, 31, generator=generator) ** 2
    true, random = (
        metric(name).score(context(Weighted(weight), x, maps), None).values for maps in (weight.expand_as(x), noise)
    )
    assert (true > 0.7).all()
    assert float(random.mean()) < 0.4


def test_infidelity_of_a_linear_functions_gradient_is_small_and_of_its_size_is_not():
    """The definition multiplies a gradient by what is taken away; the sign is what makes it a forecast."""
    x, _ = clips((26, 31), count=6, seed=3)
    gradient = torch.where(x > 0, drop_by_bin(x) / x, 0.0)
    with_sign, without = (
        metric("infidelity").score(signed(x, maps, "absolute"), None).values for maps in (gradient, gradient.abs())
    )
    assert (with_sign < 0.2 * without).all()


def test_spearman_shares_ranks_between_equal_values():
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 6, (5, 20)).astype(float) for _ in range(2))
    found = correlation.spearman(torch.from_numpy(a), torch.from_numpy(b)).tolist()
    assert found == pytest.approx([reference.spearman(list(p), list(q)) for p, q in zip(a, b, strict=True)], abs=1e-12)


def test_changes_below_rounding_are_one_rank_in_monotonicity(monkeypatch):
    """Else bands that change nothing would be ordered by the rounding of their batch."""
    x, maps = clips((26, 31), count=1)
    made = signed(x, maps, "positive")
    changes = torch.zeros(1, 60, dtype=torch.float64)
    changes[0, :3] = 0.5
    values = []
    for seed in range(2):
        noise = 1e-8 * torch.randn(1, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        monkeypatch.setattr("xaibench.metrics.correlation.drops", lambda *_, noise=noise: changes + noise)
        values.append(float(metric("monotonicity_correlation").score(made, None).values))
    assert values[0] == values[1]
    assert 0 < values[0] < 1
