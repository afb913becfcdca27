"""Agreement, clip by clip, with Quantus 0.6 on real clips and maps, and the exact difference where there is one.

Quantus is given the engine's noisy copies through `perturb_func` and the same method through `explain_func`, both
at the spectrogram's own resolution. What it explains is the class predicted for the clean clip, as here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint import resolve
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10

quantus = Lazy("quantus")

# The first keeps its prediction in every copy, and is digital silence in part; three copies change the second's.
CLIPS = ("5-200334-B-1", "5-220955-A-40")
STEADY, MOVED = slice(0, 1), slice(1, 2)


THEIRS = {
    "avg_sensitivity": "AvgSensitivity",
    "local_lipschitz": "LocalLipschitzEstimate",
    "max_sensitivity": "MaxSensitivity",
    "relative_input_stability": "RelativeInputStability",
    "relative_output_stability": "RelativeOutputStability",
}


class AtTemperature(nn.Module):
    """What Quantus forwards: the logits that p is the softmax of, from images of one channel."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier.temperature * self.classifier.picture_logits(x[:, 0].float()).double()


class Side:
    """One method's maps of two real clips: as evidence for the engine, as arrays for Quantus."""

    def __init__(self, context: ScoringContext) -> None:
        self.ground_truth = context
        self.x = context.clean.batch.x.numpy()[:, None].astype(float)
        self.maps = context.attribution.numpy()[:, None].astype(float)
        self.y = context.target.numpy()
        self.model = AtTemperature(context.classifier).eval()
        wanted = registry.create("metrics", "sufficiency").perturbations(AREAS)
        self.copies = [one.apply(context) for one in wanted]
        logits = torch.stack([context.logits(one) for one in wanted])
        self.same = (logits.argmax(dim=2) == context.target).numpy()
        self.logit_change = (logits - context.clean.logits).norm(dim=2).numpy()
        self._answers: dict[int, np.ndarray] = {}

    def answer(self, draw: int) -> np.ndarray:
        """The method's maps for one copy of both clips."""
        if draw not in self._answers:
            batch, target = self.ground_truth.clean.batch, self.ground_truth.target
            found = self.ground_truth.explainer.explain(replace(batch, x=self.copies[draw]), target).map
            self._answers[draw] = found.numpy()[:, None].astype(float)
        return self._answers[draw]

    def ours(self, name: str) -> np.ndarray:
        return registry.create("metrics", name).score(self.ground_truth, None).values.numpy()

    def theirs(
        self,
        name: str,
        clips: slice = slice(None),
        draws: Sequence[int] = tuple(range(8)),
        scale: Callable[[np.ndarray], np.ndarray] = lambda maps: np.ones((len(maps), 1, 1, 1)),
        **settings,
    ) -> np.ndarray:
        """Quantus's values of some of the clips, from some of the draws, of maps over `scale` of the clean ones."""
        unit = scale(self.maps[clips])
        noisy, answers = iter(draws), iter(draws)

        def perturb(arr: np.ndarray, indices: np.ndarray, **bounds: object) -> np.ndarray:
            return self.copies[next(noisy)].numpy()[clips].reshape(arr.shape).astype(float)

        def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **nothing: object) -> np.ndarray:
            draw = next(answers)
            assert np.array_equal(np.asarray(inputs), self.copies[draw].numpy()[clips][:, None])
            assert targets.tolist() == self.y[clips].tolist()
            return self.answer(draw)[clips] / unit

        scorer = getattr(quantus, THEIRS[name])(
            nr_samples=len(draws), perturb_func=perturb, disable_warnings=True, **settings
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = scorer(
                model=self.model,
                x_batch=self.x[clips].copy(),
                y_batch=self.y[clips],
                a_batch=self.maps[clips] / unit,
                explain_func=explain,
                softmax=False,
                channel_first=True,
            )
        return np.asarray(values, dtype=float)


def peaks(maps: np.ndarray) -> np.ndarray:
    return np.abs(maps).max(axis=(1, 2, 3), keepdims=True)


@pytest.fixture(scope="module", params=["saliency", "input-x-gradient"])
def side(request, esc50_folder) -> Side:
    dataset = Esc10(esc50_folder)
    clips = [clip for clip in dataset.clips if clip.id in CLIPS]
    x = audio.spectrogram(torch.stack([torch.from_numpy(dataset.waveform(clip)) for clip in clips]))
    assert len(x) == len(CLIPS)
    forwarder = Forwarder(resolve("cnn-micro", "esc10")[0], 16)
    batch = Batch(x, tuple(clip.id for clip in clips))
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    explainer = BoundExplainer(registry.create("methods", request.param), forwarder)
    return Side(ScoringContext(clean, explainer.explain(batch, clean.target).map, explainer))


def test_the_clips_are_what_the_tests_below_need(side):
    assert side.ground_truth.clean.batch.clip_ids == CLIPS
    assert side.same[:, 0].all()
    assert side.same[:, 1].tolist() == [True] * 5 + [False] * 3
    assert (side.x[0] == 0).any()
    assert {"Saliency": False, "Input x gradient": True}[side.ground_truth.explainer.method.title] == (
        side.maps == 0
    ).any()
    assert side.logit_change.min() > 0.01


@pytest.mark.parametrize("name", ["max_sensitivity", "avg_sensitivity"])
def test_sensitivity(side, name):
    """With Quantus's defaults: maps as they are, Frobenius norms, copies of any class."""
    expected = side.theirs(name)
    assert expected.min() > 0.01
    np.testing.assert_allclose(side.ours(name), expected, rtol=1e-7)


@pytest.mark.parametrize("clip", [STEADY, MOVED])
def test_local_lipschitz(side, clip):
    """With Quantus's default normalisation, by the largest of the batch, in a batch of the clip alone."""
    expected = side.theirs("local_lipschitz", clip)
    np.testing.assert_allclose(side.ours("local_lipschitz")[clip], expected, rtol=1e-7)


def test_local_lipschitz_of_quantus_depends_on_the_batch(side):
    together = side.theirs("local_lipschitz", draws=[7])
    alone = [side.theirs("local_lipschitz", clip, draws=[7])[0] for clip in (STEADY, MOVED)]
    assert not np.allclose(together, alone, rtol=0.01)


@pytest.mark.parametrize("name", ["relative_input_stability", "relative_output_stability"])
def test_relative_stability(side, name):
    """Of maps over their peaks: Quantus replaces zeros by an absolute 1e-6, whatever the scale of the maps.

    The copies of the clip's class are the ones that equations 2 and 5 are about. Quantus gives the whole clip up
    where any copy has another class, so it is given the others alone.
    """
    ours = side.ours(name)
    np.testing.assert_allclose(ours[STEADY], side.theirs(name, STEADY, scale=peaks), rtol=1e-5)
    assert math.isnan(side.theirs(name, MOVED, draws=[0, 7], scale=peaks)[0])
    kept = np.flatnonzero(side.same[:, 1]).tolist()
    np.testing.assert_allclose(ours[MOVED], side.theirs(name, MOVED, kept, scale=peaks), rtol=1e-5)


def test_relative_stability_of_quantus_depends_on_the_scale_of_maps_with_zeros(side):
    def values(factor: float) -> np.ndarray:
        return side.theirs("relative_input_stability", STEADY, draws=[7], scale=lambda maps: factor * peaks(maps))

    has_zeros = bool((side.maps[0] == 0).any())
    assert np.allclose(values(1), values(1e-4), rtol=0.1) != has_zeros


def quantus_sufficiency(side: Side, clip: int, copies: Sequence[int], **settings) -> np.ndarray:
    """Of a clip and its copies as Quantus's batch; the first value is the clip's."""
    x = np.concatenate([side.x[clip][None]] + [side.copies[draw].numpy()[clip][None, None] for draw in copies])
    maps = np.concatenate([side.maps[clip][None]] + [side.answer(draw)[clip][None] for draw in copies])
    scorer = quantus.Sufficiency(disable_warnings=True, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = scorer(
            model=side.model,
            x_batch=x.astype(float),
            y_batch=np.repeat(side.y[clip], len(x)),
            a_batch=maps,
            channel_first=True,
        )
    return np.asarray(values, dtype=float)


def as_here(threshold: float = 0.2) -> dict:
    """Settings of Quantus that compare signed maps by an absolute cosine distance.

    Its `normalise_func` also divides the distances, by the largest of the batch, even with normalise=False. It
    passes V=None to every distance, which SciPy's own cosine refuses.
    """
    return {
        "threshold": threshold,
        "distance_func": lambda u, v, V: 1 - u @ v / np.sqrt((u @ u) * (v @ v)),
        "abs": False,
        "normalise": False,
        "normalise_func": lambda values: values,
    }


def test_sufficiency(side, monkeypatch):
    """Equal at every threshold, but where no copy has the clip's map: 0, the worst, in Quantus, and undefined here."""
    shares = []
    for threshold in (0.2, 0.9):
        monkeypatch.setattr(f"{registry.load('metrics', 'sufficiency').__module__}.SAME_MAP", threshold)
        ours = side.ours("sufficiency")
        theirs = [quantus_sufficiency(side, clip, range(8), **as_here(threshold))[0] for clip in (0, 1)]
        assert np.nan_to_num(ours).tolist() == pytest.approx(theirs, rel=1e-9)
        shares += ours.tolist()
    assert any(0 < share < 1 for share in shares)
    assert math.isnan(shares[0]) == (side.ground_truth.explainer.method.title == "Saliency")
