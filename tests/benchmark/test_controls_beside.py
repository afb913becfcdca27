"""Controls that nobody asked for, scored beside what somebody did ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xaibench as xb
from tests.support import distribution
from tests.support.command_line import Command, assert_refused
from tests.support.objects import LoudBins, bells
from xaibench import registry
from xaibench.benchmark.naming import controls_beside
from xaibench.results import store

FLOOR = """
import xaibench as xb


class Floor(xb.Explainer):
    title = "Floor"
    reference = "none"
    description = "low frequencies first"
    polarity = "positive"
    control = True

    def explain(self, classifier, batch, target):
        return xb.Explanation(-batch.x.cumsum(1).cumsum(1) + 1e6, batch.picture_shape)
"""
SCORED = ("--limit", 1, "--metric", "sparseness", "--device", "cpu", "--controls")


def scored(path: Path) -> dict[str, set[str]]:
    """Methods of a run folder, by classifier."""
    rows = store.read_rows(path)
    return {str(name): set(block["method"]) for name, block in rows.groupby("classifier")}


def test_what_is_registered_is_a_control_under_its_own_name() -> None:
    assert registry.names("controls") == ["energy", "random"]
    for name in registry.names("controls"):
        assert registry.load("controls", name) is registry.load("methods", name)
        assert registry.load("controls", name).control


def test_controls_stand_beside_what_is_asked_for(xaibench: Command, tmp_path: Path) -> None:
    done = xaibench("run", "-m", "saliency", "-m", "energy", "-c", "cnn-micro", *SCORED, "--out", "made")
    assert done.code == 0, done.err
    assert scored(tmp_path / "made") == {"cnn-micro": {"saliency", "energy", "random"}}
    said = "scored beside, to compare with: random (without them: --no-controls)"
    assert done.error_lines.count(said) == 1 and "random" in done.out
    done = xaibench("run", "-m", "gradcam", "-c", "cnn-micro", *SCORED[:-1], "--no-controls", "--out", "made")
    assert "scored beside" not in done.err
    assert scored(tmp_path / "made")["cnn-micro"] == {"saliency", "energy", "random", "gradcam"}, "it is one run"
    xaibench("run", "-m", "gradcam", "-c", "cnn-micro", *SCORED[:-1], "--no-controls", "--out", "alone")
    assert scored(tmp_path / "alone") == {"cnn-micro": {"gradcam"}}


def test_they_stand_beside_something(xaibench: Command, tmp_path: Path) -> None:
    """Where nothing is scored that was asked for, no control is either, nor where it makes no sense itself."""
    done = xaibench("run", "-m", "vit-rollout", "-c", "cnn-micro", "-c", "vit-micro", *SCORED, "--out", "made")
    assert done.code == 0, done.err
    assert scored(tmp_path / "made") == {"vit-micro": {"vit-rollout", "random", "energy"}}
    refused = xaibench("run", "-m", "vit-rollout", "-c", "cnn-micro", *SCORED)
    assert_refused(refused, "vit-rollout cannot run here: it needs attention weights")
    soft = ("--limit", 1, "--metric", "mask_area", "--device", "cpu", "--controls", "--out", "soft")
    done = xaibench("run", "-m", "piq", "-c", "cnn-micro", *soft)
    assert done.code == 0 and "scored beside" not in done.err and "left out" not in done.err
    assert scored(tmp_path / "soft") == {"cnn-micro": {"piq"}}
    refused = xaibench("run", "-m", "saliency", "-c", "cnn-micro", *soft)
    assert refused.code == 2 and "says nothing of the methods here" in refused.error_lines[-1]


def test_a_plan_counts_them_and_what_is_there(tmp_path: Path) -> None:
    what, settings = (xb.toy_classifier(), bells(2), LoudBins, "sparseness"), {"out": tmp_path / "run"}
    assert {pair.method for pair in xb.plan(*what).pairs} == {"loud-bins", "random", "energy"}
    assert {pair.method for pair in xb.plan(*what, controls=False).pairs} == {"loud-bins"}
    xb.evaluate(*what, **settings, controls=False, progress=False)
    left = xb.plan(*what, **settings)
    assert left.failed == {} and {pair.method for pair in left.pairs if pair.parts} == {"random", "energy"}


def test_python_says_it_and_objects_have_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    data = bells(1)
    theirs = xb.Precomputed({"clip-0": np.ones((513, 431))}, "theirs")
    results = xb.evaluate(xb.toy_classifier(), data, [LoudBins, theirs], "sparseness")
    assert set(results.rows["method"]) == {"loud-bins", "theirs", "energy", "random"}
    said = " ".join(capsys.readouterr().err.split())
    assert "scored beside, to compare with: energy and random (without them: controls=False)" in said


def test_a_protocol_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original recipes have no controls."""
    assert set(controls_beside({}, "standard")[0]) == set(controls_beside({}, "spectrogram")[0]) == {"energy", "random"}
    assert controls_beside({}, "legacy-speechbrain")[0] == {}


def test_a_plugin_may_have_more_and_a_broken_one_costs_itself_alone(
    xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"methods": {"my-floor": "Floor"}, "controls": {"my-floor": "Floor", "my-odd": "Missing"}}
    distribution.add(distribution.write(tmp_path / "site", "floor_maker", FLOOR, points), monkeypatch)
    done = xaibench("run", "-m", "uniform", "-c", "cnn-micro", *SCORED, "--out", "made")
    distribution.forget(tmp_path / "site")
    assert done.code == 0, done.err
    assert scored(tmp_path / "made") == {"cnn-micro": {"uniform", "energy", "random", "my-floor"}}
    assert "left out: my-odd (control 'my-odd' of floor_maker does not load" in done.err
