"""Models of one's own under a name that every command knows: from a function, and from a folder of `xaibench train`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.command_line import Command, assert_refused
from xaibench.classifiers import references
from xaibench.classifiers.references import shipped_folder
from xaibench.storage.user_folders import DATA_VARIABLE

MODELS = '''
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
    return Loudness()


def wrapped():
    return xb.wrap(Loudness(), classes=["quiet", "loud"], sample_rate=8_000, samples=40_000)


def number():
    return 3


def fails():
    raise KeyError("no such model")
'''


class Loudness(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder, and a working folder with a module of the user's own."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "their_models.py").write_text(MODELS)
    (tmp_path / "classes.txt").write_text("quiet\nloud\n")
    state = {"head.weight": torch.tensor([[-5.0], [5.0]]), "head.bias": torch.tensor([0.5, -0.5])}
    torch.save(state, tmp_path / "weights.pt")
    torch.save({"other": torch.ones(2)}, tmp_path / "others.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_that_makes_a_module(xaibench: Command) -> None:
    add = ("classifiers", "add", "mine", "--from", "their_models:make", "--weights", "weights.pt")
    done = xaibench(*add, "--labels", "classes.txt", "--sample-rate", "16000")
    assert done.code == 0, done.err
    assert done.out.startswith("added mine: sound, 2 classes, 4 parameters, from their_models:make")
    done = xaibench("run", "-c", "mine", "-m", "saliency", "--limit", "2", "--metric", "faithfulness", "--out", "run")
    assert done.code == 0, done.err
    assert (Path("run") / "parts" / "mine").is_dir() or list(Path("run").rglob("mine"))


def test_a_function_that_makes_a_classifier(xaibench: Command) -> None:
    done = xaibench("classifiers", "add", "mine", "--from", "their_models:wrapped", "--weights", "weights.pt")
    assert done.code == 0, done.err
    done = xaibench("run", "-c", "mine", "-m", "saliency", "--limit", "2", "--metric", "faithfulness", "--out", "run")
    assert done.code == 0, done.err
    assert "mine" in done.out


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("their_models:make", (), "does not say its classes and sample rate; give --labels FILE"),
        ("their_models:wrapped", ("--sample-rate", "8000"), "says its classes and sample rate itself"),
        ("their_models:number", (), "makes a int, expected a torch module or what xaibench.wrap returns"),
        ("their_models:fails", (), "their_models:fails fails: KeyError"),
        ("their_models:nothing", (), "their_models:nothing fails: AttributeError"),
        ("nobodys_models:make", (), "install its package, or keep nobodys_models.py in"),
        ("their_models:wrapped", ("--weights", "others.pt"), "others.pt does not fit Loudness"),
        ("their_models:wrapped", ("--weights", "none.pt"), "none.pt is missing"),
        ("nowhere/at/all", (), "nor a function such as my_models:make"),
    ],
)
def test_what_cannot_be_added_is_refused(xaibench: Command, source: str, options: tuple[str, ...], words: str) -> None:
    assert_refused(xaibench("classifiers", "add", "mine", "--from", source, *options), words)
    assert references.added() == []


def test_a_folder_of_train(xaibench: Command) -> None:
    folder = shipped_folder("cnn-micro", "synth")
    done = xaibench("classifiers", "add", "mine", "--from", folder)
    assert done.code == 0, done.err
    assert done.out.startswith("added mine: cnn, 10 classes")
    run = ("run", "-m", "energy", "--limit", "2", "--metric", "faithfulness")
    ours = xaibench(*run, "-c", "mine", "--out", "ours")
    theirs = xaibench(*run, "-c", "cnn-micro", "--out", "theirs")
    assert ours.code == theirs.code == 0, ours.err + theirs.err
    assert_refused(xaibench("classifiers", "add", "other", "--from", folder, "--sample-rate", "8000"), "leave out")
