"""Which classifiers a command works on."""

from __future__ import annotations

import torch

from xaibench.benchmark.models import load_models
from xaibench.sound.synth import Synth


def test_the_same_weights_under_two_names_take_part_once(synth: Synth) -> None:
    device = torch.device("cpu")
    (loaded,) = load_models(["cnn-micro", "synth/cnn-micro"], synth, (), device)
    assert loaded.label == "cnn-micro"
    assert loaded.classifier.classes == synth.classes
