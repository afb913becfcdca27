"""Strangers' explainers on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.support.command_line import Command, assert_refused
from tests.support.few_passes import let_all_ask_rarely
from xaibench import registry
from xaibench.results import store

PLUGIN = """
from xaibench import Explainer, Explanation

class Odd(Explainer):
    title = "Odd"
    reference = "nobody"
    description = "nothing"
    polarity = "positive"

class Fails(Odd):
    def explain(self, classifier, batch, target):
        raise ValueError("first line\\nsecond line")

class Hollow(Odd):
    def explain(self, classifier, batch, target):
        return Explanation(batch.x * float("nan"), batch.picture_shape)

class WithGradient(Odd):
    def explain(self, classifier, batch, target):
        return Explanation(batch.x.clone().requires_grad_() * 2, batch.picture_shape)

class Abstract(Odd):
    pass

class Leaves(Fails):
    def __init__(self):
        raise SystemExit(0)

class LeavesLater(Odd):
    def explain(self, classifier, batch, target):
        raise SystemExit(0)

class Stranger:
    pass
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stranger's package with one good explainer and many bad ones."""
    (tmp_path / "odd_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    names = {
        **{"fails": "Fails", "hollow": "Hollow", "with-gradient": "WithGradient", "abstract": "Abstract"},
        **{"leaves": "Leaves", "leaves-later": "LeavesLater", "stranger": "Stranger", "../../escaped": "WithGradient"},
    }
    points = [EntryPoint(name, f"odd_plugin:{kind}", "xaibench.methods") for name, kind in names.items()]
    points.append(EntryPoint("absent", "package_nobody_has:Method", "xaibench.methods"))
    real = registry.entry_points
    with monkeypatch.context() as patch:
        patch.setattr(
            registry, "entry_points", lambda group: [*real(group=group), *(p for p in points if p.group == group)]
        )
        registry._entries.cache_clear()
        registry.load.cache_clear()
        yield
    registry._entries.cache_clear()
    registry.load.cache_clear()
    sys.modules.pop("odd_plugin", None)


@pytest.mark.usefixtures("plugin")
def test_bad_plugins_are_named_and_the_rest_is_saved(
    xaibench: Command, weights: Path, tmp_path: Path, esc50_folder: Path
) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "--metric", "faithfulness", "--out", "made")
    done = xaibench(*run, "-m", "fails", "-m", "energy", "-m", "hollow", "-m", "with-gradient")
    assert done.code == 2
    assert "failed: fails on cnn-micro@" in done.err
    assert ": ValueError: first line (see made/run.log)\n" in done.err
    assert "second line" not in done.err
    assert "Error: 1 of 4 pairs failed (see above); everything else is saved" in done.err
    assert "energy" in done.out
    assert set(store.read_rows(tmp_path / "made")["method"]) == {"energy", "hollow", "with-gradient"}
    assert_refused(xaibench(*run, "-m", "abstract"), "method 'abstract' of odd_plugin:Abstract cannot be made")
    assert_refused(xaibench(*run, "-m", "absent"), "method 'absent' of package_nobody_has:Method does not load")
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    explain = ("explain", clip, "-c", "cnn-micro")
    assert_refused(xaibench(*explain, "-m", "fails"), "fails failed: ValueError: first line")
    assert_refused(xaibench(*explain, "-m", "hollow"), "hollow explains nothing here: the map holds NaN")
    assert xaibench(*explain, "-m", "with-gradient").code == 0
    listing = xaibench("methods")
    assert listing.code == 0
    assert "does not load: ModuleNotFoundError" in listing.out
    assert "vit-rollout" in listing.out


@pytest.mark.usefixtures("plugin")
def test_tracebacks_are_in_the_log_and_shown_on_demand(
    xaibench: Command, weights: Path, tmp_path: Path, esc50_folder: Path
) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "-m", "fails", "-m", "energy", "--out", "made")
    done = xaibench(*run)
    assert "Traceback" not in done.err
    assert "fails runs in this process, without a time limit: no installed package registers it" in done.err
    log = tmp_path / "made" / store.LOG
    entry = log.read_text()
    assert " fails on cnn-micro@" in entry and "ValueError: first line\nTraceback (most recent call last):" in entry
    assert 'odd_plugin.py", line' in entry and "second line" in entry
    parts = {path: path.read_bytes() for path in (tmp_path / "made").rglob("part-*")}
    done = xaibench(*run, "--debug")
    assert "Traceback (most recent call last):" in done.err and "second line" in done.err
    assert log.read_text().startswith(entry) and log.read_text().count("Traceback") == 2, "appended"
    assert {path: path.read_bytes() for path in (tmp_path / "made").rglob("part-*")} == parts
    assert xaibench("verify", "made").code == 0
    (clip,) = (esc50_folder / "audio").glob("5-203128-A-0.*")
    done = xaibench("--debug", "explain", clip, "-c", "cnn-micro", "-m", "fails")
    assert 'odd_plugin.py", line' in done.err and done.error_lines[-1].startswith("Error: fails failed: ValueError")
    assert_refused(xaibench("explain", clip, "-c", "cnn-micro", "-m", "leaves-later"), "failed: SystemExit: 0")


@pytest.mark.usefixtures("plugin")
def test_a_plugin_costs_itself_alone_whatever_it_does(
    xaibench: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "-c", weights, "--limit", 1, "--metric", "sparseness", "--device", "cpu", "--out", "in/made")
    named = ("energy", "leaves-later", "stranger", "../../escaped")
    done = xaibench(*run, "--verbose", *(part for name in named for part in ("-m", name)))
    assert done.code == 2
    refusals = " ".join(done.err.split())
    assert "(is no Explainer but a Stranger; derive its class" in refusals
    assert "left out: ../../escaped on" in refusals
    assert "1 of 2 pairs failed (see above); everything else is saved" in refusals
    let_all_ask_rarely(monkeypatch, tmp_path)
    done = xaibench(*run, "-m", "all", "--verbose")
    assert done.code == 2, "some failed"
    said = " ".join(done.err.split())
    for line in (
        "left out: leaves (method 'leaves' of odd_plugin:Leaves cannot be made: SystemExit: 0)",
        "left out: absent (method 'absent' of package_nobody_has:Method does not load: ModuleNotFoundError",
        "left out: abstract (",
        "left out: ../../escaped on",
        "left out: stranger on",
        "failed: leaves-later on",
    ):
        assert line in said, line
    scored = set(store.read_rows(tmp_path / "in" / "made")["method"])
    assert {"energy", "random", "saliency", "gradcam", "with-gradient"} <= scored
    assert not scored & {"leaves", "leaves-later", "stranger", "../../escaped", "fails", "absent"}
    outside = [path for path in tmp_path.rglob("*escaped*") if "in" not in path.parts]
    assert not outside and not list(tmp_path.parent.glob("escaped*"))
