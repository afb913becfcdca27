"""A classifier that a package brings with its weights: its name works everywhere, and no weights are kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import xaibench as xb
from tests.support import distribution
from tests.support.command_line import Command, assert_refused
from xaibench.benchmark.models import load_models
from xaibench.results import store
from xaibench.storage.user_folders import DATA_VARIABLE

MODULE = '''
import os
import torch
import xaibench as xb


class Loudness(torch.nn.Module):
    """Two classes by loudness."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 2)

    def forward(self, waveform):
        return self.head(waveform.square().mean(dim=1, keepdim=True).sqrt())


def make():
    """Tell quiet from loud."""
    net = Loudness()
    slope = 5.0 if not os.environ.get("LOUD_AT_RANDOM") else float.fromhex("0x1p-20") * os.getpid()
    net.load_state_dict({"head.weight": torch.tensor([[-slope], [slope]]), "head.bias": torch.tensor([0.5, -0.5])})
    return xb.wrap(net, classes=["quiet", "loud"], sample_rate=8_000, samples=40_000)


def number():
    return 3


def fails():
    raise KeyError("no such file")
'''
POINTS = {"classifiers": {"loudness": "make", "no-classifier": "number", "fails": "fails"}}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with such a classifier, and with things that are none; and an empty data folder."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    folder = distribution.write(tmp_path / "installed", "brought_plugin", MODULE, POINTS)
    with monkeypatch.context() as patch:
        distribution.add(folder, patch)
        yield folder
    distribution.forget(folder)


RUN = ("run", "-c", "loudness", "-m", "saliency", "--metric", "faithfulness", "--limit", 2)


def test_its_name_works_everywhere(xaibench: Command, tmp_path: Path) -> None:
    done = xaibench(*RUN, "--out", "run")
    assert done.code == 0, done.err
    assert "no time limit" not in done.err and "in this process" not in done.err
    rows = store.read_rows(tmp_path / "run")
    assert set(rows["classifier"]) == {"loudness"} and rows["value"].notna().all()
    assert set(rows["predicted"]) <= {"quiet", "loud"}
    again = xaibench("verify", "run", "--rescore", 1)
    assert again.code == 0, again.out + again.err
    listed = " ".join(xaibench("classifiers").out.split())
    assert "Tell quiet from loud. Brings its weights." in listed
    assert xaibench("classifiers", "check", "loudness", "--limit", 3).code in {0, 1}
    assert not (tmp_path / "data").exists()


def test_from_python_it_is_the_same() -> None:
    model, data = xb.classifier("loudness"), xb.dataset("synth")
    assert (model.name, model.classes, model.sample_rate) == ("loudness", ("quiet", "loud"), 8_000)
    object_, named = (load_models([one], data, (5,), model.device)[0] for one in (model, "loudness"))
    assert object_.identity == named.identity and object_.reference == named.reference == "loudness"


def test_weights_that_change_from_process_to_process_are_refused(
    xaibench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOUD_AT_RANDOM", "1")
    done = xaibench(*RUN, "--out", "run")
    assert done.code != 0 and "holds another loudness than when the run began" in done.err + done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "-c", "no-classifier", "-m", "saliency"), "is a int; its function shall return what xaibench.wrap"),
        (("run", "-c", "fails", "-m", "saliency"), "cannot be made: KeyError"),
        (("train", "-c", "loudness", "--dataset", "synth"), "loudness brings its weights and is not trained here"),
        (
            ("train", "-c", "cnn-micro", "--dataset", "synth", "--init", "loudness"),
            "loudness brings its weights, in its package brought_plugin, and has no checkpoint folder",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(xaibench: Command, arguments: tuple[str, ...], words: str) -> None:
    assert_refused(xaibench(*arguments), words)
