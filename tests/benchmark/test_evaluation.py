"""Scoring from Python: objects without entry points take part in everything."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import xaibench as xb
from tests.support.command_line import Command
from tests.support.made_up_runs import FF, noise, write_run
from tests.support.objects import Failing, LoudBins, MeanLoss, bells, sounds
from xaibench import registry
from xaibench.benchmark import evaluation
from xaibench.benchmark.naming import Method, MetricLike
from xaibench.results import parts, store
from xaibench.results.verify import verify

LOUDER = "loud-bins:power=3.0"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> xb.Results:
    """A class and an object of it beside a registered control, and a metric object beside registered metrics."""
    methods: list[Method] = [LoudBins, LoudBins().with_parameters(power=3), "random"]
    metrics: list[MetricLike] = ["faithfulness", "sparseness", MeanLoss()]
    out = tmp_path_factory.mktemp("run")
    return xb.evaluate(xb.toy_classifier(), bells(), methods, metrics, out=out, progress=False, controls=False)


def test_objects_are_scored_compared_ranked_and_drawn(results: xb.Results) -> None:
    assert set(results.rows["method"]) == {"loud-bins", LOUDER, "random"}
    assert set(results.rows["metric"]) == {"faithfulness", "sparseness", "mean_loss"}
    assert set(results.rows["clip"]) == {"clip-0", "clip-1", "clip-2"} and results.failures == ()
    lines = results.comparison()
    losses = lines[lines["metric"] == "mean_loss"].set_index("method")
    assert losses["rank"].idxmin() == losses["mean"].idxmin()  # lower is better, as only the class says
    board = results.leaderboard("mean_loss")
    assert "ML ↓" in str(board) and "FF" not in str(board) and "Loud" not in str(board)
    assert "ML ↓" in str(results.leaderboard()) and "FF ↑" in str(results.leaderboard())
    page = results._repr_html_()
    assert page.count("<tr>") == 1 + 2 + 1 + 1 and LOUDER in page and "FF ↑" in page
    for kind in ("heatmap", "ranks", "distribution", "cost", "curves"):
        assert isinstance(results.plot(kind, width=3.3), Figure)
    assert verify(results.path).findings == ()
    with pytest.raises(xb.ResultsError, match="no metric nothing was scored; there are faithfulness"):
        results.leaderboard("nothing")


def test_the_folder_says_what_an_object_is(results: xb.Results) -> None:
    path = store.RunFolder(results.path, store.read_manifest(results.path)).part("toy-cnn", LOUDER, 0)
    info = parts.read_info(path)
    assert info.method.title == "Loud bins" and info.method.parameters["power"] == 3.0
    about = info.metrics["mean_loss"]
    assert (about.title, about.family, about.higher_is_better, about.low, about.high) == (
        "ML",
        "mine",
        False,
        0.0,
        None,
    )


def test_reading_needs_no_registry(results: xb.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = results.comparison()

    def refuse(*names: str) -> None:
        raise AssertionError(names)

    monkeypatch.setattr(registry, "load", refuse)
    again = xb.load_results(results.path)
    pd.testing.assert_frame_equal(again.comparison(), expected)
    assert str(again.leaderboard()) == str(results.leaderboard())
    assert isinstance(again.plot("curves"), Figure)


def test_a_run_joins_the_board_of_a_published_one(tmp_path: Path) -> None:
    published = xb.Results(write_run(tmp_path / "theirs", {"a": {FF: noise(1)}, "random": {FF: noise(2)}})).publish(
        tmp_path / "theirs"
    )
    mine = xb.Results(write_run(tmp_path / "mine", {"b": {FF: noise(3)}, "random": {FF: noise(2)}}))
    joined = mine.beside(published)
    assert set(joined.comparison()["method"]) == {"a", "b", "random"}
    assert len(joined.rows) == 3 * len(noise(1)) and "random" in str(joined.leaderboard())
    assert set(mine.comparison()["method"]) == {"b", "random"}, "left as it was"
    other = write_run(tmp_path / "other", {"c": {FF: noise(3)}}, seed=7)
    with pytest.raises(xb.ResultsError, match=r"may not stand in one table: synth-seed0 .*; synth-seed7 "):
        mine.beside(published, other)


def test_the_same_call_finds_what_is_there(results: xb.Results) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.parts_of(results.path)}
    again = xb.evaluate(
        xb.toy_classifier(), bells(), LoudBins(), MeanLoss, out=results.path, progress=False, controls=False
    )
    assert {path: path.stat().st_mtime_ns for path in store.parts_of(again.path)} == before
    with pytest.raises(xb.ResultsError, match="other parameters of loud-bins"):
        changed = LoudBins().with_parameters(power=5.0)
        xb.evaluate(xb.toy_classifier(), bells(), changed, MeanLoss, out=results.path, progress=False, controls=False)


def test_what_fails_and_what_is_left_out_is_said() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = xb.evaluate(
            xb.toy_classifier(),
            bells(2),
            ["random", "focalnet"],
            ["sparseness", Failing],
            limit=1,
            progress=False,
            controls=False,
        )
    said = "\n".join(str(one.message) for one in caught)
    assert "left out: focalnet on toy-cnn (needs focal modulation" in said
    assert "failed: random on toy-cnn: metric failing failed: ValueError: no such luck" in said
    (failure,) = found.failures
    assert (failure.method, failure.metric) == ("random", "failing") and "no such luck" in failure.traceback
    assert list(found.left_out["toy-cnn"]) == ["focalnet"]
    assert set(found.rows["metric"]) == {"sparseness"}
    path = found.path
    assert path.exists()
    del found
    gc.collect()
    assert not path.exists()  # a temporary folder lives as long as its results


def silent() -> xb.Dataset:
    """A clip in which nothing is to be heard."""
    return xb.clips([np.zeros(16_000)], 16_000, [xb.toy_classifier().classes[0]], ids=["nothing"])


def test_how_it_is_computed_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float | None]] = []
    score = evaluation.Run.score
    monkeypatch.setattr(
        evaluation.Run,
        "score",
        lambda run, *arguments: seen.append((run.config.batch_size, run.config.timeout)) or score(run, *arguments),
    )
    call = ["random"], ["faithfulness"]
    few = xb.evaluate(
        xb.toy_classifier(), bells(3), *call, batch_size=2, timeout=None, device="cpu", progress=False, controls=False
    )
    many = xb.evaluate(xb.toy_classifier(), bells(3), *call, progress=False, controls=False)
    assert seen == [(2, None), (16, 3600.0)]
    assert np.allclose(few.rows["value"], many.rows["value"], atol=1e-6)


def test_nonsense_is_refused_in_one_line() -> None:
    model: Any = xb.toy_classifier()
    data, no_method, no_metric, no_model = bells(1), cast(Any, MeanLoss()), cast(Any, LoudBins()), cast(Any, len)
    for call, words in (
        (lambda: xb.evaluate(model, data, []), r"methods=\[\] names nothing"),
        (lambda: xb.evaluate(model, data, "salience"), "did you mean 'saliency'"),
        (lambda: xb.evaluate(model, data, no_method), "is no method"),
        (lambda: xb.evaluate(model, data, "random", no_metric), "is no metric"),
        (lambda: xb.evaluate(no_model, data, "random"), "make one of it with xaibench.wrap"),
        (lambda: xb.evaluate(model, data, "focalnet"), "focalnet cannot run here: it needs focal modulation"),
        (lambda: xb.evaluate(model, "esc10", "random"), "esc10 needs --data-dir"),
        (lambda: xb.evaluate(model, data, "random", batch_size=0), "batch_size is 0; give 1 or more"),
        (lambda: xb.evaluate(model, data, "random", device="tpu"), "unknown device 'tpu'; use auto, cpu, cuda"),
        (lambda: xb.evaluate(model, silent(), "random", strict=True), "silent"),
        (lambda: xb.evaluate(model, data, type("Saliency", (LoudBins,), {})), "would be called saliency"),
    ):
        with pytest.raises(xb.XaibenchError, match=words), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()


def test_the_command_gives_the_same_scores(xaibench: Command, tmp_path: Path) -> None:
    arguments = [
        "run",
        "-m",
        "random",
        "-m",
        "energy",
        "-c",
        "cnn-micro",
        "--metric",
        "faithfulness",
        "--limit",
        "2",
        "--out",
        "cli",
    ]
    done = xaibench(*arguments)
    assert done.code == 0, done.err
    model = xb.classifier("cnn-micro", "synth")
    found = xb.evaluate(
        model, "synth", ["random", "energy"], "faithfulness", limit=2, out=tmp_path / "python", controls=False
    )
    pd.testing.assert_frame_equal(found.rows, xb.load_results(tmp_path / "cli").rows)


def test_a_classifier_that_was_changed_is_not_taken_for_the_shipped_one() -> None:
    from xaibench.benchmark.models import load_models

    model, data = xb.classifier("cnn-micro", "synth"), xb.dataset("synth")
    device = model.device
    (same,) = load_models([model], data, (5,), device)
    assert same.reference is not None and same.label == "cnn-micro"
    next(model.parameters()).data[0] += 1
    (changed,) = load_models([model], data, (5,), device)
    assert changed.reference is None and changed.identity != same.identity


def test_a_wrapped_model_is_never_scored_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is wrong with it, or why that cannot be told; the scores stay."""
    data = xb.clips(sounds(8), 16_000, ["bell", "crow"] * 4, ["bell", "crow"])

    def quiet(arrays: np.ndarray) -> np.ndarray:
        return np.stack([np.abs(arrays).sum(axis=1), np.zeros(len(arrays))], axis=1)

    def scored() -> pd.DataFrame:
        model = xb.wrap(quiet, classes=["bell", "crow"], sample_rate=16_000, gradients=False)
        return xb.evaluate(model, data, "random", "faithfulness", limit=2, progress=False, controls=False).rows

    with pytest.warns(UserWarning, match="quiet, checked on 8 clips: it is right on 4 of 8 clips, as guessing may be"):
        with_check = scored()
    monkeypatch.setattr("xaibench.benchmark.run.glance", lambda *given: 1 / 0)
    with pytest.warns(UserWarning, match="quiet cannot be checked: ZeroDivisionError"):
        without = scored()
    pd.testing.assert_frame_equal(with_check, without)


def test_where_nothing_was_scored_the_reason_is_said() -> None:
    def divides_by_silence(waveforms: np.ndarray) -> np.ndarray:
        loud = waveforms[:, :4000].std(axis=1), waveforms[:, 4000:].std(axis=1)
        with np.errstate(invalid="ignore"):
            return np.stack(loud, axis=1) / sum(loud)[:, None]

    model = xb.wrap(divides_by_silence, classes=["a", "b"], sample_rate=8_000, gradients=False, version="1")
    sounds = np.random.default_rng(0).standard_normal((2, 8_000)).astype(np.float32) * 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = xb.evaluate(
            model, xb.clips(sounds, 8_000, ["a", "b"]), "energy", "faithfulness", progress=False, controls=False
        )
    with pytest.raises(xb.ResultsError, match=r"energy on \w+ failed \(.*\(silence\); a division or logarithm"):
        results.leaderboard()
