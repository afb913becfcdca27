"""The conformance kit: what the benchmark relies on in every explainer and metric, checked in seconds.

A plugin's test is one line, `check_explainer(MyMethod)` or `check_metric(MyMetric)`; the built-ins
are checked by the same calls. A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from xaibench import audio, provenance
from xaibench.batch import Batch
from xaibench.classifiers.base import COSINE_SCALE, Classifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import MelResize
from xaibench.errors import UnsupportedPairError, XaibenchError
from xaibench.evidence import AREAS, Clean, Evidence
from xaibench.explainer import Explainer, Need
from xaibench.explaining import Explaining
from xaibench.explanation import Explanation, Polarity, defects, validate
from xaibench.forwarder import Forwarder
from xaibench.metric import Metric, Scores
from xaibench.perturbation import Perturbation
from xaibench.unchanged import seeded, unchanged

TOLERANCE = 1e-4  # relative; a convolution rounds differently in batches of different sizes
_CLASSES = ("bell", "crow", "rain", "saw")
_IMAGE = (32, 32)


def toy_classifier(offers: Iterable[str] = ()) -> Classifier:
    """A tiny seeded classifier, frozen, that has what is asked for ("rectifiers", "modulation", "attentions").

    Raises:
        UnsupportedPairError: no toy has all of it.
    """
    wanted = frozenset(offers)
    for build in (_toy_cnn, _toy_focalnet, _toy_vit):
        with seeded(0), torch.no_grad():
            classifier = build()
            for module in classifier.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.momentum = None  # the statistics become those of the next pass
            # Without statistics of sound all clips would look alike to it, and a mask would change nothing.
            classifier.train().logits(toy_batch().x)
        if wanted <= classifier.offers:
            return freeze(classifier)
    raise UnsupportedPairError(f"no toy classifier offers {', '.join(sorted(wanted))}; pass one of your own")


def toy_batch(count: int = 3, seed: int = 0) -> Batch:
    """Clips with one tone burst each over noise, and the bins where the burst is louder as evidence."""
    generator = torch.Generator().manual_seed(0)
    pitch, onset = torch.rand(2, count, 1, generator=generator)
    time = torch.arange(audio.CLIP_SAMPLES) / audio.SAMPLE_RATE
    during = (time > 3 * onset) & (time < 3 * onset + 1.5)
    event = 0.5 * during * torch.sin(2 * math.pi * 300 * 2 ** (4 * pitch) * time)
    background = 0.02 * torch.randn(event.shape, generator=generator)
    evidence = audio.stft(event).abs() > audio.stft(background).abs()
    return Batch(audio.spectrogram(event + background), tuple(f"toy-{i}" for i in range(count)), seed, evidence)


def check_explainer(explainer: Explainer | type[Explainer], classifier: Classifier | None = None) -> None:
    """Check every promise of an explainer on toy sound; `classifier` replaces the toy one.

    Raises:
        AssertionError: the promise that is broken.
    """
    method = explainer() if isinstance(explainer, type) else explainer
    _check_words(method, ("title", "reference", "description"))
    assert getattr(method, "polarity", None) in get_args(Polarity), f"polarity must be one of {get_args(Polarity)}"
    unknown = set(method.needs) - set(get_args(Need))
    assert not unknown, f"needs holds {sorted(unknown)}; the benchmark knows {get_args(Need)}"
    _check_parameters(method)
    if classifier is None:
        classifier = toy_classifier(method.needs - {"evidence"})
    _check_refusals(method, classifier)

    batch = _on_device_of(classifier, toy_batch())
    if "evidence" not in method.needs:
        batch = replace(batch, evidence=None)  # a method that reads it must say so
    target = Forwarder(classifier, len(batch)).logits(batch.x).argmax(dim=1)
    explain = _Watched(method, classifier)
    whole = explain(batch, target, "a batch of three")
    for i, defect in enumerate(defects(whole.map)):
        assert defect is None, f"{defect} (clip {i} of the toy batch)"
    _check_randomness(explain, batch, target, whole)
    _check_independence(explain, batch, target, whole)
    explain(replace(batch.slice(0, 1), x=torch.zeros_like(batch.x[:1])), target[:1], "a silent clip")
    _check_interruption(method, classifier, batch.slice(0, 1), target[:1])


def check_metric(metric: Metric | type[Metric]) -> None:
    """Check every promise of a metric on toy sound.

    Raises:
        AssertionError: the promise that is broken.
    """
    scorer = metric() if isinstance(metric, type) else metric
    _check_words(scorer, ("title", "family", "reference", "description", "formula", "traps", "cost"))
    for flag in ("higher_is_better", "per_area", "needs_known_evidence", "in_default_set"):
        assert isinstance(getattr(scorer, flag, None), bool), f"{flag} must be True or False"
    bounds: Any = getattr(scorer, "bounds", ())
    assert len(bounds) == 2 and bounds[0] < bounds[1], f"bounds must be (smallest, largest), not {bounds}"
    for one in scorer.wants(AREAS):
        assert isinstance(one, Perturbation), f"wants() holds {one!r}, which is no Perturbation"

    batch = toy_batch()
    if not scorer.needs_known_evidence:
        batch = replace(batch, evidence=None)  # a metric that reads it must say so
    classifier = toy_classifier()
    draws = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(1)) ** 3
    whole = _score(scorer, _evidence(classifier, batch, draws, 16), "a random map")
    _check_same_values(scorer, classifier, batch, draws, whole)
    _check_odd_input(scorer, classifier, batch, draws)


def _toy_cnn() -> Classifier:
    classifier = CnnClassifier("toy-cnn", _CLASSES, MelResize(_IMAGE), (8, 16))
    classifier.temperature = COSINE_SCALE  # an untrained linear head hardly tells sounds apart
    return classifier


# transformers takes seconds to import: only where it is needed.
def _toy_focalnet() -> Classifier:
    from transformers import FocalNetConfig

    from xaibench.classifiers.focalnet import FocalNetClassifier

    config = FocalNetConfig(
        image_size=_IMAGE,
        num_channels=1,
        embed_dim=8,
        depths=[1, 1],
        hidden_sizes=[16, 16],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
        out_features=["stage2"],  # type: ignore[call-arg]  # taken through kwargs by transformers
    )
    return FocalNetClassifier("toy-focalnet", _CLASSES, MelResize(_IMAGE), config, hidden=8)


def _toy_vit() -> Classifier:
    from transformers import ViTConfig

    from xaibench.classifiers.vit import VitClassifier

    config = ViTConfig(
        image_size=list(_IMAGE),
        patch_size=[8, 4],
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return VitClassifier("toy-vit", _CLASSES, MelResize(_IMAGE), config, hidden=8)


def _check_words(leaf: object, keys: Sequence[str]) -> None:
    for key in keys:
        value = getattr(leaf, key, None)
        assert isinstance(value, str) and value.strip(), f"{key} must be a sentence or name, not {value!r}"


def _check_parameters(method: Explainer) -> None:
    try:
        provenance.plain(method.parameters)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"parameters must be plain JSON values, they are written to the results: {error}"
        ) from None


def _check_refusals(method: Explainer, classifier: Classifier) -> None:
    refusal = method.refusal(classifier, has_evidence=True)
    assert refusal is None, f"refusal() turns down {classifier.name}, which has all it needs: {refusal}"
    for need in method.needs:
        lacking = classifier
        if need != "evidence":
            lacking = toy_classifier({"attentions"} if need == "rectifiers" else {"rectifiers"})
        refusal = method.refusal(lacking, has_evidence=need != "evidence")
        assert isinstance(refusal, str) and refusal, f"refusal() gives no reason where '{need}' is missing: {refusal!r}"


class _Watched:
    """Explains, and asserts the contract of the explanation and that nothing else has changed."""

    def __init__(self, method: Explainer, classifier: Classifier) -> None:
        self._method, self._classifier = method, classifier

    def __call__(self, batch: Batch, target: Tensor, situation: str) -> Explanation:
        with unchanged(self._classifier, batch, target, f"explain() of {situation}"):
            try:
                explanation = self._method.explain(self._classifier, batch, target)
            except Exception as error:
                raise AssertionError(
                    f"explain() of {situation} raised {type(error).__name__}: {error}; declare in `needs` what it needs"
                ) from error
        try:
            validate(explanation, tuple(batch.x.shape))
        except XaibenchError as error:
            raise AssertionError(str(error)) from None
        assert explanation.map.device == batch.x.device, f"the map is on {explanation.map.device}, not with the clips"
        shape = explanation.native_shape
        largest = [max(sizes) for sizes in zip(batch.grid, self._classifier.front_end.image_size, strict=True)]
        plausible = len(shape) == 2 and all(
            isinstance(n, int) and 1 <= n <= most for n, most in zip(shape, largest, strict=True)
        )
        assert plausible, f"native_shape {shape} is no (freq, time) resolution"
        return explanation


def _check_randomness(explain: _Watched, batch: Batch, target: Tensor, whole: Explanation) -> None:
    remedy = "draw only from batch.generator(index, purpose)"
    with seeded(1):
        again = explain(batch, target, "the same batch again")
    assert _close(whole.map, again.map), f"the same clips and seed gave two maps; {remedy}"
    other = explain(replace(batch, seed=batch.seed + 1), target, "another seed")
    if _close(whole.map, other.map):
        return  # draws nothing
    reseeded = explain(
        _Reseeded(batch.x, batch.clip_ids, batch.seed, batch.evidence), target, "other draws of the generators"
    )
    assert _close(other.map, reseeded.map), f"the map depends on the seed other than by batch.generator; {remedy}"


def _check_independence(explain: _Watched, batch: Batch, target: Tensor, whole: Explanation) -> None:
    backwards = explain(_reversed(batch), target.flip(0), "a reversed batch").map.flip(0)
    assert _close(whole.map, backwards), "a clip's map depends on the order of the batch"
    for i in range(len(batch)):
        alone = explain(batch.slice(i, i + 1), target[i : i + 1], "a batch of one")
        assert _close(whole.map[i : i + 1], alone.map), "a clip's map depends on the other clips of its batch"


class _Interruption(Exception):
    """Raised inside a forward pass to see what an explainer leaves behind."""


class _Interrupter:
    """Counts the classifier's forward passes inside `with`, and raises in the middle of one of them."""

    def __init__(self, classifier: Classifier, stop: int = 0) -> None:
        self.passes, self._stop = 0, stop
        self._tap = classifier.feature_maps

    def __enter__(self) -> _Interrupter:
        self._handle = self._tap.register_forward_pre_hook(self._pass)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _pass(self, module: nn.Module, args: object) -> None:
        self.passes += 1
        if self.passes == self._stop:
            raise _Interruption("the conformance kit stopped this forward pass")


def _check_interruption(method: Explainer, classifier: Classifier, batch: Batch, target: Tensor) -> None:
    with _Interrupter(classifier) as counter:
        method.explain(classifier, batch, target)
    stops = {1, counter.passes // 2 + 1, counter.passes} if counter.passes else set()
    for stop in sorted(stops):
        raised = False
        with unchanged(classifier, batch, target, "an exception inside the classifier's forward pass"):
            try:
                with _Interrupter(classifier, stop):
                    method.explain(classifier, batch, target)
            except Exception:
                raised = True  # wrapped or not; what it may not do is go on as if nothing had been
        assert raised, "explain() hides an exception of the classifier's forward pass"


class _Reseeded(Batch):
    """A batch whose generators belong to the next seed although `seed` does not say so."""

    def generator(self, index: int, purpose: str) -> torch.Generator:
        return Batch(self.x, self.clip_ids, self.seed + 1).generator(index, purpose)

    def slice(self, start: int, stop: int) -> Batch:
        piece = super().slice(start, stop)
        return _Reseeded(piece.x, piece.clip_ids, piece.seed, piece.evidence)


def _check_same_values(
    metric: Metric, classifier: Classifier, batch: Batch, importance: Tensor, whole: list[Scores]
) -> None:
    """In any order, batch and forward batch, with any global random state."""
    with seeded(1):
        backwards = _score(metric, _evidence(classifier, _reversed(batch), importance.flip(0), 2), "a reversed batch")
    for i in range(len(batch)):
        lone = _score(metric, _evidence(classifier, batch.slice(i, i + 1), importance[i : i + 1], 1), "one clip")
        for alone, reverse, together in zip(lone, backwards, whole, strict=True):
            value, slack = together.values[i], TOLERANCE * float(together.values.nan_to_num().abs().max())
            for other, change in ((alone.values[0], "when it is scored alone"), (reverse.values[-1 - i], "in reverse")):
                same = torch.isclose(value, other, rtol=0, atol=slack, equal_nan=True)
                assert same, f"the value of a clip changes {change}: {value:.6g} became {other:.6g}"


def _check_odd_input(metric: Metric, classifier: Classifier, batch: Batch, draws: Tensor) -> None:
    one_bin = torch.zeros_like(draws)
    one_bin[:, 100, 100] = 1.0
    odd_maps = {
        "an all-zero map": torch.zeros_like(draws),
        "a constant map": torch.ones_like(draws),
        "a map of one bin": one_bin,
        "a map of tiny values": 1e-30 * draws,
        "a map of huge values": 1e30 * draws,
    }
    for situation, importance in odd_maps.items():
        _score(metric, _evidence(classifier, batch, importance, 16), situation)
    certain = _evidence(classifier, batch, draws, 16)
    only = 1e4 * nn.functional.one_hot(certain.target, len(_CLASSES)).double()
    certain.clean = replace(certain.clean, logits=only)
    _score(metric, certain, "a clean probability of 1")
    if batch.evidence is not None:
        for situation, known in {"a clip without": torch.zeros_like, "a clip full of": torch.ones_like}.items():
            odd = replace(batch, evidence=known(batch.evidence))
            _score(metric, _evidence(classifier, odd, draws, 16), f"{situation} evidence")


class GradientTimesInput(Explainer):
    """What metrics that ask the method again are checked with."""

    title = "gradient x input"
    reference = "Shrikumar et al., arXiv 1605.01713"
    description = "the gradient of the target's logit times the spectrogram"
    polarity = "absolute"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        x = batch.x.detach().clone().requires_grad_()
        chosen = classifier.logits(x).gather(1, target[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, x)
        return Explanation(gradient * batch.x, batch.grid)


class _Listening(Evidence):
    """Evidence that remembers which perturbations were read."""

    def __init__(self, clean: Clean, attribution: Tensor, explaining: Explaining) -> None:
        super().__init__(clean, attribution, explaining)
        self.read: set[Perturbation] = set()

    def require(self, wanted: Sequence[Perturbation]) -> None:
        self.read.update(wanted)
        super().require(wanted)


def _evidence(classifier: Classifier, batch: Batch, importance: Tensor, batch_size: int) -> _Listening:
    forwarder = Forwarder(classifier, batch_size)
    clean = Clean(batch, forwarder.logits(batch.x), forwarder.logits(torch.zeros_like(batch.x[:1]))[0])
    return _Listening(clean, importance.clone(), Explaining(GradientTimesInput(), forwarder))


def _score(metric: Metric, evidence: _Listening, situation: str) -> list[Scores]:
    """Scores at every area, each checked."""
    announced = metric.wants(AREAS)
    evidence.require(announced)
    found = []
    inputs = {"the importance map": evidence.importance, "the clean probabilities": evidence.clean.probabilities}
    copies = {name: tensor.clone() for name, tensor in inputs.items()}
    for area in AREAS if metric.per_area else (None,):
        evidence.read.clear()
        with unchanged(None, evidence.clean.batch, evidence.target, f"score() of {situation}"):
            try:
                result = metric.score(evidence, area)
            except Exception as error:
                raise AssertionError(
                    f"score() of {situation} raised {type(error).__name__}: {error}; where a value is undefined, "
                    "return NaN with a reason"
                ) from error
        beyond = evidence.read - set(announced)
        assert not beyond, f"score() reads {sorted(map(repr, beyond))}, which wants() does not announce"
        for name, tensor in inputs.items():
            assert torch.equal(tensor, copies[name]), f"score() changed {name}"
        _check_scores(metric, result, len(evidence), situation)
        found.append(result)
    return found


def _check_scores(metric: Metric, result: Scores, count: int, situation: str) -> None:
    assert isinstance(result, Scores), f"score() returned {type(result).__name__}, expected Scores"
    values = result.values
    assert values.shape == (count,) and values.dtype == torch.float64, (
        f"values are {values.dtype} {tuple(values.shape)}, expected float64 ({count},); use xaibench.metric.scores"
    )
    assert len(result.reasons) == count, f"{len(result.reasons)} reasons for {count} clips"
    low, high = metric.bounds
    for value, reason in zip(values.tolist(), result.reasons, strict=True):
        assert reason is None or (isinstance(reason, str) and reason), f"a reason is {reason!r}, expected a sentence"
        if reason is None:
            assert math.isfinite(value), f"{situation} scores {value} without a reason"
            assert low - 1e-9 <= value <= high + 1e-9, f"{situation} scores {value}, outside bounds {metric.bounds}"
        else:
            assert math.isnan(value), f"{situation} scores {value} although it is undefined: {reason}"


def _close(first: Tensor, second: Tensor) -> bool:
    """Whether maps agree, each within the tolerance of its own largest value."""
    gap = (first - second).abs().flatten(1).amax(dim=1)
    return bool((gap <= TOLERANCE * first.abs().flatten(1).amax(dim=1)).all())


def _reversed(batch: Batch) -> Batch:
    evidence = None if batch.evidence is None else batch.evidence.flip(0)
    return Batch(batch.x.flip(0), batch.clip_ids[::-1], batch.seed, evidence)


def _on_device_of(classifier: Classifier, batch: Batch) -> Batch:
    device = next(classifier.parameters()).device
    assert batch.evidence is not None
    return replace(batch, x=batch.x.to(device), evidence=batch.evidence.to(device))
