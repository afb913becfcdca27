"""The loop: rows that say what they are, and scores that depend on nothing but the clip."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.evaluating import assert_same, config_of, run, values
from xaibench import registry
from xaibench.classifiers.memory import measure_peak
from xaibench.errors import UnsupportedPairError
from xaibench.explaining.explanation import Explanation
from xaibench.results import parts, store
from xaibench.results.areas import AREAS
from xaibench.scoring import evaluate as engine
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.scoring.protocol import STANDARD
from xaibench.sound.dataset import Clip
from xaibench.sound.synth import Synth

CLIPS = 5
CHEAP_METHODS = ("energy", "gradcam", "saliency", "uniform")
CHEAP_METRICS = ("average_gain", "complexity", "faithfulness", "pointing_game", "relevance_mass", "sparseness")


def heard(synth: Synth, clip: Clip, loaded: LoadedClassifier) -> np.ndarray:
    """The samples of a clip that the classifier hears."""
    return synth.waveform_at(clip, loaded.classifier.sample_rate, loaded.classifier.samples)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, synth: Synth, loaded: LoadedClassifier) -> Path:
    """Five clips under the cheap methods and metrics in batches of 16."""
    path = tmp_path_factory.mktemp("scored")
    events = run(config_of(synth, CHEAP_METHODS, CHEAP_METRICS, CLIPS), loaded, path)
    assert {event.kind for event in events} == {"scored"}
    return path


def test_rows_say_what_they_are(scored: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    rows = store.read_rows(scored)
    areas = {"faithfulness": 4, "average_gain": 4}
    assert len(rows) == CLIPS * len(CHEAP_METHODS) * sum(areas.get(name, 1) for name in CHEAP_METRICS)
    assert set(rows["dataset"]) == {"synth"}
    assert set(rows["protocol"]) == {STANDARD.id}
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


def test_a_score_is_what_the_definitions_say(scored: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    """FF and SPS of one clip under `energy`, by hand from the waveform."""
    from xaibench.sound import audio

    clip = synth.in_folds([5])[3]
    sound = torch.from_numpy(heard(synth, clip, loaded))[None]
    x = audio.spectrogram(sound)
    assert audio.DOMAIN.audible_frames(sound).all(), "all bins count"
    with torch.inference_mode():
        p = torch.softmax(loaded.classifier.temperature * loaded.classifier.picture_logits(x).double(), dim=1)[0]
        rest = torch.ones(x.numel())
        rest[x.flatten().argsort(descending=True)[: round(0.1 * x.numel())]] = 0
        removed = audio.DOMAIN.istft(audio.stft(sound) * rest.view_as(x), sound.shape[1])
        logits = loaded.classifier.picture_logits(audio.spectrogram(removed)).double()
        q = torch.softmax(loaded.classifier.temperature * logits, dim=1)[0]
    c = int(p.argmax())
    found = values(scored)
    assert found["cnn", "energy", "faithfulness", 0.1, clip.id] == pytest.approx(float(p[c] - q[c]), abs=1e-5)
    ordered = np.sort(x.numpy().ravel().astype(np.float64))
    n = len(ordered)
    gini = 1 - 2 * np.sum(ordered / ordered.sum() * (n - np.arange(1, n + 1) + 0.5) / n)
    assert found["cnn", "energy", "sparseness", -1.0, clip.id] == pytest.approx(gini, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_do_not_depend_on_the_batch_size(
    batch_size: int, tmp_path: Path, scored: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    run(config_of(synth, CHEAP_METHODS, CHEAP_METRICS, CLIPS, batch_size=batch_size), loaded, tmp_path)
    assert_same(values(tmp_path), values(scored))


def test_one_method_alone_scores_as_among_others(
    tmp_path: Path, scored: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    run(config_of(synth, ["saliency"], CHEAP_METRICS, CLIPS), loaded, tmp_path)
    alone = values(tmp_path)
    assert_same(alone, values(scored).xs("saliency", level="method", drop_level=False))


def test_one_metric_alone_scores_as_among_others(
    tmp_path: Path, scored: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    run(config_of(synth, ["gradcam", "uniform"], ["faithfulness"], CLIPS), loaded, tmp_path)
    expected = values(scored)
    keep = expected.index.get_level_values("metric") == "faithfulness"
    keep &= expected.index.get_level_values("method").isin(["gradcam", "uniform"])
    assert_same(values(tmp_path), expected[keep])


def test_scores_do_not_depend_on_the_order_of_the_clips(
    tmp_path: Path, scored: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    clips = synth.in_folds([5])[:CLIPS][::-1]
    clips = clips[3:] + clips[:3]
    run(config_of(synth, CHEAP_METHODS, CHEAP_METRICS, clips), loaded, tmp_path)
    assert_same(values(tmp_path), values(scored))


def test_random_draws_depend_on_the_seed_alone(tmp_path: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)
        run(config_of(synth, ["random"], ["faithfulness"], 2, seed=seed), loaded, tmp_path / name)
    first, again, other = (values(tmp_path / name) for name in "abc")
    assert first.equals(again)
    assert not first.equals(other)


def test_a_second_run_finds_everything_and_computes_nothing(
    scored: Path, synth: Synth, loaded: LoadedClassifier
) -> None:
    before = {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()}
    forwarded: list[int] = []
    hook = loaded.classifier.register_forward_pre_hook(lambda module, args: forwarded.append(1))
    try:
        events = run(config_of(synth, CHEAP_METHODS, CHEAP_METRICS, CLIPS), loaded, scored)
    finally:
        hook.remove()
    assert [event.kind for event in events] == ["found"] * len(CHEAP_METHODS)
    assert forwarded == []
    assert {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()} == before


def test_provenance_of_a_part(scored: Path, synth: Synth, loaded: LoadedClassifier) -> None:
    info = parts.read_info(scored / "cnn" / "gradcam" / "part-000.parquet")
    assert info.clips == CLIPS
    assert info.weights_sha256 == loaded.sha256
    assert info.classifier_sha256 == loaded.identity
    assert set(info.metrics_sha256) == set(CHEAP_METRICS)
    assert info.method.code == "xaibench.methods.cam:GradCam"
    assert info.method.polarity == "positive"
    assert info.method.native_shape == (16, 16)
    clips = synth.in_folds([5])[:CLIPS]
    assert info.audio_sha256 == {c.id: hashlib.sha256(heard(synth, c, loaded).tobytes()).hexdigest() for c in clips}
    assert set(info.ground_truth_sha256) == set(info.audio_sha256)
    assert info.versions["torch"] == torch.__version__.partition("+")[0]
    assert info.device.startswith("cpu (")
    assert info.batch_size == 16
    assert info.explain_seconds > 0
    assert info.score_seconds > 0
    # Kept and removed at four areas, and nothing twice.
    assert info.forwards == CLIPS * 8
    with measure_peak(torch.device("cpu")) as peak:
        pass
    assert (info.peak_memory_bytes is None) == (peak.added_bytes is None), "said where the system says it"


class NoEvidence(Synth):
    """Synth, had nobody written down where the events are."""

    has_ground_truth = False

    def ground_truth(self, clip: Clip) -> np.ndarray:
        raise AssertionError("nobody may ask")


def test_without_evidence_its_metrics_and_methods_are_left_out(tmp_path: Path, loaded: LoadedClassifier) -> None:
    config = config_of(NoEvidence(), ["energy", "oracle", "focalnet"], ["sparseness", "pointing_game"])
    assert set(engine.methods_on(config, loaded)[1]) == {"oracle", "focalnet"}
    run(config, loaded, tmp_path)
    rows = store.read_rows(tmp_path)
    assert set(rows["metric"]) == {"sparseness"}
    assert set(rows["method"]) == {"energy"}
    with pytest.raises(UnsupportedPairError, match="nothing to run on cnn: focalnet needs focal modulation"):
        run(replace(config, methods={"focalnet": registry.create("methods", "focalnet")}), loaded, tmp_path)
    with pytest.raises(UnsupportedPairError, match="pointing_game: not on synth, which has no ground truth"):
        run(replace(config, metrics={"pointing_game": registry.create("metrics", "pointing_game")}), loaded, tmp_path)


def test_what_a_method_costs_does_not_depend_on_who_came_before_it(
    synth: Synth, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    """Some changed clips are the same for all methods and are forwarded once: every method that reads them pays."""
    metrics = ("faithfulness", "infidelity")
    run(config_of(synth, ("energy", "saliency"), metrics, 2), loaded, tmp_path / "both")
    costs = {}
    for method in ("energy", "saliency"):
        run(config_of(synth, (method,), metrics, 2), loaded, tmp_path / method)
        alone, among = (
            parts.read_info(tmp_path / folder / "cnn" / method / "part-000.parquet") for folder in (method, "both")
        )
        assert alone.forwards == among.forwards
        costs[method] = among.forwards
    assert costs["energy"] == costs["saliency"] > 2 * 8


def test_what_takes_many_forward_passes_is_told_before_the_first(
    synth: Synth, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    rise = registry.create("methods", "rise").with_parameters(masks=1_003)
    rise.explain = lambda classifier, batch, target: Explanation(batch.x, (1, 1))
    events = run(
        config_of(synth, {"rise": rise, "energy": registry.create("methods", "energy")}, clips=1), loaded, tmp_path
    )
    told = [(event.kind, event.method) for event in events if event.kind in {"costly", "scored"}]
    assert told == [("costly", "rise"), ("scored", "rise"), ("scored", "energy")]
    (reason,) = [event.reason for event in events if event.kind == "costly"]
    assert reason == "1,003 forward passes a clip, by its parameter masks"
