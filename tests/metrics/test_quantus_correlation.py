"""Agreement, clip by clip, with Quantus 0.6 (and Captum, for infidelity) on real clips, maps and resolution.

Quantus draws bins, this engine cells: its draws are replaced by the engine's, so that both silence the same bins.
It computes in float32 where the model does; the model here returns float64 probabilities. Its `normalise` is off:
it divides by the largest value of the batch.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from tests.support.toy import LinearToy
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.sound import audio, cells
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10

captum_metrics = Lazy("captum.metrics")
quantus = Lazy("quantus")
_cells = Lazy("xaibench.metrics._cells")
correlation = Lazy("xaibench.metrics.correlation")
infidelity = Lazy("xaibench.metrics.infidelity")

CLIPS = 2
DIVISIBLE = (504, 420)  # as much of 513 x 431 as Quantus's equal steps of a twentieth can divide


class Probabilities(nn.Module):
    """Float64 probabilities of (batch, 1, freq, time), as the engine has them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.forwarder = Forwarder(classifier, batch_size=16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.forwarder.logits(x[:, 0].float()), dim=1)


class Padded(PictureClassifier):
    """A classifier of cropped spectrograms: what was cut off is silence."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__("padded", "esc10", classifier.classes, classifier.temperature)
        self.whole = classifier

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.whole.picture_logits(nn.functional.pad(x, (0, 431 - x.shape[2], 0, 513 - x.shape[1])))


def explained(classifier: Classifier, x: Tensor, method: str = "saliency") -> ScoringContext:
    forwarder = Forwarder(classifier, batch_size=16)
    batch = Batch(x, tuple(f"clip-{i}" for i in range(len(x))))
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    explainer = BoundExplainer(registry.create("methods", method), forwarder)
    return ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return checkpoint.resolve("cnn-micro", "esc10")[0]


@pytest.fixture(scope="module")
def spectrograms(esc50_folder: Path) -> Tensor:
    source = Esc10(esc50_folder)
    clips = source.in_folds([5])[::30][:CLIPS]
    return audio.spectrogram(torch.stack([torch.from_numpy(source.waveform(clip)) for clip in clips]))


@pytest.fixture(scope="module")
def real(classifier: Classifier, spectrograms: Tensor) -> ScoringContext:
    """Two real clips at their own resolution, explained by saliency."""
    return explained(classifier, spectrograms)


@pytest.fixture(scope="module")
def cropped(classifier: Classifier, spectrograms: Tensor) -> ScoringContext:
    """The same clips, cropped."""
    return explained(Padded(classifier), spectrograms[:, : DIVISIBLE[0], : DIVISIBLE[1]].contiguous())


def ours(name: str, made: ScoringContext) -> list[float]:
    return registry.load("metrics", name)().score(made, None).values.tolist()


def inputs(made: ScoringContext, maps: Tensor, i: slice = slice(None)) -> dict:
    """Arguments of a Quantus metric."""
    return {
        "model": Probabilities(made.classifier).eval(),
        "x_batch": made.clean.batch.x[i, None].numpy().astype(np.float64),
        "y_batch": made.target[i].numpy(),
        "a_batch": maps[i, None].numpy().astype(np.float64),
        "channel_first": True,
        "softmax": False,  # some metrics' default is True, which would be a softmax of probabilities
    }


def theirs(metric: quantus.Metric, arguments: dict) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [float(value) for value in metric(**arguments)]


def settings() -> dict:
    """Silence for a baseline: Quantus's own, "black", is the smallest value found, seldom 0."""
    return {"normalise": False, "disable_warnings": True, "return_aggregate": False, "perturb_baseline": 0.0}


def silenced(made: ScoringContext, subsets: list, i: int) -> list[np.ndarray]:
    """The bins that each subset silences of clip i, bool (bins,)."""
    index = cells.cell_index(made.clean.batch.picture_shape, torch.device("cpu")).flatten()
    return [subset.chosen(made)[i][index].numpy() for subset in subsets]


def test_faithfulness_correlation(real, monkeypatch):
    subsets = correlation.FaithfulnessCorrelation().perturbations(())
    found = []
    for i in range(CLIPS):
        draws = iter([np.flatnonzero(bins) for bins in silenced(real, subsets, i)])
        monkeypatch.setattr(np.random, "choice", lambda *_, draws=draws, **__: next(draws))
        scorer = quantus.FaithfulnessCorrelation(nr_runs=len(subsets), **settings())
        found += theirs(scorer, inputs(real, real.importance, slice(i, i + 1)))
        assert next(draws, None) is None
    np.testing.assert_allclose(ours("faithfulness_correlation", real), found, rtol=0, atol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_faithfulness_estimate(cropped):
    """Quantus needs steps that divide the number of bins: 21 bins short of 98% of the grid."""
    step = DIVISIBLE[0] * DIVISIBLE[1] // correlation.BANDS
    scorer = quantus.FaithfulnessEstimate(features_in_step=step, **settings())
    found = theirs(scorer, inputs(cropped, cropped.importance))
    np.testing.assert_allclose(ours("faithfulness_estimate", cropped), found, rtol=0, atol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_faithfulness_estimate_on_the_whole_grid(real, monkeypatch):
    """513 x 431 has no twentieth, so that Quantus refuses; its last step would be 17 bins short of the others."""
    step = -(-real.clean.batch.x[0].numel() // correlation.BANDS)
    scorer = quantus.FaithfulnessEstimate(features_in_step=step, **settings())
    with pytest.raises(AssertionError, match="modulo remainder"):
        theirs(scorer, inputs(real, real.importance))
    module = Lazy("quantus.metrics.faithfulness.faithfulness_estimate")
    monkeypatch.setattr(module.asserts, "assert_features_in_step", lambda **_: None)
    found = theirs(scorer, inputs(real, real.importance))
    np.testing.assert_allclose(ours("faithfulness_estimate", real), found, rtol=0, atol=0.02)


def quantus_sensitivity_n(made: ScoringContext, subsets: list, i: int) -> float:
    """One clip's correlation over subsets, from Quantus's correlation over clips.

    Its "batch" is the clip once for each subset, the map zero outside it, and one step takes all bins.
    """
    masks = np.stack(silenced(made, subsets, i))
    arguments = inputs(made, made.importance, slice(i, i + 1))
    arguments = {key: np.repeat(v, len(masks), 0) if isinstance(v, np.ndarray) else v for key, v in arguments.items()}
    arguments["a_batch"] = arguments["a_batch"] * masks.reshape(arguments["a_batch"].shape)
    scorer = quantus.SensitivityN(
        features_in_step=masks.shape[1],
        n_max_percentage=1.0,
        perturb_func=lambda arr, **_: np.where(masks, 0.0, arr),
        **settings(),
    )
    (value,) = theirs(scorer, arguments)
    return value


def test_sensitivity_n(real):
    shares = correlation.SENSITIVITY_SHARES
    sizes = [correlation._draws(share, correlation.SENSITIVITY_DRAWS) for share in shares]
    found = np.mean([quantus_sensitivity_n(real, subsets, 1) for subsets in sizes])
    assert ours("sensitivity_n", real)[1] == pytest.approx(found, rel=0, abs=1e-5)


def toy_evidence(spectrograms: Tensor) -> ScoringContext:
    """Real clips pooled to 24 x 20 bins for a small classifier: for what Quantus does, rather than its values."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(spectrograms[:, None], (24, 20))[:, 0]
    return explained(LinearToy(temperature=0.3), pooled, "input-x-gradient")


def test_sensitivity_n_of_quantus_correlates_across_clips(spectrograms):
    """Its value is one for each n and none for a clip: of one clip, or of one clip twice, it is nothing at all."""
    made = toy_evidence(spectrograms)
    scorer = quantus.SensitivityN(features_in_step=48, n_max_percentage=0.8, **settings())
    assert len(theirs(scorer, inputs(made, made.importance))) == 8
    one = inputs(made, made.importance, slice(0, 1))
    with pytest.raises(ValueError, match="at least 2"):
        theirs(scorer, one)
    twice = {key: np.repeat(value, 2, 0) if isinstance(value, np.ndarray) else value for key, value in one.items()}
    assert np.isnan(theirs(scorer, twice)).all()
    values = ours("sensitivity_n", made)
    assert np.isfinite(values).all()


def test_monotonicity_correlation(cropped):
    """Quantus takes bands from the least important and all draws of a band in turn; 1 / p_c(x)^2 changes no rank."""
    bands, draws = correlation.BANDS, correlation.REPLACEMENTS
    order = [correlation.BandReplaced(band, draw) for band in reversed(range(bands)) for draw in range(draws)]
    changed = iter([one.apply(cropped).flatten(1).numpy() for one in order])
    scorer = quantus.MonotonicityCorrelation(
        features_in_step=DIVISIBLE[0] * DIVISIBLE[1] // bands,
        nr_samples=draws,
        perturb_func=lambda **_: next(changed),
        **settings(),
    )
    found = theirs(scorer, inputs(cropped, cropped.attribution.abs()))
    assert next(changed, None) is None
    np.testing.assert_allclose(ours("monotonicity_correlation", cropped), found, rtol=0, atol=1e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_monotonicity_correlation_of_quantus_fails_where_some_clips_are_improbable(spectrograms):
    made = toy_evidence(spectrograms)
    scorer = quantus.MonotonicityCorrelation(features_in_step=24, eps=float(made.p_full.mean()), **settings())
    with pytest.raises(ValueError, match="cannot assign"):
        theirs(scorer, inputs(made, made.importance))


def test_unscaled_infidelity(cropped):
    """On Quantus's own perturbations: it silences the squares one after the other and never restores them.

    The mean is therefore over a growing silenced corner, and more samples only repeat it.
    """
    side, (rows, columns) = 84, DIVISIBLE
    scorer = quantus.Infidelity(perturb_patch_sizes=[side], n_perturb_samples=1, **settings())
    found = theirs(scorer, inputs(cropped, cropped.attribution))
    again = quantus.Infidelity(perturb_patch_sizes=[side], n_perturb_samples=2, **settings())
    assert theirs(again, inputs(cropped, cropped.attribution)) == pytest.approx(found)

    effect, x = infidelity.effect(cropped), cropped.clean.batch.x.clone()
    gone = torch.zeros(DIVISIBLE, dtype=torch.bool)
    forecast, changes = [], []
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            gone[top : top + side, left : left + side] = True
            p = torch.softmax(cropped.explainer.forwarder.logits(x.masked_fill(gone, 0.0)), dim=1)
            forecast.append((effect * gone).sum(dim=(1, 2)))
            changes.append(cropped.p_full - cropped.of_target(p))
    values = infidelity.infidelity(torch.stack(forecast, dim=1), torch.stack(changes, dim=1))
    np.testing.assert_allclose(values.numpy(), found, rtol=1e-5)


def test_infidelity_of_quantus_needs_squares_that_tile_the_grid(real):
    scorer = quantus.Infidelity(perturb_patch_sizes=[84], n_perturb_samples=1, **settings())
    with pytest.raises(ValueError, match="reshape"):
        theirs(scorer, inputs(real, real.attribution))


@pytest.mark.parametrize(("method", "scale"), [("saliency", True), ("input-x-gradient", False)])
def test_infidelity_on_the_engines_squares(real, classifier, spectrograms, method, scale):
    """Captum has the scaled definition too. I is x for a gradient, and 1 for a map that is a contribution already."""
    made = real if method == "saliency" else explained(classifier, spectrograms[:1], method)
    subsets = infidelity.SUBSETS
    masks = torch.from_numpy(np.stack(silenced(made, list(subsets), 0))).view(-1, *made.clean.batch.picture_shape)
    x, attribution = made.clean.batch.x[:1].double(), made.attribution[:1].double()
    drawn = iter(masks.split(1))

    def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
        mask = next(drawn)
        return mask * (x if method == "saliency" else 1.0), x * ~mask

    module = Probabilities(made.classifier)
    found = captum_metrics.infidelity(
        lambda x: module(x[:, None]),
        perturb,
        x,
        attribution,
        target=made.target[:1],
        n_perturb_samples=len(subsets),
        max_examples_per_batch=1,
        normalize=scale,
    )
    forecast = _cells.subset_sums(made, subsets, infidelity.effect(made))
    plain = infidelity.infidelity(forecast, _cells.drops(made, subsets)).tolist()
    expected = ours("infidelity", made) if scale else plain
    np.testing.assert_allclose(expected[:1], found.numpy(), rtol=1e-5)
