"""Plugins that end or stop the process that makes them are refused by name, and cost themselves alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import distribution
from tests.support.command_line import Command
from xaibench import registry
from xaibench.errors import RegistryError
from xaibench.scoring import trial

PLUGIN = """
import ctypes, os, time
from xaibench import Explainer, Explanation, Metric

class Good(Explainer):
    title, reference, description, polarity = "Good", "nobody", "the spectrogram", "positive"

    def explain(self, classifier, batch, target):
        return Explanation(batch.x.clone(), batch.picture_shape)

class Exits(Good):
    def __init__(self):
        os._exit(0)

class Crashes(Good):
    def __init__(self):
        ctypes.string_at(0)

class Raises(Good):
    def __init__(self):
        raise KeyError("no")

class Hangs(Metric):
    def __init__(self):
        time.sleep(100)

    def score(self, context, area):
        pass
"""
METHODS = {"odd-crashes": "Crashes", "odd-exits": "Exits", "odd-good": "Good", "odd-raises": "Raises"}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = distribution.write(
        tmp_path / "plugins", "odd_makers", PLUGIN, {"methods": METHODS, "metrics": {"odd_hangs": "Hangs"}}
    )
    distribution.add(folder, monkeypatch)
    yield folder
    distribution.forget(folder)


@pytest.mark.usefixtures("plugins")
def test_what_ends_or_stops_a_process_is_refused_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    trial.give_up_on_deadly([*(("methods", name) for name in METHODS), ("methods", "random")])
    monkeypatch.setattr(trial, "SECONDS", 7.0)
    trial.give_up_on_deadly([("metrics", "odd_hangs")])
    words = "of odd_makers cannot be made: the process that tried"
    for group, name, reason in (
        ("methods", "odd-exits", f"{words} exited with code 0"),
        ("methods", "odd-crashes", f"{words} died \\(signal 11\\)"),
        ("metrics", "odd_hangs", f"{words} took longer than 7 s"),
        ("methods", "odd-raises", "of odd_makers cannot be made: KeyError: 'no'"),
    ):
        with pytest.raises(RegistryError, match=reason):
            registry.create(group, name)  # type: ignore[arg-type]
    assert registry.create("methods", "odd-good").title == "Good"
    assert set(registry.create_all("methods")[1]) == {"odd-crashes", "odd-exits", "odd-raises"}


@pytest.mark.usefixtures("plugins")
def test_a_run_goes_on_without_it(xaibench: Command, weights: Path) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "--device", "cpu")
    done = xaibench(*run, "-m", "odd-exits")
    assert done.code == 2
    assert "the process that tried exited with code 0" in " ".join(done.err.split())
    done = xaibench(*run, "-m", "odd-exits", "-m", "random")
    assert done.code == 2, "a named method that cannot be made is an error"


def test_nothing_is_started_for_xaibench_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_try", lambda names: pytest.fail("a process is started"))
    trial.give_up_on_deadly([("methods", name) for name in registry.names("methods")])
