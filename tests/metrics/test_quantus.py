"""Agreement, clip by clip, with Quantus 0.6 where it computes the same thing, and the exact difference where not.

Quantus runs with normalise=False: its default divides by the largest value of the *batch*, so that a
clip's value can depend on its neighbours. It works in place, so it is given copies.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, context
from xaibench import registry

quantus = Lazy("quantus")

SHAPE = (64, 54)
CLIPS = 6


def smooth_maps(seed: int) -> np.ndarray:
    """Maps like those of real explainers: smooth blobs, a floor, peaks; float32, without ties."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((CLIPS, *SHAPE))
    blobs = gaussian_filter(noise, (0, 5, 4)) * 25
    maps = np.maximum(blobs, 0) ** 2 + 0.02 * random.random((CLIPS, *SHAPE))
    rank = maps.reshape(CLIPS, -1).argsort(axis=1).argsort(axis=1).reshape(maps.shape)
    return (maps + 2e-5 * rank).astype(np.float32)  # no two bins round to one float32


def known_evidence(maps: np.ndarray, seed: int) -> np.ndarray:
    """Evidence that the maps find in part."""
    blurred = gaussian_filter(maps.astype(float), (0, 3, 3))
    shifted = blurred + gaussian_filter(np.random.default_rng(seed).random(maps.shape), (0, 4, 4)) * blurred.max()
    return shifted > np.quantile(shifted, 0.85, axis=(1, 2), keepdims=True)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    found = smooth_maps(0)
    assert all(len(np.unique(one)) == one.size for one in found)
    return found


@pytest.fixture(scope="module")
def known(maps) -> np.ndarray:
    return known_evidence(maps, 1)


def ours(name: str, maps: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    importance = torch.from_numpy(maps.astype(np.float32))
    mask = None if known is None else torch.from_numpy(known)
    made = context(LinearToy(), torch.ones_like(importance), importance, mask)
    return registry.load("metrics", name)().score(made, None).values.numpy()


def theirs(metric: type, maps: np.ndarray, known: np.ndarray | None = None, **settings) -> np.ndarray:
    scorer = metric(normalise=False, disable_warnings=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = scorer(
            model=None,
            x_batch=np.ones((len(maps), 1, *maps.shape[1:])),
            y_batch=np.zeros(len(maps), dtype=int),
            a_batch=maps.astype(np.float64)[:, None].copy(),
            s_batch=None if known is None else known[:, None].copy(),
            channel_first=True,
        )
    return np.asarray(values, dtype=float)


def test_sparseness_but_for_the_floor_that_quantus_adds(maps):
    """Quantus adds 1e-7 to every bin: G_q = G * S / (S + n * 1e-7), S the sum of the map."""
    total = maps.astype(float).sum(axis=(1, 2))
    quantus_values = theirs(quantus.Sparseness, maps)
    floor = 1e-7 * maps[0].size
    np.testing.assert_allclose(ours("sparseness", maps), quantus_values * (total + floor) / total, rtol=1e-12)
    np.testing.assert_allclose(ours("sparseness", maps), quantus_values, rtol=1e-5)


def test_sparseness_of_a_faint_map_is_where_the_floor_of_quantus_matters(maps):
    faint = maps * np.float32(2.0**-30)
    np.testing.assert_allclose(ours("sparseness", faint), ours("sparseness", maps), rtol=1e-12)
    assert (theirs(quantus.Sparseness, faint) < 0.1 * ours("sparseness", faint)).all()


def test_complexity_but_for_the_epsilon_in_quantus_logarithm(maps):
    """Quantus takes log(share + 1e-12), which lowers the entropy by at most n * 1e-12."""
    difference = ours("complexity", maps) - theirs(quantus.Complexity, maps)
    assert (difference >= -1e-12).all()
    assert (difference <= maps[0].size * 1e-12 + 1e-12).all()


def test_effective_complexity_of_maps_divided_by_their_largest_value(maps):
    """Quantus compares with eps as it stands: its count is ours where each map's largest value is 1."""
    # Faint bins on both sides of the threshold, none so close to it that rounding decides.
    faint = (maps**4).astype(np.float32)
    normalised = faint.astype(float) / faint.max(axis=(1, 2), keepdims=True).astype(float)
    expected = theirs(quantus.EffectiveComplexity, normalised)
    assert 0.05 * maps[0].size < expected.min() < expected.max() < 0.95 * maps[0].size
    assert ours("effective_complexity", faint).tolist() == expected.tolist()
    assert (theirs(quantus.EffectiveComplexity, 1000 * normalised) > expected).all()


def test_top_k_intersection(maps, known):
    beside = np.roll(known, 9, axis=2)  # all of the highest bins are in `known` itself
    expected = theirs(quantus.TopKIntersection, maps, beside, k=round(0.02 * maps[0].size))
    assert len(set(expected)) > 3
    np.testing.assert_allclose(ours("top_k_intersection", maps, beside), expected, rtol=1e-12)


def test_relevance_mass(maps, known):
    expected = theirs(quantus.RelevanceMassAccuracy, maps, known)
    np.testing.assert_allclose(ours("relevance_mass", maps, known), expected, rtol=1e-12)


def test_relevance_rank(maps, known):
    expected = theirs(quantus.RelevanceRankAccuracy, maps, known)
    assert 0.05 < expected.min() < expected.max() < 0.95
    np.testing.assert_allclose(ours("relevance_rank", maps, known), expected, rtol=1e-12)


def test_relevance_rank_of_tied_maps_lies_between_the_best_and_the_worst_order(maps, known):
    """Both break ties arbitrarily, Quantus by numpy's unstable sort, so only the range is common."""
    tied = np.round(maps, 0)
    nudge = 0.25 * known
    best = theirs(quantus.RelevanceRankAccuracy, tied + nudge, known)
    worst = theirs(quantus.RelevanceRankAccuracy, tied - nudge, known)
    assert (worst < best).all()
    for values in (ours("relevance_rank", tied, known), theirs(quantus.RelevanceRankAccuracy, tied, known)):
        assert (worst <= values).all()
        assert (values <= best).all()


def test_pointing_game(maps):
    peaks = np.zeros(maps.shape, dtype=bool)
    for i, one in enumerate(maps):
        f, t = np.unravel_index(one.argmax(), SHAPE)
        peaks[i, f, t] = i % 2 == 0  # every second clip's evidence holds the maximum
        peaks[i, (f + 7) % SHAPE[0]] = True
    expected = theirs(quantus.PointingGame, maps, peaks)
    assert expected.tolist() == [1, 0, 1, 0, 1, 0]
    assert ours("pointing_game", maps, peaks).tolist() == expected.tolist()


def test_pointing_game_where_maxima_tie(known):
    """Quantus counts a hit if any maximum is on the evidence; one bin drawn at random decides here."""
    constant = np.ones((CLIPS, *SHAPE))
    constant[:, 0, 0] = 0.5  # Quantus refuses a map of equal values
    assert theirs(quantus.PointingGame, constant, known).tolist() == [1.0] * CLIPS
    assert set(ours("pointing_game", constant, known).tolist()) <= {0.0, 1.0}
    assert ours("pointing_game", np.tile(constant, (20, 1, 1)), np.tile(known, (20, 1, 1))).mean() < 0.35


@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "tied"])
def test_localisation_auc(maps, known, tied):
    scored = np.round(maps, 1) if tied else maps
    expected = theirs(quantus.AUC, scored, known)
    assert expected.min() > 0.5
    np.testing.assert_allclose(ours("localisation_auc", scored, known), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["relevance_mass", "relevance_rank", "pointing_game", "localisation_auc", "top_k_intersection"]
)
def test_without_evidence(name, maps, known):
    """Undefined in both, except that Quantus's pointing game stores its NaN in a bool array: a hit."""
    metric = {
        "relevance_mass": quantus.RelevanceMassAccuracy,
        "relevance_rank": quantus.RelevanceRankAccuracy,
        "pointing_game": quantus.PointingGame,
        "localisation_auc": quantus.AUC,
        "top_k_intersection": quantus.TopKIntersection,
    }[name]
    some = known.copy()
    some[2] = False
    assert math.isnan(ours(name, maps, some)[2])
    if name == "pointing_game":
        assert theirs(metric, maps, some)[2] == 1.0
    else:
        assert math.isnan(theirs(metric, maps, some)[2])
