"""WAM against a slow derivation: other wavelets, differences at every coefficient, and frames one by one."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch
from torch import Tensor

from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain
from xaibench.testing import toy_batch, toy_classifier

SAMPLES, LEVELS = 48, 2
DOMAIN = Domain(8_000, 16, 12, 6)
TARGET = torch.tensor([1, 0])


class Waves(Classifier):
    """Logits of 48 samples that are neither linear nor even, in double precision."""

    capabilities = frozenset({"gradients"})

    def __init__(self) -> None:
        super().__init__("waves", "toy", ("a", "b"), temperature=2.0)
        generator = torch.Generator().manual_seed(2)
        self.first, self.second = (torch.randn(SAMPLES, 2, generator=generator).double() / 4 for _ in range(2))
        self.samples, self.domain = SAMPLES, DOMAIN

    def logits(self, waveform: Tensor) -> Tensor:
        waveform = waveform.double()
        return torch.tanh(waveform @ self.first) + (waveform @ self.second).square()


def sounds() -> Batch:
    waveforms = torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(0))
    return Batch.of_sound(waveforms, ids(2), DOMAIN)


def rebuilt(coefficients: list[np.ndarray], wavelet: str) -> np.ndarray:
    return pywt.waverec(coefficients, wavelet, mode="zero")[:SAMPLES]


def unit(like: list[np.ndarray], level: int, k: int) -> list[np.ndarray]:
    found = [np.zeros_like(one) for one in like]
    found[level][k] = 1.0
    return found


@pytest.mark.parametrize(("variant", "wavelet"), [("smooth", "db4"), ("integrated", "haar")])
def test_wam_by_differences(variant: str, wavelet: str) -> None:
    classifier, batch, copies = Waves(), sounds(), 40 if variant == "integrated" else 3
    method = registry.create("methods", "wam").with_parameters(
        variant=variant, wavelet=wavelet, levels=LEVELS, samples=copies, noise_level=0.2
    )
    found = method.explain(classifier, batch, TARGET)
    for clip in range(2):
        assert batch.waveform is not None
        w = batch.waveform[clip].double().numpy()
        z = pywt.wavedec(w, wavelet, mode="zero", level=LEVELS)

        def score(sound: np.ndarray, clip: int = clip) -> float:
            return 2.0 * float(classifier.logits(torch.from_numpy(sound)[None])[0, TARGET[clip]])

        if variant == "smooth":
            draws = torch.randn(copies, SAMPLES, generator=batch.generator(clip, "wam")).double().numpy()
            points, weights = w + 0.2 * (w.max() - w.min()) * draws, np.full(copies, 1 / copies)
        else:  # the mean over the straight line from silence
            shares, weights = np.polynomial.legendre.leggauss(12)
            points, weights = (shares[:, None] + 1) / 2 * w, weights / 2
        y, total = np.zeros(SAMPLES), 0.0
        for level, row in enumerate(z):
            for k, value in enumerate(row):
                atom = rebuilt(unit(z, level, k), wavelet)
                slopes = [(score(point + 1e-5 * atom) - score(point - 1e-5 * atom)) / 2e-5 for point in points]
                contribution = value * float(weights @ np.array(slopes))
                total += contribution
                y += np.sign(value) * np.sqrt(max(contribution, 0.0)) * atom
        if variant == "integrated":
            assert total == pytest.approx(score(w) - score(0 * w), rel=1e-3)
        window, padded = np.hamming(13)[:-1], np.pad(y, 8)
        expected = np.zeros((9, 9))
        for frame in range(9):  # 16 samples around the frame's middle, of which the window holds the 12 in the middle
            piece = np.pad(window, 2) * padded[6 * frame : 6 * frame + 16]
            expected[:, frame] = np.abs(np.fft.rfft(piece)) ** 2
        assert expected.max() > 0
        tolerance = {"rtol": 2e-3, "atol": 1e-4 * expected.max()} if variant == "smooth" else {"rtol": 0.05}
        if variant == "integrated":  # nodes in dB and their trapezoids, of which there are 40
            tolerance["atol"] = 0.02 * expected.max()
        np.testing.assert_allclose(found.map[clip].numpy(), expected, **tolerance)


def test_every_parameter_changes_the_map() -> None:
    classifier, batch, target = toy_classifier(), toy_batch(1), torch.tensor([3])
    few = registry.create("methods", "wam").with_parameters(samples=2, levels=3)
    before = few.explain(classifier, batch, target).map
    for change in ({"samples": 3}, {"levels": 1}, {"noise_level": 0.1}, {"wavelet": "haar"}, {"variant": "integrated"}):
        after = few.with_parameters(**change).explain(classifier, batch, target).map
        assert not torch.allclose(before, after), change


def test_it_needs_gradients_and_sound() -> None:
    black_box = Waves()
    black_box.capabilities = frozenset()
    method = registry.create("methods", "wam")
    assert "needs gradients" in str(method.refusal(black_box, has_ground_truth=False))
    assert method.protocols == {"standard"}


def test_one_step_is_no_path() -> None:
    method = registry.create("methods", "wam").with_parameters(variant="integrated", samples=1)
    with pytest.raises(ExplanationError, match="one step is no path from silence to the clip; take 2 or more"):
        method.explain(toy_classifier(), toy_batch(1), torch.tensor([0]))
