"""Agreement of ROAD, IROF, region perturbation and the two curves with Quantus 0.6, clip by clip, on real clips.

Quantus is given our draws, segments and fills where it would choose its own; what differs by default is stated with
each. It runs with normalise=False: dividing by the batch's maximum orders nothing anew.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

from tests.support.lazy import Lazy
from tests.support.toy import LinearToy, context
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.results.areas import AREAS, CURVE_AREAS
from xaibench.scoring.context import Masked, ScoringContext
from xaibench.sound import audio
from xaibench.sound.esc50 import Esc10

segmentation = Lazy("skimage.segmentation")

quantus = Lazy("quantus")
perturb_func = Lazy("quantus.functions.perturb_func")

CLIPS = ("5-181766-A-10", "5-187979-A-21")  # rain; a sneeze, most of it digital silence


class Probabilities(nn.Module):
    """p of spectrograms (batch, 1, freq, time), and a record of all that was asked."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.asked: list[np.ndarray] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x[:, 0].numpy())
        return torch.softmax(self.classifier.temperature * self.classifier.picture_logits(x[:, 0]).double(), dim=1)


class Extended(PictureClassifier):
    """A classifier of crops: silence is put back where they were cut."""

    def __init__(self, whole: Classifier, missing: tuple[int, int]) -> None:
        super().__init__(whole.name, whole.family, whole.classes, whole.temperature)
        self.whole, self.missing = whole, missing
        self.eval()

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.whole.picture_logits(nn.functional.pad(x, (0, self.missing[1], 0, self.missing[0])))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return checkpoint.resolve("cnn-micro", "esc10")[0]


def cropped(classifier: Classifier, x: Tensor, shape: tuple[int, int]) -> tuple[Classifier, Tensor]:
    """The lowest and first bins of clips, and the classifier of such crops."""
    missing = (x.shape[1] - shape[0], x.shape[2] - shape[1])
    return Extended(classifier, missing), x[:, : shape[0], : shape[1]].contiguous()


@pytest.fixture(scope="module")
def sounds(esc50_folder) -> Tensor:
    """Log spectrograms (2, 513, 431)."""
    dataset = Esc10(esc50_folder)
    found = {clip.id: clip for clip in dataset.clips}
    waveforms = np.stack([dataset.waveform(found[name]) for name in CLIPS])
    return audio.spectrogram(torch.as_tensor(waveforms))


def saliency(classifier: Classifier, x: Tensor) -> ScoringContext:
    """Real maps of the predicted classes."""
    empty = context(classifier, x, torch.zeros_like(x))
    made = registry.create("methods", "saliency").explain(classifier, empty.clean.batch, empty.target)
    return context(classifier, x, made.map.detach().abs())


def ours(name: str, made: ScoringContext, area: float | None = None) -> np.ndarray:
    return registry.load("metrics", name)().score(made, area).values.numpy()


def theirs(metric: Callable, model: nn.Module, made: ScoringContext, maps: Tensor | None = None):
    """Quantus's answer for the predicted classes; `maps` for others than the evidence's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(
            model=model,
            x_batch=made.clean.batch.x[:, None].numpy().copy(),
            y_batch=made.target.numpy(),
            a_batch=(made.importance if maps is None else maps)[:, None].numpy().astype(np.float64),
            channel_first=True,
            softmax=False,
        )


QUIET = {"normalise": False, "disable_warnings": True}


@pytest.mark.parametrize("name", ["deletion_auc", "insertion_auc"])
def test_the_curves_are_pixel_flipping(name, classifier, sounds):
    """Ours begin at the clean clip, Quantus's at the first step; insertion is flipping from the least important on.

    A crop whose bins twenty steps divide, which Quantus asks for.
    """
    made = saliency(*cropped(classifier, sounds, (500, 420)))
    step, maps = 500 * 420 // 20, made.importance.double()
    if name == "insertion_auc":
        maps = maps.max() - maps
    flip = quantus.PixelFlipping(features_in_step=step, perturb_baseline=0.0, **QUIET)
    curve = np.array(theirs(flip, Probabilities(made.classifier), made, maps))
    assert curve.shape == (2, 20)
    curve = np.concatenate([made.p_full[:, None].numpy(), curve], axis=1)
    assert np.ptp(curve, axis=1).min() > 0.05
    part = "removed" if name == "deletion_auc" else "kept"
    points = torch.stack([made.p_changed(Masked(part, area)) for area in CURVE_AREAS], dim=1).numpy()
    np.testing.assert_allclose(points if part == "removed" else points[:, ::-1], curve, atol=1e-5)
    np.testing.assert_allclose(ours(name, made), integrate.trapezoid(curve, dx=1 / 20, axis=1), atol=1e-5)


def test_black_is_not_silence_in_quantus(classifier, sounds):
    """Its baseline "black" is the least value of each clip: in noise, the faintest bin, not 0."""
    made = saliency(classifier, sounds[:1])
    noisy = context(classifier, made.clean.batch.x + 0.5, made.importance)
    model = Probabilities(classifier)
    theirs(quantus.PixelFlipping(features_in_step=513 * 431, perturb_baseline="black", **QUIET), model, noisy)
    assert float(model.asked[-1].min()) == pytest.approx(0.5, abs=1e-3)


def test_region_perturbation(classifier, sounds):
    """A square crop: Quantus's patches are square, and ours are then of one size, so that means order as sums do."""
    made = saliency(*cropped(classifier, sounds, (420, 420)))
    flip = quantus.RegionPerturbation(patch_size=35, regions_evaluation=36, perturb_baseline=0.0, **QUIET)
    losses = np.array(theirs(flip, Probabilities(made.classifier), made))
    assert losses.shape == (2, 36)
    assert np.ptp(losses, axis=1).min() > 0.01
    # Samek et al.: the mean over k = 0..L, and nothing is lost at k = 0.
    np.testing.assert_allclose(ours("region_perturbation", made), losses.sum(axis=1) / 37, atol=1e-5)


def segments(made: ScoringContext) -> np.ndarray:
    """48 segments per clip, three of 12 x 12 cells each, numbered at random: those that IROF replaces together."""
    random, found = np.random.default_rng(0), []
    for importance in made.importance.numpy().astype(float):
        frequencies, times = importance.shape
        cell = np.arange(frequencies)[:, None] * 12 // frequencies * 12 + np.arange(times) * 12 // times
        means = np.array([importance[cell == i].mean() for i in range(144)])
        place = (-means).argsort().argsort()
        found.append(random.permutation(48)[place // 3][cell])
    return np.stack(found)


def means(made: ScoringContext) -> np.ndarray:
    """Each clip's mean, on its grid: (batch, 1, freq, time)."""
    x = made.clean.batch.x.double()
    return x.mean(dim=(1, 2), keepdim=True).float().expand(x.shape)[:, None].numpy().copy()


@pytest.fixture
def irof_runs(monkeypatch) -> None:
    """numpy 1's name of the trapezoid rule, which Quantus 0.6 calls."""
    monkeypatch.setattr(np, "trapz", integrate.trapezoid, raising=False)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="numpy 1 has what Quantus calls")
def test_quantus_irof_fails_on_numpy_2():
    made = context(LinearToy(), torch.rand(2, 64, 54), torch.rand(2, 64, 54))
    assert not hasattr(np, "trapz")
    with pytest.raises(AttributeError, match="trapz"):
        theirs(quantus.IROF(return_aggregate=False, **QUIET), Probabilities(LinearToy()), made)


def test_irof(classifier, sounds, irof_runs, monkeypatch):
    """Quantus: L - trapz(r_1..r_L), r_k = p_k / p_0, the first step left out: L * IROF + (1 + r_1) / 2."""
    made = saliency(classifier, sounds)
    prepared = iter(segments(made))
    monkeypatch.setattr(quantus.helpers.utils, "get_superpixel_segments", lambda **_: next(prepared))
    replace = quantus.IROF(perturb_baseline=means(made), return_aggregate=False, **QUIET)
    model = Probabilities(classifier)
    area = np.array(theirs(replace, model, made))
    assert next(prepared, None) is None
    first = torch.as_tensor(model.asked[1])  # after the clean clips
    p = torch.softmax(classifier.temperature * classifier.picture_logits(first).double(), dim=1)
    ratio = (made.of_target(p) / made.p_full).detach().numpy()
    values = ours("irof", made)
    np.testing.assert_allclose(values, (area - (1 + ratio) / 2) / 48, atol=1e-5)
    assert np.ptp(values) > 0.05


def test_irof_of_quantus_depends_on_the_batch(irof_runs):
    """Its fill "mean" is that of the whole batch as replaced so far: a clip's value changes with its companions."""
    x = torch.rand(2, 64, 54) * torch.tensor([1.0, 4.0])[:, None, None]
    maps = torch.rand(2, 64, 54)
    both, alone = (context(LinearToy(), x[: n + 1], maps[: n + 1]) for n in (1, 0))
    replace = [quantus.IROF(return_aggregate=False, **QUIET) for _ in range(2)]
    first, single = (
        theirs(one, Probabilities(LinearToy()), made)[0] for one, made in zip(replace, (both, alone), strict=True)
    )
    assert abs(first - single) > 0.01
    assert ours("irof", both)[0] == pytest.approx(ours("irof", alone)[0], abs=1e-12)


def test_irof_of_quantus_gives_a_deaf_classifier_one_segment_not_zero(irof_runs):
    deaf = LinearToy(temperature=1e-12)
    made = context(deaf, torch.rand(1, 64, 54), torch.rand(1, 64, 54))
    (area,) = theirs(quantus.IROF(return_aggregate=False, **QUIET), Probabilities(deaf), made)
    assert area == pytest.approx(1.0)
    assert ours("irof", made).tolist() == pytest.approx([0.0])


def test_slic_of_a_spectrogram_is_a_regular_grid(sounds):
    """Why IROF's segments are cells: with Quantus's settings SLIC finds in a clip what it finds in nothing at all."""
    for x in sounds.numpy().astype(float):
        found, of_nothing = (segmentation.slic(image[:, :, None], start_label=0) for image in (x, np.full_like(x, 0.5)))
        assert 90 <= of_nothing.max() + 1 <= 110
        same = sum(np.bincount(of_nothing[found == label]).max() for label in np.unique(found))
        assert same / x.size > 0.98


def quantus_imputation(made: ScoringContext, kept: list[np.ndarray]) -> Callable:
    """Quantus's imputation with our noise, its outputs recorded, and then cut at silence as ours are."""
    batch = made.clean.batch
    clean = [one.numpy() for one in batch.x]
    noise = [
        torch.randn(batch.picture_shape, generator=batch.generator(i, "road/noise")).numpy() for i in range(len(batch))
    ]

    def impute(arr: np.ndarray, indices: np.ndarray, **settings) -> np.ndarray:
        (clip,) = (i for i, one in enumerate(clean) if np.array_equal(one, arr[0]))
        drawn = noise[clip].reshape(-1)[indices]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np.random, "randn", lambda *shape: drawn.reshape(shape))
            kept.append(perturb_func.noisy_linear_imputation(arr, indices, **settings)[0])
        return np.maximum(kept[-1], 0)[None]

    return impute


def check_road(made: ScoringContext, areas: tuple[float, ...]) -> tuple[list[float], float]:
    """Our values at each area, and the largest difference of an imputed bin, both compared with Quantus's."""
    bins = made.importance[0].numel()
    # Quantus takes int(bins * percentage / 100) bins, and we round.
    percentages = [100 * (round(area * bins) + 0.5) / bins for area in areas]
    kept: list[np.ndarray] = []
    remove = quantus.ROAD(percentages=percentages, noise=0.01, perturb_func=quantus_imputation(made, kept), **QUIET)
    accuracy = theirs(remove, Probabilities(made.classifier), made)
    found: list[float] = []
    largest = 0.0
    imputed = sys.modules[registry.load("metrics", "road").__module__].Imputed
    for i, area in enumerate(areas):
        raw = np.stack(kept[i * len(made) : (i + 1) * len(made)])
        assert (raw < 0).any()  # of a log magnitude, which has no meaning
        difference = np.abs(imputed(area).apply(made).numpy() - np.maximum(raw, 0)).max()
        largest = max(largest, float(difference))
        values = ours("road", made, area)
        assert values.mean() == accuracy[percentages[i]]
        found += values.tolist()
    assert largest < 1e-5
    return found, largest


def test_road(classifier, sounds):
    """The mean over clips is Quantus's accuracy at each percentage, on whole spectrograms."""
    check_road(saliency(classifier, sounds), (0.05, 0.10))


def test_road_at_every_area():
    """On small grids, where both answers occur: Quantus's sparse matrix takes seconds to build for 40% of a clip."""
    generator = torch.Generator().manual_seed(0)
    blocks = 4 * torch.rand(16, 1, 4, 3, generator=generator) ** 3
    x = torch.rand(16, 32, 30, generator=generator) * torch.nn.functional.interpolate(blocks, (32, 30))[:, 0]
    maps = torch.nn.functional.interpolate(torch.rand(16, 1, 5, 5, generator=generator), (32, 30), mode="bicubic")[:, 0]
    found, _ = check_road(context(LinearToy(), x, maps.clamp(min=0) + 1e-4 * torch.rand(16, 32, 30)), AREAS)
    assert 0.05 < np.mean(found) < 0.95
