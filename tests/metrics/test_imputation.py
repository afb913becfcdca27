"""ROAD: the imputation against elimination, then the metric against its reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from tests.references.regions import imputed, road, road_input
from tests.references.values import Clip
from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, RegionToy, context, ids, probability_function
from xaibench import registry
from xaibench.results.areas import AREAS

imputation = Lazy("xaibench.metrics.imputation")


def spectrograms(count: int, shape: tuple[int, int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    blocks = 4 * torch.rand(count, 1, 4, 3, generator=generator) ** 3
    return torch.rand(count, *shape, generator=generator) * torch.nn.functional.interpolate(blocks, shape)[:, 0]


def holes(shape: tuple[int, int]) -> dict[str, Tensor]:
    """Masks from scattered to solid, some on the border and in corners."""
    generator = torch.Generator().manual_seed(2)
    found = {name: torch.zeros(shape, dtype=torch.bool) for name in ("none", "solid", "corner", "all but one")}
    found["solid"][shape[0] // 5 : -shape[0] // 5, shape[1] // 5 : -shape[1] // 5] = True
    found["corner"][: shape[0] // 2 + 1, : shape[1] // 2 + 1] = True
    found["all but one"][:] = True
    found["all but one"][0, 1] = False
    found["scattered"] = torch.rand(shape, generator=generator) < 0.4
    found["rows"] = (torch.arange(shape[0]) % 4 != 0)[:, None].expand(shape).clone()
    return found


@pytest.mark.parametrize("shape", [(4, 3), (9, 7), (16, 33), (23, 20)], ids=str)
def test_imputation_equals_elimination(shape):
    (x,) = spectrograms(1, shape)
    for name, missing in holes(shape).items():
        filled = imputation.linear_imputation(x[None], missing[None])[0]
        assert filled.dtype == torch.float32
        assert torch.equal(filled[~missing], x[~missing]), name
        np.testing.assert_allclose(filled.numpy(), imputed(x.numpy(), missing.numpy()), atol=5e-6, err_msg=name)


def sparse_imputation(x: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """As `references.regions.imputed`, with a sparse direct solver: for grids of full size."""
    frequencies, times = x.shape
    number = np.full(x.shape, -1)
    number[missing] = np.arange(missing.sum())
    diagonal, right, entries = np.zeros(x.shape), np.zeros(x.shape), []
    f, t = np.indices(x.shape)
    for down, aside in [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]:
        inside = (f + down >= 0) & (f + down < frequencies) & (t + aside >= 0) & (t + aside < times)
        at = f[inside], t[inside]
        there = at[0] + down, at[1] + aside
        weight = 1 / 12 if down and aside else 1 / 6
        diagonal[at] += weight
        right[at] += np.where(missing[there], 0, weight * x[there].astype(float))
        both = missing[at] & missing[there]
        entries.append((number[at][both], number[there][both], np.full(both.sum(), -weight)))
    entries.append((np.arange(missing.sum()), np.arange(missing.sum()), diagonal[missing]))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    filled = x.astype(float)
    filled[missing] = spsolve(coo_matrix((values, (rows, columns))).tocsc(), right[missing])
    return filled


@pytest.mark.parametrize("kind", ["scattered", "solid"])
def test_imputation_of_a_whole_spectrogram_in_a_few_steps(kind, monkeypatch):
    """40% of 513 x 431 bins: 88,000 unknowns; plain conjugate gradients would take 90 steps, and 800 for one hole."""
    (x,) = spectrograms(1, (513, 431))
    missing = torch.zeros(513, 431, dtype=torch.bool)
    if kind == "solid":
        missing[60:385, 80:352] = True
    else:
        missing = torch.rand(513, 431, generator=torch.Generator().manual_seed(0)) < 0.4
    monkeypatch.setattr("xaibench.metrics.imputation.MOST_STEPS", 30)
    filled = imputation.linear_imputation(x[None], missing[None])[0].numpy()
    np.testing.assert_allclose(filled, sparse_imputation(x.numpy(), missing.numpy()), atol=5e-6)


def test_sparse_and_dense_elimination_agree():
    (x,) = spectrograms(1, (16, 33))
    for missing in list(holes((16, 33)).values())[1:]:
        expected = imputed(x.numpy(), missing.numpy())
        np.testing.assert_allclose(sparse_imputation(x.numpy(), missing.numpy()), expected, atol=1e-12)


def test_clips_solved_together_are_as_those_solved_alone():
    """A CPU solves clip by clip, a GPU all at once: one clip may be done, or silent, steps before another."""
    x = spectrograms(4, (40, 33))
    x[1] = 0
    missing = torch.stack([holes((40, 33))[name] for name in ("solid", "scattered", "none", "all but one")])
    together = imputation._solve(x, missing)
    assert torch.allclose(together, imputation.linear_imputation(x, missing), atol=2e-6)
    assert not together[1].any()


def test_the_scale_of_a_clip_does_not_matter():
    x, missing = spectrograms(1, (40, 33)), holes((40, 33))["solid"][None]
    plain = imputation.linear_imputation(x, missing)
    for scale in (1e-12, 1e12):
        assert torch.allclose(imputation.linear_imputation(x * scale, missing) / scale, plain, atol=2e-6)


def test_says_so_when_it_does_not_converge(monkeypatch):
    monkeypatch.setattr("xaibench.metrics.imputation.MOST_STEPS", 2)
    with pytest.raises(ArithmeticError, match="did not converge within 2 steps"):
        imputation.linear_imputation(spectrograms(1, (40, 33)), holes((40, 33))["solid"][None])


def with_maps(shape: tuple[int, int], count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    order = [torch.randperm(shape[0] * shape[1], generator=generator).view(shape) for _ in range(count)]
    return spectrograms(count, shape, seed=3), torch.stack(order) / (shape[0] * shape[1])


@pytest.mark.parametrize("shape", [(4, 3), (9, 7), (12, 15)], ids=str)
def test_equals_the_reference(shape):
    x, importance = with_maps(shape, 12)
    made = context(LinearToy(), x, importance)
    probabilities = probability_function(LinearToy())
    known = np.zeros(shape, dtype=bool)
    found = []
    for area in AREAS:
        inputs = imputation.Imputed(area).apply(made)
        values = registry.create("metrics", "road").score(made, area).values
        for i in range(len(x)):
            noise = torch.randn(shape, generator=made.clean.batch.generator(i, "road/noise")).numpy()
            clip = Clip(x[i].numpy(), importance[i].numpy(), probabilities, known)
            np.testing.assert_allclose(inputs[i].numpy(), road_input(clip, area, noise), atol=5e-6)
            assert float(values[i]) == road(clip, area, noise)
        found += values.tolist()
    assert 0 < np.mean(found) < 1


def test_imputed_sound_is_a_little_noisy_and_never_below_silence():
    x = torch.ones(1, 40, 40)
    x[:, :, :20] = 0
    filled = imputation.Imputed(0.4).apply(context(RegionToy(), x, with_maps((40, 40), 1)[1]))
    changed = filled[(filled != x) & (x == 1)]
    assert float(filled.min()) == 0.0
    assert 0.005 < float((changed - changed.median()).abs().median()) < 0.1
    # Far from the edge between sound and silence only the noise is left, half of it cut off at silence.
    right, left = filled[:, :, 30:] - 1, filled[:, :, :10]
    assert float(right[right != 0].std()) == pytest.approx(0.01, rel=0.2)
    assert float((left > 0).double().mean()) == pytest.approx(0.2, abs=0.05)


def test_direction():
    x = 0.1 * torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0))
    x[:, 2:4] += 3.0  # class 0's band
    x[:, 10:12] += 2.0  # class 1's band
    right, wrong = torch.zeros(1, 24, 24), torch.zeros(1, 24, 24)
    right[:, 2:4] = wrong[:, 10:12] = 1.0
    values = [
        float(registry.create("metrics", "road").score(context(RegionToy(), x, m), 0.10).values) for m in (right, wrong)
    ]
    assert values == [0.0, 1.0]
    assert not registry.load("metrics", "road").higher_is_better


def test_draws_belong_to_the_clip():
    x, importance = with_maps((24, 20), 4)
    importance[1:3] = 0  # a random mask
    inputs = imputation.Imputed(0.2).apply(context(LinearToy(), x, importance))
    order = [2, 0, 3, 1]
    shuffled = context(LinearToy(), x[order], importance[order], clip_ids=[ids(4)[i] for i in order], batch_size=2)
    assert torch.equal(imputation.Imputed(0.2).apply(shuffled), inputs[order])
    assert torch.equal(imputation.Imputed(0.2).apply(context(LinearToy(), x, importance)), inputs)
    same = context(LinearToy(), x[:1].expand(2, -1, -1), importance[:1].expand(2, -1, -1))
    first, second = imputation.Imputed(0.2).apply(same)
    assert not torch.equal(first, second)  # two ids
