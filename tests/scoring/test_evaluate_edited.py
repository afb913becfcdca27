"""A plugin's code is edited between two runs: nothing that the old code made is used."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.evaluating import config_of, run, values
from xaibench.errors import ResultsError
from xaibench.explaining.cache import ExplanationCache
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.sound.synth import Synth
from xaibench.storage import code_closure

PLUGIN = """
from plug.core import scale
from xaibench import Explainer, Explanation


class Scaled(Explainer):
    title, reference, description, polarity = "Scaled", "tests", "the spectrogram times a helper's number", "positive"

    def explain(self, classifier, batch, target):
        return Explanation(scale(batch.x), batch.picture_shape)
"""


def test_after_an_edit_of_a_helper_nothing_old_is_used(
    tmp_path: Path, synth: Synth, loaded: LoadedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "plug"
    (package / "methods").mkdir(parents=True)
    for folder in (package, package / "methods"):
        (folder / "__init__.py").touch()
    (package / "methods" / "m.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("xaibench.explaining.cache.WORTH_KEEPING_SECONDS", 0.0)

    def score(helper: str, folder: str) -> float:
        (package / "core.py").write_text(f"def scale(x):\n    return {helper}\n")
        for name in [name for name in sys.modules if name.partition(".")[0] == "plug"]:
            del sys.modules[name]
        for cached in (code_closure.closure_of, code_closure._look_at, code_closure.source_of):
            cached.cache_clear()
        importlib.invalidate_caches()
        method = importlib.import_module("plug.methods.m").Scaled()
        config = replace(
            config_of(synth, {"scaled": method}, ["faithfulness"], 1), cache=ExplanationCache(tmp_path / "cache")
        )
        run(config, loaded, tmp_path / folder)
        return float(values(tmp_path / folder).mean())

    first = score("x", "one")
    assert score("x", "one") == first
    with pytest.raises(ResultsError, match="other code of scaled"):
        score("-x", "one")
    assert score("-x", "two") != first, "no map of the old helper comes from the cache"
