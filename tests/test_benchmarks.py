"""The benchmarks run, and say what they measure."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from xaibench import registry

REPOSITORY = Path(__file__).resolve().parent.parent
ENGINE = REPOSITORY / "benchmarks" / "engine.py"


def engine(*arguments: str) -> list[str]:
    command = [sys.executable, str(ENGINE), "--clips", "2", "--classifier", "cnn-micro", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_engine_beside_quantus() -> None:
    lines = engine("--markdown", "--metric", "deletion_auc", "--metric", "relevance_rank", "--metric", "infidelity")
    assert lines[0].startswith("2 clips of synth, cnn-micro, saliency; cpu (")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [
        *("deletion_auc", "relevance_rank", "infidelity"),
        *("these 2, sharing", "all 3, sharing"),
    ]
    table = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    assert table["deletion_auc"]["forwards"] == "38", "19 areas of 2 clips"
    assert float(table["deletion_auc"]["s / bare"]) > 0.3
    assert float(table["relevance_rank"]["largest difference"]) < 1e-9
    shared = table["these 2, sharing"]
    alone = [table[name]["Quantus s"] for name in ("deletion_auc", "relevance_rank")]
    assert abs(float(shared["Quantus s"]) - sum(map(float, alone))) < 0.02 * float(shared["Quantus s"])
    ratio = float(shared["Quantus s"]) / float(shared["s"])
    assert abs(float(shared["Quantus / ours"]) - ratio) < 0.03 * ratio + 0.01
    notes = [line for line in lines if line.startswith("- ")]
    assert notes[0].startswith("- deletion_auc: nearest: Quantus's PixelFlipping (features_in_step=11637")
    assert notes[1].startswith("- relevance_rank: the same as Quantus's RelevanceRankAccuracy")
    assert notes[2].startswith("- infidelity: Quantus's Infidelity (n_perturb_samples=1) fails: ValueError")
    assert table["all 3, sharing"]["forwards"] == "138", "every run starts from nothing"


def test_the_engine_in_a_terminal() -> None:
    text = "\n".join(engine("--metric", "relevance_mass"))
    assert "difference" in text
    assert "relevance_mass" in text


def test_counterparts_are_of_registered_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed metric would lose its comparison in silence."""
    monkeypatch.syspath_prepend(ENGINE.parent)
    counterparts = importlib.import_module("_quantus").COUNTERPARTS
    assert set(counterparts) <= set(registry.names("metrics"))
