"""The loop: scores that depend on nothing but the clip, and survive kills, strangers' code and bad maps."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from xaibench import evaluate as engine
from xaibench import provenance, registry, results
from xaibench.batch import Batch
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.data.base import Clip, Dataset
from xaibench.data.synth import Synth
from xaibench.errors import ResultsError, UnsupportedPairError, XaibenchError
from xaibench.evaluate import Event, Plan, Subject
from xaibench.evidence import AREAS, Evidence
from xaibench.explainer import Explainer
from xaibench.explanation import Explanation
from xaibench.forwarder import Forwarder
from xaibench.metric import Metric, Scores, scores
from xaibench.results import PART_CLIPS, Manifest, RunFolder

CHEAP_METHODS = ("energy", "gradcam", "saliency", "uniform")
CHEAP_METRICS = ("average_gain", "complexity", "faithfulness", "pointing_game", "relevance_mass", "sparseness")


@pytest.fixture(scope="module")
def synth() -> Synth:
    """The embedded clips, whose evidence is known."""
    return Synth()


@pytest.fixture(scope="module")
def folder_of_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN for synth: the shipped weights, or where there are none those of another ten classes under synth's names.

    What they were trained on does not matter here: scores are compared with scores.
    """
    shipped = dict.fromkeys(checkpoint.shipped())
    source = "synth" if ("synth", "cnn-micro") in shipped else "esc10"
    classifier, card = checkpoint.resolve("cnn-micro", source)
    folder = tmp_path_factory.mktemp("weights") / "cnn"
    checkpoint.save(folder, classifier, replace(card, dataset="synth", classes=Synth.classes))
    return folder


@pytest.fixture(scope="module")
def subject(folder_of_weights: Path) -> Subject:
    """The CNN under explanation."""
    classifier, card = checkpoint.load(folder_of_weights)
    return Subject("cnn", classifier, card.weights_sha256)


def plan_of(
    dataset: Dataset,
    methods: dict[str, Explainer] | Sequence[str] = ("energy",),
    metrics: dict[str, Metric] | Sequence[str] = ("sparseness",),
    clips: Sequence[Clip] | int = 3,
    seed: int = 0,
    batch_size: int = 16,
) -> Plan:
    """A plan over registered names or objects, on the first clips of fold 5."""
    if not isinstance(methods, dict):
        methods = {name: registry.create("methods", name) for name in methods}
    if not isinstance(metrics, dict):
        metrics = {name: registry.create("metrics", name) for name in metrics}
    if isinstance(clips, int):
        clips = dataset.in_folds([5])[:clips]
    return Plan(dataset, clips, methods, metrics, seed, batch_size)


def open_folder(path: Path, plan: Plan) -> RunFolder:
    """The run folder of a plan."""
    fingerprint = plan.dataset.fingerprint()
    return RunFolder(path, Manifest(plan.dataset.name, fingerprint, (5,), len(plan.clips), plan.seed, engine.PROTOCOL))


def run(plan: Plan, subject: Subject, path: Path) -> list[Event]:
    """Evaluate into a folder; what was reported."""
    events: list[Event] = []
    engine.evaluate(plan, subject, open_folder(path, plan), events.append)
    return events


KEY = ["classifier", "method", "metric", "area", "clip"]


def values(path: Path) -> pd.Series:
    """Scores by KEY, NaN where undefined."""
    rows = results.read_rows(path).fillna({"area": -1.0})
    assert not rows.duplicated(KEY).any()
    return rows.set_index(KEY)["value"].sort_index()


def assert_same(one: pd.Series, other: pd.Series, tolerance: float = 1e-4) -> None:
    """The same clips, methods and metrics, with scores equal to the tolerance as a share of the metric's range.

    A convolution rounds differently in a batch of another size; near the mask's threshold that swaps a few bins.
    """
    assert list(one.index) == list(other.index)
    for name, block in one.groupby(level="metric"):
        low, high = registry.load("metrics", name).bounds
        scale = high - low if np.isfinite(high - low) else 1.0
        reference = other[other.index.get_level_values("metric") == name]
        np.testing.assert_allclose(
            block.to_numpy(), reference.to_numpy(), rtol=tolerance, atol=tolerance * max(scale, 1.0), err_msg=str(name)
        )


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, synth: Synth, subject: Subject) -> Path:
    """Nine clips under the cheap methods and metrics in batches of 16."""
    path = tmp_path_factory.mktemp("scored")
    events = run(plan_of(synth, CHEAP_METHODS, CHEAP_METRICS, 9), subject, path)
    assert {event.kind for event in events} == {"scored"}
    return path


def test_rows_say_what_they_are(scored: Path, synth: Synth, subject: Subject) -> None:
    rows = results.read_rows(scored)
    areas = {"faithfulness": 4, "average_gain": 4}
    assert len(rows) == 9 * len(CHEAP_METHODS) * sum(areas.get(name, 1) for name in CHEAP_METRICS)
    assert set(rows["dataset"]) == {"synth"}
    assert set(rows["protocol"]) == {engine.PROTOCOL}
    assert set(rows.loc[rows["metric"] == "faithfulness", "area"]) == set(AREAS)
    assert rows.loc[rows["metric"] == "sparseness", "area"].isna().all()
    clips = {clip.id: clip for clip in synth.clips}
    for clip_id, group in rows.groupby("clip"):
        clip = clips[str(clip_id)]
        assert set(group["label"]) == {synth.classes[clip.label]}
        assert set(group["src_file"]) == {clip.src_file}
        assert set(group["fold"]) == {5}
        assert set(group["correct"]) == {set(group["predicted"]) == {synth.classes[clip.label]}}
    assert rows["value"].notna().equals(rows["reason"].isna())


def test_a_score_is_what_the_definitions_say(scored: Path, synth: Synth, subject: Subject) -> None:
    """FF and SPS of one clip under `energy`, by hand from the waveform."""
    from xaibench import audio

    clip = synth.in_folds([5])[3]
    x = audio.spectrogram(torch.from_numpy(synth.waveform(clip))[None])
    with torch.inference_mode():
        p = torch.softmax(subject.classifier.temperature * subject.classifier.logits(x).double(), dim=1)[0]
        count = round(0.1 * x.numel())
        loudest = x.flatten().argsort(descending=True)[:count]
        removed = x.clone().flatten()
        removed[loudest] = 0
        logits = subject.classifier.logits(removed.view_as(x)).double()
        q = torch.softmax(subject.classifier.temperature * logits, dim=1)[0]
    c = int(p.argmax())
    found = values(scored)
    assert found["cnn", "energy", "faithfulness", 0.1, clip.id] == pytest.approx(float(p[c] - q[c]), abs=1e-5)
    ordered = np.sort(x.numpy().ravel().astype(np.float64))
    n = len(ordered)
    gini = 1 - 2 * np.sum(ordered / ordered.sum() * (n - np.arange(1, n + 1) + 0.5) / n)
    assert found["cnn", "energy", "sparseness", -1.0, clip.id] == pytest.approx(gini, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_scores_do_not_depend_on_the_batch_size(
    batch_size: int, tmp_path: Path, scored: Path, synth: Synth, subject: Subject
) -> None:
    run(plan_of(synth, CHEAP_METHODS, CHEAP_METRICS, 9, batch_size=batch_size), subject, tmp_path)
    assert_same(values(tmp_path), values(scored))


def test_one_method_alone_scores_as_among_others(tmp_path: Path, scored: Path, synth: Synth, subject: Subject) -> None:
    run(plan_of(synth, ["saliency"], CHEAP_METRICS, 9), subject, tmp_path)
    alone = values(tmp_path)
    assert_same(alone, values(scored).xs("saliency", level="method", drop_level=False))


def test_one_metric_alone_scores_as_among_others(tmp_path: Path, scored: Path, synth: Synth, subject: Subject) -> None:
    run(plan_of(synth, ["gradcam", "uniform"], ["faithfulness"], 9), subject, tmp_path)
    expected = values(scored)
    keep = expected.index.get_level_values("metric") == "faithfulness"
    keep &= expected.index.get_level_values("method").isin(["gradcam", "uniform"])
    assert_same(values(tmp_path), expected[keep])


def test_scores_do_not_depend_on_the_order_of_the_clips(
    tmp_path: Path, scored: Path, synth: Synth, subject: Subject
) -> None:
    clips = synth.in_folds([5])[:9][::-1]
    clips = clips[5:] + clips[:5]
    run(plan_of(synth, CHEAP_METHODS, CHEAP_METRICS, clips), subject, tmp_path)
    assert_same(values(tmp_path), values(scored))


def test_random_draws_depend_on_the_seed_alone(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)
        run(plan_of(synth, ["random"], ["faithfulness"], 2, seed=seed), subject, tmp_path / name)
    first, again, other = (values(tmp_path / name) for name in "abc")
    assert first.equals(again)
    assert not first.equals(other)


def test_a_second_run_finds_everything_and_computes_nothing(scored: Path, synth: Synth, subject: Subject) -> None:
    before = {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()}
    forwarded: list[int] = []
    hook = subject.classifier.register_forward_pre_hook(lambda module, args: forwarded.append(1))
    started = time.perf_counter()
    try:
        events = run(plan_of(synth, CHEAP_METHODS, CHEAP_METRICS, 9), subject, scored)
    finally:
        hook.remove()
    assert time.perf_counter() - started < 5
    assert [event.kind for event in events] == ["found"] * len(CHEAP_METHODS)
    assert forwarded == []
    assert {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()} == before


def test_a_metric_added_later_keeps_the_earlier_ones(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    run(plan_of(synth, ["energy", "uniform"], ["sparseness"], 3), subject, tmp_path)
    first = values(tmp_path)
    events = run(plan_of(synth, ["energy"], ["complexity"], 3), subject, tmp_path)
    assert [event.kind for event in events] == ["scored"]
    both = values(tmp_path)
    assert_same(both[both.index.get_level_values("metric") == "sparseness"], first, tolerance=0)
    metrics = results.read_rows(tmp_path).groupby("method")["metric"].unique()
    assert set(metrics["energy"]) == {"sparseness", "complexity"}
    assert set(metrics["uniform"]) == {"sparseness"}
    events = run(plan_of(synth, ["energy"], ["sparseness"], 3), subject, tmp_path)
    assert [event.kind for event in events] == ["found"], "a metric asked for again is not scored again"


def test_a_damaged_part_is_made_again(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    plan = plan_of(synth, ["energy", "uniform"], ["complexity"], PART_CLIPS + 2)
    run(plan, subject, tmp_path)
    parts = sorted(tmp_path.rglob("*.parquet"))
    assert len(parts) == 4
    before = [part.read_bytes() for part in parts]
    parts[1].write_bytes(before[1][:-50])
    parts[2].with_suffix(".json").unlink()
    kinds = [event.kind for event in run(plan, subject, tmp_path)]
    assert sorted(kinds) == ["found", "found", "scored", "scored"]
    assert [part.read_bytes() for part in parts] == before


def test_what_would_mix_two_runs_is_refused(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    plan = plan_of(synth, ["occlusion"], ["sparseness"], 1)
    run(plan, subject, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(ResultsError, match="holds a run with seed 0, this one has 7; choose another --out"):
        run(replace(plan, seed=7), subject, tmp_path)
    with pytest.raises(ResultsError, match="scored with other weights of cnn; choose another --out"):
        run(plan, replace(subject, sha256="0" * 64), tmp_path)

    class Other(registry.load("methods", "occlusion")):  # type: ignore[misc]
        parameters: ClassVar[dict[str, Any]] = {"window": (20, 20), "stride": (10, 10), "baseline": "silence"}

    with pytest.raises(ResultsError, match="made with other parameters of occlusion; choose another --out"):
        run(replace(plan, methods={"occlusion": Other()}), subject, tmp_path)

    class Quieter(Synth):
        def waveform(self, clip: Clip) -> np.ndarray:
            return super().waveform(clip) * np.float32(0.5)

    with pytest.raises(ResultsError, match="made with other sound in the same clips; choose another --out"):
        run(replace(plan, dataset=Quieter()), subject, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_provenance_of_a_part(scored: Path, synth: Synth, subject: Subject) -> None:
    info = results.read_info(scored / "cnn" / "gradcam" / "part-000.parquet")
    assert info.clips == 9
    assert info.classifier_sha256 == subject.sha256
    assert info.method["code"] == "xaibench.methods.cam:GradCam"
    assert info.method["polarity"] == "positive"
    assert info.method["native_shape"] == [8, 8]
    sound = np.stack([synth.waveform(clip) for clip in synth.in_folds([5])[:9]])
    assert info.audio_sha256 == hashlib.sha256(sound.tobytes()).hexdigest()
    assert info.versions["torch"] == torch.__version__.partition("+")[0]
    assert info.device.startswith("cpu (")
    assert info.batch_size == 16
    assert info.explain_seconds > 0
    assert info.score_seconds > 0
    # Kept and removed at four areas, and nothing twice.
    assert info.forwards == 9 * 8
    assert info.peak_memory_bytes is None or info.peak_memory_bytes > 0


class _Method(Explainer):
    """Constant maps; what strangers write wrongly is overridden below."""

    title = "Stranger"
    reference = "nobody"
    description = "the spectrogram's own shape"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(self.map(batch), batch.grid)

    def map(self, batch: Batch) -> Any:
        return batch.x.clone()


class Raises(_Method):
    """Raises over several lines."""

    def map(self, batch: Batch) -> Any:
        raise KeyError("no such thing\nand more")


class WrongShape(_Method):
    """Forgets to resize."""

    def map(self, batch: Batch) -> Any:
        return batch.x[:, ::2]


class Nothing(_Method):
    """Forgets to return."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Any:
        return None


class Integers(_Method):
    """Returns counts."""

    def map(self, batch: Batch) -> Any:
        return batch.x.long()


class FailsLater(_Method):
    """Raises on the second part."""

    def map(self, batch: Batch) -> Any:
        if "synth-336" in batch.clip_ids:
            raise ValueError("part two")
        return batch.x.clone()


class Unserialisable(_Method):
    """Parameters that JSON cannot hold."""

    parameters: ClassVar[dict[str, Any]] = {"level": torch.ones(1)}


class Silent(_Method):
    """Exceptions with an empty message."""

    def map(self, batch: Batch) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Raises(), "KeyError: 'no such thing\\nand more'"),
        (WrongShape(), "the map has shape (1, 257, 431), expected (1, 513, 431) (batch, freq, time)"),
        (Nothing(), "explain() returned NoneType, expected an Explanation"),
        (Integers(), "the map is torch.int64, expected a floating-point tensor"),
        (Unserialisable(), "TypeError: Object of type Tensor is not JSON serializable"),
        (Silent(), "RuntimeError:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Explainer) else "",
)
def test_a_method_that_fails_is_named_and_the_others_go_on(
    method: Explainer, reason: str, tmp_path: Path, synth: Synth, subject: Subject
) -> None:
    methods = {"before": _Method(), "broken": method, "later": _Method()}
    events = run(plan_of(synth, methods), subject, tmp_path)
    assert [(event.method, event.kind) for event in events] == [
        ("before", "scored"),
        ("broken", "failed"),
        ("later", "scored"),
    ]
    assert events[1].reason == reason
    assert set(results.read_rows(tmp_path)["method"]) == {"before", "later"}
    assert not (tmp_path / "cnn" / "broken").exists()


def test_a_method_that_fails_later_keeps_its_finished_parts(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    plan = plan_of(synth, {"late": FailsLater(), "other": _Method()}, clips=2 * PART_CLIPS + 1)
    assert plan.clips[PART_CLIPS].id == "synth-336"
    events = run(plan, subject, tmp_path)
    kinds = [(event.method, event.kind) for event in events]
    # Left after it failed: the third part is not tried.
    assert kinds.count(("late", "scored")) == 1
    assert kinds.count(("late", "failed")) == 1
    assert kinds.count(("other", "scored")) == 3
    assert results.read_rows(tmp_path).groupby("method")["clip"].nunique().to_dict() == {
        "late": PART_CLIPS,
        "other": 2 * PART_CLIPS + 1,
    }


class Defective(_Method):
    """NaN in the first clip's map, infinity in the second's, zeros in the third's; the fourth is fine."""

    def map(self, batch: Batch) -> Any:
        maps = batch.x.clone()
        for i, clip in enumerate(batch.clip_ids):
            index = int(clip[-1])
            if index < 2:
                maps[i, 100, 100] = (float("nan"), float("-inf"))[index]
            elif index == 2:
                maps[i] = 0
        return maps


def test_maps_that_cannot_be_scored_are_undefined_with_a_reason(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    plan = plan_of(synth, {"defective": Defective(), "fine": _Method()}, ["faithfulness", "sparseness"], 4)
    assert [clip.id[-1] for clip in plan.clips] == ["0", "1", "2", "3"]
    events = run(plan, subject, tmp_path)
    assert {event.kind for event in events} == {"scored"}
    rows = results.read_rows(tmp_path)
    rows["index"] = rows["clip"].str[-1].astype(int)
    mine, fine = rows[rows["method"] == "defective"], rows[rows["method"] == "fine"]
    assert len(mine) == len(fine) == 4 * 5
    assert set(mine.loc[mine["index"] == 0, "reason"]) == {"the map holds NaN"}
    assert set(mine.loc[mine["index"] == 1, "reason"]) == {"the map holds infinite values"}
    assert mine.loc[mine["index"] < 2, "value"].isna().all()
    # An all-zero map has no sparseness; its masks are random by the tie rule, so its FF is defined.
    zero = mine[mine["index"] == 2].set_index("metric")
    assert zero.loc[["faithfulness"], "value"].notna().all()
    assert np.isnan(zero.loc["sparseness", "value"])
    assert isinstance(zero.loc["sparseness", "reason"], str)
    good = mine[mine["index"] == 3]
    assert good["reason"].isna().all()
    expected = fine[fine["index"] == 3]
    # A bad neighbour changes nothing.
    np.testing.assert_allclose(good["value"].to_numpy(), expected["value"].to_numpy(), rtol=0, atol=1e-6)
    stored = pd.read_parquet(tmp_path / "cnn" / "defective" / "part-000.parquet", dtype_backend="pyarrow")
    assert stored["value"].isna().sum() == 2 * 5 + 1


class _Metric(Metric):
    """A metric whose value is 1; what strangers write wrongly is overridden below."""

    title = "Stranger"
    family = "invented"
    reference = "nobody"
    description = "one"
    traps = "none"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"

    def score(self, evidence: Evidence, area: float | None) -> Scores:
        return scores(torch.ones(len(evidence)))


def _of(make: Callable[[Evidence], Any]) -> Metric:
    class Made(_Metric):
        def score(self, evidence: Evidence, area: float | None) -> Any:
            return make(evidence)

    return Made()


def _fail(evidence: Evidence) -> Scores:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_fail, "metric mine failed: ZeroDivisionError: division by zero"),
        (lambda e: torch.ones(len(e)), r"metric mine failed: score() returned Tensor, expected Scores"),
        (lambda e: scores(torch.ones(len(e) + 1)), "metric mine failed: values have shape (4,)"),
        (lambda e: scores(torch.ones(len(e), 2)), "metric mine failed: values have shape (3, 2)"),
        (lambda e: scores(torch.ones(())[None]), "metric mine failed: values have shape (1,)"),
    ],
)
def test_a_metric_that_fails_is_named(
    make: Callable[[Evidence], Any], reason: str, tmp_path: Path, synth: Synth, subject: Subject
) -> None:
    events = run(plan_of(synth, {"m": _Method()}, {"mine": _of(make)}), subject, tmp_path)
    assert [event.kind for event in events] == ["failed"]
    assert events[0].reason.startswith(reason)
    assert "\n" not in events[0].reason


def test_values_that_are_no_numbers_get_a_reason(tmp_path: Path, synth: Synth, subject: Subject) -> None:
    metric = _of(lambda e: scores(torch.tensor([float("nan"), float("inf"), 1.0])))
    run(plan_of(synth, {"m": _Method()}, {"mine": metric}), subject, tmp_path)
    rows = results.read_rows(tmp_path)
    assert rows["reason"].tolist()[:2] == ["mine is nan", "mine is inf"]
    assert rows["value"].isna().tolist() == [True, True, False]
    assert rows["reason"].isna().tolist() == [False, False, True]


class NoEvidence(Synth):
    """Synth, had nobody written down where the events are."""

    has_evidence = False

    def evidence(self, clip: Clip) -> np.ndarray:
        raise AssertionError("nobody may ask")


def test_without_evidence_its_metrics_and_methods_are_left_out(tmp_path: Path, subject: Subject) -> None:
    plan = plan_of(NoEvidence(), ["energy", "oracle", "focalnet"], ["sparseness", "pointing_game"])
    assert set(engine.refusals(plan, subject)) == {"oracle", "focalnet"}
    run(plan, subject, tmp_path)
    rows = results.read_rows(tmp_path)
    assert set(rows["metric"]) == {"sparseness"}
    assert set(rows["method"]) == {"energy"}
    with pytest.raises(UnsupportedPairError, match="nothing to run on cnn: focalnet needs focal modulation"):
        run(replace(plan, methods={"focalnet": registry.create("methods", "focalnet")}), subject, tmp_path)
    with pytest.raises(UnsupportedPairError, match="pointing_game: not on synth, whose evidence is not known"):
        run(replace(plan, metrics={"pointing_game": registry.create("metrics", "pointing_game")}), subject, tmp_path)


def test_memory_that_runs_out_halves_the_batch_and_frees_the_attempt(subject: Subject) -> None:
    import weakref

    forwarder = Forwarder(subject.classifier, 8)
    attempts: list[tuple[int, int]] = []
    alive: list[weakref.ref[Tensor]] = []

    def work(start: int, stop: int) -> int:
        # What the failed attempt held must be gone, or the smaller batch has less room than the larger had.
        assert all(reference() is None for reference in alive)
        attempts.append((start, stop))
        activations = torch.zeros(10)
        if stop - start > 2:
            alive.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stop - start

    assert forwarder.in_micro_batches(5, work) == [2, 2, 1]
    assert attempts == [(0, 5), (0, 2), (2, 4), (4, 5)]
    assert forwarder.batch_size == 2

    def never(start: int, stop: int) -> int:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    with pytest.raises(XaibenchError, match=r"one clip does not fit in the memory .*; use --device cpu or a smaller"):
        forwarder.in_micro_batches(5, never)

    def other(start: int, stop: int) -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        forwarder.in_micro_batches(5, other)


def test_forwarder_counts_and_scales(subject: Subject) -> None:
    x = torch.rand(5, 513, 431, generator=torch.Generator().manual_seed(0))
    forwarder = Forwarder(subject.classifier, 2)
    p = torch.softmax(forwarder.logits(x), dim=1)
    assert p.dtype == torch.float64
    assert forwarder.count == 5
    with torch.inference_mode():
        logits = subject.classifier.logits(x).double()
    expected = torch.softmax(subject.classifier.temperature * logits, dim=1)
    torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)


def test_peak_memory_sees_what_was_used() -> None:
    """In a process of its own: memory that an allocator has kept from earlier tests would not count."""
    program = (
        "import torch; from xaibench.memory import measure_peak\n"
        "with measure_peak(torch.device('cpu')) as peak:\n"
        "    block = torch.ones(8_000_000)\n"  # 32 MB
        "    del block\n"
        "print(peak.added_bytes)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    if printed.strip() != "None":
        assert 25e6 < int(printed) < 120e6


def test_code_hash_of_a_class_without_a_file() -> None:
    made = type("Typed", (_Method,), {"__module__": "__main__"})
    digest = provenance.code_hash(made)
    assert len(digest) == 64
    assert digest != provenance.code_hash(_Method)
    assert provenance.code_hash(_Method) == provenance.code_hash(Raises), "the file counts, and it is the same"


RUN = (
    "import sys; sys.argv = ['xaibench', *sys.argv[1:]];"
    "import torch; torch.set_num_threads(1); from xaibench import cli; cli.main()"
)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, folder_of_weights: Path) -> None:
    """kill -9 in the middle, then the same command: every part as in an undisturbed run."""
    common = ["run", "-m", "energy", "-m", "saliency", "-c", str(folder_of_weights), "--limit", "36"]
    common += ["--metric", "faithfulness", "--device", "cpu"]

    def start(out: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", RUN, *common, "--out", str(tmp_path / out)]
        pipe = subprocess.PIPE
        return subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "NO_COLOR": "1"})

    def parts(out: str) -> dict[str, bytes]:
        root = tmp_path / out
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}

    killed = start("killed")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").rglob("*.parquet"))) < 2:
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    early = parts("killed")
    assert 2 <= len(early) < 6, "killed in the middle"

    whole, resumed = start("whole"), start("killed")
    for process in (whole, resumed):
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert "saliency" in out
    assert len(parts("whole")) == 6
    assert parts("killed") == parts("whole")
    assert early.items() <= parts("killed").items()
