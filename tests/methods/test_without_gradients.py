"""RISE, LIME and Kernel SHAP against slow derivations, on classifiers whose true effects are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.explaining.explainer import Explainer
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_index, on_bins
from xaibench.sound.domain import Domain

SHAPE = (9, 7)
CLIPS = 2
TARGET = torch.tensor([1, 0])
SMALL = Domain(sample_rate=800, n_fft=16, window_samples=12, hop_samples=6)
SAMPLES = 90


class AdditiveToy(PictureClassifier):
    """Logits linear in the picture: what a bin adds does not depend on the others."""

    def __init__(self, interaction: float = 0.0, activation: str = "softmax") -> None:
        super().__init__("additive-toy", "toy", ("a", "b", "c"), temperature=2.0)
        generator = torch.Generator().manual_seed(1)
        self.weight = 0.1 * torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64)
        self.interaction, self.activation = interaction, activation  # type: ignore[assignment]

    def picture_logits(self, x: Tensor) -> Tensor:
        assert not x.requires_grad and not torch.is_grad_enabled()
        linear = torch.einsum("nft,cft->nc", x.double(), self.weight)
        return linear + self.interaction * (x[:, 0, 0] * x[:, -1, -1])[:, None].double()


class HeardToy(Classifier):
    """A black box on arrays whose logits are linear in the sound."""

    capabilities = frozenset()

    def __init__(self) -> None:
        super().__init__("heard-toy", "sound", ("a", "b", "c"))
        self.domain, self.sample_rate, self.samples = SMALL, SMALL.sample_rate, None
        self.pattern = np.random.default_rng(0).standard_normal((SAMPLES, 3)).astype(np.float32)

    def logits(self, waveform: Tensor) -> Tensor:
        return torch.from_numpy(waveform.numpy() @ self.pattern)


def pictures() -> Batch:
    x = 0.5 + torch.rand(CLIPS, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Batch(x, ids(CLIPS))


def sounds() -> Batch:
    waveform = 0.3 * torch.randn(CLIPS, SAMPLES, generator=torch.Generator().manual_seed(0))
    return Batch.of_sound(waveform, ids(CLIPS), SMALL)


def method(name: str, **parameters: object) -> Explainer:
    return registry.create("methods", name).with_parameters(**parameters)


def silenced(clip: np.ndarray, gains: np.ndarray) -> Tensor:
    """One clip whose linear magnitudes are multiplied, bin by bin."""
    made = np.zeros(SHAPE)
    for f, t in np.ndindex(*SHAPE):
        made[f, t] = math.log(1 + gains[f, t] * (math.exp(clip[f, t]) - 1))
    return torch.from_numpy(made)[None]


@torch.no_grad()
def score(classifier: Classifier, clip: np.ndarray, gains: np.ndarray, target: int) -> float:
    return classifier.temperature * float(classifier.picture_logits(silenced(clip, gains))[0, target])


def segment(f: int, t: int, bands: int, stretches: int) -> tuple[int, int]:
    """The segment of a bin: as many bins for each as can be."""
    return f * bands // SHAPE[0], t * stretches // SHAPE[1]


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
@pytest.mark.parametrize(("bands", "stretches"), [(3, 2), (1, 4), (5, 1)], ids=["both", "time", "frequency"])
def test_segments_of_an_additive_classifier_have_their_true_effects(name: str, bands: int, stretches: int) -> None:
    """What a segment adds to the logit is what the clip loses without it, whatever else is silenced."""
    classifier, batch = AdditiveToy(), pictures()
    fine = {"ridge": 1e-9} if name == "lime" else {}
    explanation = method(name, samples=80, bands=bands, stretches=stretches, **fine).explain(classifier, batch, TARGET)
    assert explanation.native_shape == (bands, stretches)
    for i in range(CLIPS):
        clip, target = batch.x[i].double().numpy(), int(TARGET[i])
        whole = score(classifier, clip, np.ones(SHAPE), target)
        for mine in itertools.product(range(bands), range(stretches)):
            without = np.ones(SHAPE)
            for f, t in np.ndindex(*SHAPE):
                without[f, t] = segment(f, t, bands, stretches) != mine
            expected = whole - score(classifier, clip, without, target)
            values = explanation.map[i].double()[torch.from_numpy(without == 0)]
            assert values.tolist() == pytest.approx([expected] * len(values), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_segments_of_heard_sound_have_their_true_effects(name: str) -> None:
    """Synthesis is linear, so the sounds of segments add up; the classifier is a black box."""
    classifier, batch = HeardToy(), sounds()
    fine = {"ridge": 1e-9} if name == "lime" else {}
    explainer = method(name, samples=80, bands=3, stretches=2, **fine)
    assert explainer.refusal(classifier, has_ground_truth=False) is None
    found = explainer.explain(classifier, batch, TARGET).map
    assert batch.waveform is not None
    cells = cell_index(batch.picture_shape, batch.x.device, (3, 2))
    for number in range(6):
        alone = SMALL.masked(batch.waveform, (cells == number).float().expand_as(batch.x))
        expected = classifier.logits(alone).gather(1, TARGET[:, None])[:, 0]
        for i in range(CLIPS):
            values = found[i][cells == number]
            torch.testing.assert_close(values, expected[i].expand_as(values), rtol=1e-3, atol=1e-3)


def test_lime_is_the_weighted_ridge_regression() -> None:
    """Ribeiro et al., equation 2, by least squares on a longer system; with an interaction, so that weights count."""
    classifier, batch, parameters = AdditiveToy(interaction=1.0), pictures(), {"samples": 40, "kernel_width": 0.3}
    found = method("lime", bands=3, stretches=2, ridge=0.5, **parameters).explain(classifier, batch, TARGET).map
    for i in range(CLIPS):
        draws = torch.rand(40, 6, generator=batch.generator(i, "lime")).numpy() < 0.5
        draws[0] = True
        rows, answers = [], []
        for chosen in draws:
            gains = np.zeros(SHAPE)
            for f, t in np.ndindex(*SHAPE):
                band, stretch = segment(f, t, 3, 2)
                gains[f, t] = chosen[2 * band + stretch]
            cosine = sum(chosen) / math.sqrt(max(sum(chosen), 1) * 6)
            weight = math.exp(-((1 - cosine) ** 2) / 0.3**2)
            rows.append([math.sqrt(weight) * value for value in (1.0, *chosen.astype(float))])
            value = score(classifier, batch.x[i].double().numpy(), gains, int(TARGET[i]))
            answers.append(math.sqrt(weight) * value)
        for one in range(6):  # the penalty, of all but the intercept
            rows.append([0.0] * (one + 1) + [math.sqrt(0.5)] + [0.0] * (5 - one))
            answers.append(0.0)
        solution = np.linalg.lstsq(np.array(rows), np.array(answers), rcond=None)[0][1:]
        expected = on_bins(torch.from_numpy(solution)[None], SHAPE, (3, 2))[0]
        torch.testing.assert_close(found[i].double(), expected, rtol=1e-4, atol=1e-5)


def test_kernel_shap_approaches_the_shapley_values() -> None:
    """By all orders in which four segments can come, where two of them interact."""
    classifier, batch = AdditiveToy(interaction=1.0), pictures().slice(0, 1)
    found = method("kernel-shap", samples=2000, bands=2, stretches=2).explain(classifier, batch, TARGET[:1]).map[0]
    worth = {}
    for present in itertools.product((0.0, 1.0), repeat=4):
        gains = np.zeros(SHAPE)
        for f, t in np.ndindex(*SHAPE):
            band, stretch = segment(f, t, 2, 2)
            gains[f, t] = present[2 * band + stretch]
        worth[present] = score(classifier, batch.x[0].double().numpy(), gains, int(TARGET[0]))
    shapley = [0.0] * 4
    for order in itertools.permutations(range(4)):
        present = [0.0] * 4
        for one in order:
            before = worth[tuple(present)]
            present[one] = 1.0
            shapley[one] += (worth[tuple(present)] - before) / math.factorial(4)
    expected = on_bins(torch.tensor(shapley)[None], SHAPE, (2, 2))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * float(expected.abs().max()))


def linear_weights(bins: int, cells: int, shift: int) -> np.ndarray:
    """How much each cell (column) counts in each bin (row): linear between the centres of the cells of a wider picture.

    The picture is `cells + 1` cells wide, stretched over by `cells` of them, and starts at `shift`.
    """
    width = math.ceil(bins / cells)
    found = np.zeros((bins, cells))
    for one in range(bins):
        place = min(max((shift + one + 0.5) * cells / ((cells + 1) * width) - 0.5, 0.0), cells - 1.0)
        left = min(int(place), cells - 2) if cells > 1 else 0
        found[one, left] += 1 - (place - left)
        if cells > 1:
            found[one, left + 1] += place - left
    return found


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_rise_by_loops(activation: str) -> None:
    """Petsiuk et al., equation 4: the mean of p over the masks that leave a bin."""
    classifier, batch = AdditiveToy(activation=activation), pictures()
    explanation = method("rise", masks=20, cells=(3, 2), keep=0.4).explain(classifier, batch, TARGET)
    assert explanation.native_shape == (3, 2)
    for i in range(CLIPS):
        generator, target = batch.generator(i, "rise"), int(TARGET[i])
        cells = (torch.rand(20, 3, 2, generator=generator) < 0.4).double().numpy()
        shifts = torch.rand(20, 2, generator=generator).tolist()
        above, below = np.zeros(SHAPE), np.zeros(SHAPE)
        for drawn, (down, right) in zip(cells, shifts, strict=True):
            rows, columns = linear_weights(9, 3, int(down * 3)), linear_weights(7, 2, int(right * 4))
            mask = rows @ drawn @ columns.T
            changed = silenced(batch.x[i].double().numpy(), mask)
            with torch.no_grad():
                logits = (classifier.temperature * classifier.picture_logits(changed)[0]).tolist()
            if activation == "sigmoid":
                p = 1 / (1 + math.exp(-logits[target]))
            else:
                p = math.exp(logits[target]) / math.fsum(math.exp(one) for one in logits)
            above += p * mask
            below += mask
        expected = torch.from_numpy(above / below)
        torch.testing.assert_close(explanation.map[i].double(), expected, rtol=1e-4, atol=1e-5)


def test_rise_finds_the_part_that_matters() -> None:
    classifier, batch = AdditiveToy(), pictures()
    classifier.weight = torch.zeros_like(classifier.weight)
    classifier.weight[1, :3, 4:] = 1.0
    found = method("rise", masks=200, cells=(4, 4)).explain(classifier, batch, torch.tensor([1, 1])).map
    for one in found:
        assert one[:3, 4:].mean() > one.mean() + one.std()


@pytest.mark.parametrize(("name", "cost"), [("rise", "masks"), ("lime", "samples"), ("kernel-shap", "samples")])
def test_the_cost_is_the_parameter(name: str, cost: str) -> None:
    """Forward passes of each clip, counted; and other draws give another map."""

    class Counting(AdditiveToy):
        asked = 0

        def picture_logits(self, x: Tensor) -> Tensor:
            self.asked += len(x)
            return super().picture_logits(x)

    for many in (20, 37):
        classifier = Counting(interaction=1.0)
        explainer = method(name, **{cost: many})
        assert explainer.forwards_parameter == cost
        first = explainer.explain(classifier, pictures(), TARGET).map
        assert classifier.asked == CLIPS * many
        assert not torch.equal(first, explainer.explain(classifier, replace(pictures(), seed=1), TARGET).map)
