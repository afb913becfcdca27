"""`xaibench classifiers check` prints what was found, and its exit code says whether scores would mean something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Command, assert_refused
from xaibench.storage.user_folders import DATA_VARIABLE

MODELS = """
import torch
import xaibench as xb


class Quiet(torch.nn.Module):
    def forward(self, waveform):
        return waveform.square().mean(dim=1, keepdim=True) * torch.arange(10)


def make():
    return xb.wrap(Quiet(), classes=list(xb.dataset("synth").classes), sample_rate=8_000)
"""


def test_a_good_classifier(xaibench: Command) -> None:
    done = xaibench("classifiers", "check", "cnn-micro", "--limit", "8")
    assert done.code == 0, done.err
    assert done.out.startswith("cnn-micro, 8 clips of synth\naccuracy: ")
    assert "gradients: finite" in done.out and "at -20 dB: same class on" in done.out


def test_one_whose_scores_would_mean_nothing(
    xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "quiet_models.py").write_text(MODELS)
    done = xaibench("classifiers", "add", "mine", "--from", "quiet_models:make")
    assert "next: xaibench classifiers check mine --dataset DATASET" in done.out
    done = xaibench("classifiers", "check", "mine", "--limit", "20")
    assert done.code == 1
    assert "! its accuracy is near chance: compare sample rate" in done.err
    done = xaibench("run", "-c", "mine", "-m", "random", "--limit", "1", "--metric", "sparseness")
    assert done.code == 0, done.err
    assert "mine, checked on 16 clips: it is right on" in done.err


def test_what_is_no_classifier_is_refused(xaibench: Command) -> None:
    assert_refused(xaibench("classifiers", "check", "cnn-mikro"), "did you mean 'cnn-micro'")
