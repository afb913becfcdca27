"""Quantus's metrics by name: as Quantus computes them, clip by clip; what cannot be had is refused with a reason."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from tests.support.lazy import Lazy
from tests.support.toy import context, ids
from xaibench import cli, registry
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.errors import RegistryError, XaibenchError
from xaibench.explaining.explanation import Explanation
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores
from xaibench.sound.batch import Batch, clip_seed
from xaibench.sound.randomness import seeded
from xaibench.testing import GradientTimesInput
from xaibench.testing.unchanged import unchanged

quantus = Lazy("quantus")

CLIPS = 3
PICTURE_SHAPE = (12, 10)
# Small enough to be quick; every metric of Quantus is in one of these two.
USABLE = {
    "AUC": "",
    "AttributionLocalisation": "",
    "AvgSensitivity": "nr_samples=3",
    "Completeness": "",
    "Complexity": "",
    "Continuity": "nr_steps=4",
    "EffectiveComplexity": "",
    "EfficientMPRT": "",
    "FaithfulnessCorrelation": "nr_runs=10,subset_size=20",
    "FaithfulnessEstimate": "",
    "Infidelity": "perturb_patch_sizes=[2],n_perturb_samples=1",
    "LocalLipschitzEstimate": "nr_samples=3",
    "MPRT": "",
    "MaxSensitivity": "nr_samples=3",
    "Monotonicity": "",
    "MonotonicityCorrelation": "nr_samples=3",
    "NonSensitivity": "features_in_step=1",
    "PixelFlipping": "",
    "PointingGame": "",
    "ROAD": "percentages=[10,50]",
    "RandomLogit": "",
    "RegionPerturbation": "patch_size=4",
    "RelativeInputStability": "nr_samples=3",
    "RelativeOutputStability": "nr_samples=3",
    "RelativeRepresentationStability": "nr_samples=3",
    "RelevanceMassAccuracy": "",
    "RelevanceRankAccuracy": "",
    "Selectivity": "patch_size=4",
    "Sparseness": "",
    "TopKIntersection": "k=20",
}
UNUSABLE = {
    "BatchSufficiency": "compares the clips of a batch",
    "Consistency": "compares the clips of a batch",
    "Focus": "mosaics",
    "InputInvariance": "first convolution",
    "ModelParameterRandomisation": "use quantus:MPRT",
    "SensitivityN": "over the clips of a batch",
    "SmoothMPRT": "Captum itself",
    "Sufficiency": "compares the clips of a batch",
}
BROKEN = {"IROF"}


class TinyNet(PictureClassifier):
    """A convolution and a linear layer: something to randomise and to hook."""

    def __init__(self) -> None:
        super().__init__("tiny-net", "toy", ["a", "b", "c", "d"], temperature=2.0)
        with seeded(5):
            self.convolution = nn.Conv2d(1, 4, 3, padding=1)
            self.linear = nn.Linear(4 * 6, 4)

    def picture_logits(self, x: Tensor) -> Tensor:
        maps = torch.tanh(self.convolution(x[:, None]))
        flat: Tensor = self.linear(nn.functional.adaptive_avg_pool2d(maps, (3, 2)).flatten(1))
        return flat


def named(name: str) -> str:
    settings = USABLE.get(name, "")
    return f"quantus:{name}" + (f",{settings}" if settings else "")


def metric(name: str) -> Metric:
    made = registry.create("metrics", name)
    assert isinstance(made, Metric)
    return made


def clips(count: int = CLIPS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Spectrograms, signed maps that are gradients times input, known evidence."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, *PICTURE_SHAPE, generator=generator)
    classifier = TinyNet()
    target = classifier.picture_logits(x).argmax(dim=1)
    attribution = GradientTimesInput().explain(classifier, Batch(x, ids(count)), target).map
    known = torch.rand(count, *PICTURE_SHAPE, generator=generator) > 0.7
    return x, attribution, known


def made(count: int = CLIPS) -> ScoringContext:
    x, attribution, known = clips(count)
    return context(TinyNet(), x, attribution, known)


def directly(kind: type, made: ScoringContext, index: int, maps: Tensor, **settings: object) -> object:
    """What a user of Quantus would write for one clip, with an explain_func of their own."""

    class Image(nn.Module):
        def __init__(self, classifier: Classifier) -> None:
            super().__init__()
            self.classifier = classifier

        def forward(self, x: Tensor) -> Tensor:
            return 2.0 * self.classifier.picture_logits(x[:, 0])

    def gradient_times_input(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        x = torch.tensor(inputs, dtype=torch.float32, requires_grad=True)
        (model(x)[0, int(targets[0])] / 2.0).backward()
        assert x.grad is not None
        return (x.grad * x).detach().numpy().astype(np.float64)

    assert made.ground_truth is not None
    scorer = kind(disable_warnings=True, **settings)
    seed = clip_seed(0, f"clip-{index}", f"quantus/{kind.__name__}") % 2**32
    with warnings.catch_warnings(), seeded(seed):
        warnings.simplefilter("ignore")
        return scorer(
            model=Image(TinyNet()).eval(),
            x_batch=made.clean.batch.x[index : index + 1, None].numpy().copy(),
            y_batch=made.target[index : index + 1].numpy(),
            a_batch=maps[index : index + 1, None].double().numpy().copy(),
            s_batch=made.ground_truth[index : index + 1, None].numpy(),
            channel_first=True,
            explain_func=gradient_times_input,
        )


def test_every_metric_of_quantus_is_usable_or_refused_with_a_reason() -> None:
    kinds = {
        n
        for n, k in vars(importlib.import_module("quantus")).items()
        if isinstance(k, type) and issubclass(k, quantus.Metric)
    }
    assert set(USABLE) | set(UNUSABLE) | BROKEN == kinds - {"Metric"}


@pytest.mark.parametrize("name", USABLE)
def test_a_value_belongs_to_its_clip_and_nothing_is_left_changed(name: str) -> None:
    whole = made()
    with unchanged(whole.classifier, whole.clean.batch, whole.target, name):
        first = metric(named(name)).score(whole, None)
    assert first.values.shape == (CLIPS,)
    assert first.values.dtype == torch.float64
    assert first.reasons == (None,) * CLIPS
    assert first.values.isfinite().all()
    assert metric(named(name)).score(whole, None).values.tolist() == first.values.tolist()
    x, attribution, known = clips()
    alone = context(TinyNet(), x[2:], attribution[2:], known[2:], clip_ids=["clip-2"])
    assert metric(named(name)).score(alone, None).values[0] == pytest.approx(float(first.values[2]), rel=1e-4, abs=1e-6)
    assert torch.equal(alone.attribution, attribution[2:])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("AvgSensitivity", {"nr_samples": 3}),  # asks the method again
        ("MaxSensitivity", {"nr_samples": 3}),
        ("FaithfulnessCorrelation", {"nr_runs": 10, "subset_size": 20}),  # draws from numpy
        ("FaithfulnessEstimate", {"features_in_step": PICTURE_SHAPE[0]}),
        ("PixelFlipping", {"features_in_step": PICTURE_SHAPE[0]}),  # a curve
        ("Selectivity", {"patch_size": 4}),
        ("ROAD", {"percentages": [10, 50]}),  # values by percentage
        ("RandomLogit", {"num_classes": 4}),  # asks the method about another class
        ("EfficientMPRT", {}),  # asks the method about other weights
    ],
)
def test_equals_quantus_itself_of_each_clip_on_the_signed_map(name: str, settings: dict[str, object]) -> None:
    whole = made()
    values = metric(named(name)).score(whole, None).values
    for i in range(CLIPS):
        found = directly(getattr(quantus, name), whole, i, whole.attribution, **settings)
        found = list(found.values()) if isinstance(found, dict) else found
        assert float(np.mean(np.asarray(found, dtype=float))) == pytest.approx(float(values[i]), rel=1e-5, abs=1e-9)


def test_metrics_that_take_absolute_values_read_the_importance() -> None:
    """A contribution map's importance is its positive part, and not its size as Quantus would take it."""
    x, attribution, known = clips()
    whole = context(TinyNet(), x, attribution, known)
    assert (attribution < 0).any()
    whole.explainer.method.polarity = "positive"  # type: ignore[misc]
    try:
        importance = attribution.clamp(min=0)
        for name in ("Complexity", "RelevanceMassAccuracy", "MPRT"):
            values = metric(named(name)).score(whole, None).values
            kind = getattr(quantus, name)
            if name != "MPRT":  # which asks again, here without the clamping
                (expected,) = directly(kind, whole, 0, importance)  # type: ignore[misc]
                assert float(values[0]) == pytest.approx(float(expected), rel=1e-6)
                (signed,) = directly(kind, whole, 0, attribution)  # type: ignore[misc]
                assert float(values[0]) != pytest.approx(float(signed), rel=1e-3)
        signed_values = metric("quantus:Complexity,abs=False").score(whole, None).values
        (expected,) = directly(quantus.Complexity, whole, 0, attribution, abs=False)  # type: ignore[misc]
        assert float(signed_values[0]) == pytest.approx(float(expected), rel=1e-6, nan_ok=True)
    finally:
        del whole.explainer.method.polarity


def test_agrees_with_the_own_metrics() -> None:
    whole = made()
    for theirs, own, tolerance in (
        ("RelevanceRankAccuracy", "relevance_rank", 1e-12),
        ("RelevanceMassAccuracy", "relevance_mass", 1e-6),
        ("AUC", "localisation_auc", 1e-12),
        ("Complexity", "complexity", 1e-6),
    ):
        found = metric(f"quantus:{theirs}").score(whole, None).values
        np.testing.assert_allclose(found, metric(own).score(whole, None).values, rtol=tolerance)


def test_maps_that_quantus_refuses_are_undefined_and_the_other_clips_are_not() -> None:
    x, attribution, known = clips(4)
    attribution = attribution.clone()
    attribution[0] = 0.25
    attribution[1] = -attribution[1].abs() - 0.1
    known[2] = False
    whole = context(TinyNet(), x, attribution, known)
    found = metric("quantus:PixelFlipping").score(whole, None)
    assert found.reasons[:2] == (
        "the map is constant, which Quantus refuses",
        "the map is negative everywhere, which Quantus refuses",
    )
    assert found.values.isnan().tolist() == [True, True, False, False]
    # Quantus itself calls a clip without evidence a hit.
    found = metric("quantus:PointingGame").score(whole, None)
    assert found.reasons[1:] == (None, "the clip has no bin in which the event is loudest", None)


def test_a_method_that_fails_when_asked_again_leaves_the_clip_undefined() -> None:
    class Once(GradientTimesInput):
        answer = 0.0

        def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
            return Explanation(torch.full_like(batch.x, self.answer), batch.picture_shape)

    def score(answer: float) -> Scores:
        whole = made()
        whole.explainer.method = Once()
        Once.answer = answer
        return metric("quantus:MaxSensitivity,nr_samples=2").score(whole, None)

    assert set(score(float("nan")).reasons) == {"explained again, the map holds NaN"}
    assert set(score(0.5).reasons) == {"explained again, the map is constant, which Quantus refuses"}


def test_nan_of_quantus_is_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantus.Sparseness, "evaluate_batch", lambda self, **_: np.array([np.nan]))
    found = metric("quantus:Sparseness").score(made(), None)
    assert found.reasons == ("Quantus gives nan",) * CLIPS
    assert found.values.isnan().all()


@pytest.mark.skipif(hasattr(np, "trapz"), reason="numpy < 2 has trapz")
def test_irof_fails_on_numpy_2_and_is_named() -> None:
    with pytest.raises(XaibenchError, match=r"^Quantus's IROF fails on clip-0: AttributeError: .*trapz"):
        metric("quantus:IROF").score(made(), None)


def test_infidelity_fails_where_its_patches_do_not_fill_the_grid() -> None:
    """It pads the input, and then reshapes the input that it has not padded; 513 and 431 have no common divisor."""
    with pytest.raises(XaibenchError, match=r"^Quantus's Infidelity fails on clip-0: ValueError: cannot reshape"):
        metric("quantus:Infidelity,perturb_patch_sizes=[5]").score(made(), None)


def test_a_failing_classifier_is_left_without_hooks() -> None:
    """Quantus leaves its hooks behind when a forward pass fails, so it gets a copy to hook."""

    class Tuples(TinyNet):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def picture_logits(self, x: Tensor) -> Tensor:
            return super().picture_logits(self.pair(x)[0])

    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    x, attribution, known = clips()
    whole = context(Tuples(), x, attribution, known)
    with (
        unchanged(whole.classifier, whole.clean.batch, whole.target, "a failure"),
        pytest.raises(XaibenchError, match="RelativeRepresentationStability fails on clip-0: AttributeError"),
    ):
        metric("quantus:RelativeRepresentationStability,nr_samples=2").score(whole, None)


def test_what_the_name_says() -> None:
    kind = registry.load("metrics", "quantus:Selectivity,patch_size=4")
    assert kind.title == "Quantus Selectivity,patch_size=4"
    assert (kind.family, kind.higher_is_better, kind.needs_ground_truth) == ("faithfulness", False, False)
    assert registry.load("metrics", "quantus:PointingGame").needs_ground_truth
    assert registry.load("metrics", "quantus:Sparseness").higher_is_better
    assert registry.load("metrics", "quantus:Completeness").family == "axioms"
    assert registry.origin("metrics", "quantus:Selectivity") == "xaibench"
    assert registry.load("metrics", "quantus:Selectivity") is registry.load("metrics", "quantus:Selectivity")
    assert not any(name.startswith("quantus") for name in registry.names("metrics")), "never part of all"


def test_settings_change_the_value() -> None:
    whole = made()
    few, many = (metric(f"quantus:TopKIntersection,k={k}").score(whole, None).values.tolist() for k in (5, 60))
    assert few != many


def test_region_perturbation_is_better_when_the_logit_falls_further() -> None:
    """Quantus 0.6 declares the opposite."""
    assert quantus.RegionPerturbation.score_direction.value == "lower"
    x, _, known = clips()
    classifier = TinyNet()
    assert metric(named("RegionPerturbation")).higher_is_better
    # Occluding each patch alone tells which patches hold the logit up.
    target = classifier.picture_logits(x).argmax(dim=1)
    helpful = torch.zeros_like(x)
    for f in range(0, 12, 4):
        for t in range(0, 10, 4):
            without = x.clone()
            without[:, f : f + 4, t : t + 4] = x.amin(dim=(1, 2), keepdim=True)
            fall = (classifier.picture_logits(x) - classifier.picture_logits(without)).gather(1, target[:, None])
            helpful[:, f : f + 4, t : t + 4] = fall[:, :, None].detach()
    name = "quantus:RegionPerturbation,patch_size=4,regions_evaluation=3"
    good = metric(name).score(context(classifier, x, helpful + 1, known), None).values
    bad = metric(name).score(context(classifier, x, 1 - helpful, known), None).values
    assert (good > bad).all()


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_has_no_value_per_clip_is_refused(name: str) -> None:
    with pytest.raises(RegistryError, match=rf"^quantus:{name} cannot be used: it .*{UNUSABLE[name]}"):
        registry.load("metrics", f"quantus:{name}")


def test_the_refused_ones_indeed_have_no_value_of_one_clip() -> None:
    whole = made()
    with pytest.raises(ValueError, match="at least 2"):
        directly(quantus.SensitivityN, whole, 0, whole.attribution, features_in_step=PICTURE_SHAPE[0])
    assert directly(quantus.Consistency, whole, 0, whole.attribution) == [0.0]
    with pytest.raises(RuntimeError, match="stft"):  # takes the whole classifier for the first convolution
        directly(quantus.InputInvariance, whole, 0, whole.attribution)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Selectivty", r"^unknown Quantus metric 'Selectivty'; did you mean 'quantus:Selectivity'\?$"),
        ("zzz", r"^unknown Quantus metric 'zzz'; there are AUC, .*Sparseness, TopKIntersection$"),
        ("", r"^unknown Quantus metric ''; there are AUC, "),
        ("Metric", "^unknown Quantus metric 'Metric'"),
        ("ROAD,nois=0.1", r"^unknown setting 'nois' of quantus:ROAD; did you mean 'noise'\?$"),
        ("ROAD,disable_warnings=False", "^unknown setting 'disable_warnings' of quantus:ROAD; there are percentages"),
        ("ROAD,noise=much", "^setting 'noise' of quantus:ROAD must be a number$"),
        ("ROAD,noise=True", "^setting 'noise' of quantus:ROAD must be a number$"),
        ("ROAD,abs=1", "^setting 'abs' of quantus:ROAD must be True or False$"),
        ("ROAD,0.1", "^settings '0.1' of quantus:ROAD must be written as key=value,key=value$"),
        ("ROAD,noise=", "must be written as key=value"),
        ("ROAD,noise=f()", "must be written as key=value"),
        ("ROAD,noise=1)+f(", "must be written as key=value"),
    ],
)
def test_what_is_unknown_is_told_with_the_nearest_name(name: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        registry.load("metrics", f"quantus:{name}")


def test_settings_that_quantus_refuses_are_told_before_anything_runs() -> None:
    with pytest.raises(RegistryError, match=r"^metric 'quantus:MPRT,layer_order=up' of xaibench cannot be made"):
        registry.create("metrics", "quantus:MPRT,layer_order=up")


def test_without_quantus_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quantus", None)
    with pytest.raises(RegistryError, match=r"need Quantus .*; pip install 'quantus>=0\.6,<0\.7'$"):
        registry.load("metrics", "quantus:ROAD,noise=0.123")
    assert "sparseness" in registry.names("metrics")


def test_a_run_and_what_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The colon and the brackets of a name pass through files, tables and figures."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["xaibench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        return captured.out

    monkeypatch.chdir(tmp_path)
    name = "quantus:TopKIntersection,k=500"
    chosen = ["-c", "cnn-micro", "--limit", "2", "--metric", name, "--metric", "quantus:Sparseness", "--no-controls"]
    call("run", "-m", "saliency", "-m", "uniform", *chosen, "--metric", "sparseness", "--out", "run")
    rows = pd.concat(pd.read_parquet(path) for path in tmp_path.glob("run/*/*/part-*.parquet"))
    assert set(rows["metric"]) == {name, "quantus:Sparseness", "sparseness"}
    table = rows[rows["method"] == "saliency"].pivot(index="clip", columns="metric", values="value")
    np.testing.assert_allclose(table["quantus:Sparseness"], table["sparseness"], rtol=1e-3)
    constant = rows[(rows["method"] == "uniform") & (rows["metric"] == name)]
    assert set(constant["reason"]) == {"the map is constant, which Quantus refuses"}
    call("compare", "run")
    call("leaderboard", "run")
    made = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert {".csv", ".md", ".tex", ".png"} <= made
    lines = pd.concat(pd.read_csv(path) for path in tmp_path.rglob("comparison.csv"))
    assert name in set(lines["metric"])
    assert any("Quantus TopKIntersection,k=500" in path.read_text() for path in tmp_path.rglob("*.md"))
    shown = call("metrics", "show", name)
    assert re.search(r"title +Quantus TopKIntersection,k=500", shown)
    assert re.search(r"quantus:NAME +Any metric of Quantus", call("metrics"))
