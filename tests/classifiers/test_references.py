"""What the name of a classifier means, the same for every option that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaibench.classifiers import references
from xaibench.errors import CheckpointError, RegistryError
from xaibench.storage.user_folders import DATA_VARIABLE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a data folder to which `mine` has been added."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    a_checkpoint(references.added_folder("mine"))
    return tmp_path / "here"


def a_checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / references.CARD).write_text("{}")
    return folder


def shipped(dataset: str, name: str) -> Path:
    folder = references.shipped_folder(name, dataset)
    assert folder is not None
    return folder


def test_a_registered_name_is_its_weights_for_the_dataset() -> None:
    assert references.find("cnn-micro", "synth") == shipped("synth", "cnn-micro")
    assert references.find("cnn-micro", "esc10") == shipped("esc10", "cnn-micro")


def test_dataset_and_name_are_shipped_weights_whatever_the_dataset() -> None:
    for dataset in ("synth", "esc50", None):
        assert references.find("esc10/vit-micro", dataset) == shipped("esc10", "vit-micro")


def test_an_added_name_and_a_folder(home: Path) -> None:
    assert references.find("mine", "synth") == references.find("mine", None) == references.added_folder("mine")
    assert references.find(str(a_checkpoint(home / "deep" / "er")), "synth") == home / "deep" / "er"
    assert references.find("deep/er", None) == Path("deep/er")
    a_checkpoint(home / "saved")
    assert references.find("saved", "synth") == Path("saved")


def test_a_folder_in_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    a_checkpoint(home / "kept")
    assert references.find("~/kept", "synth") == home / "kept"


def test_a_name_comes_before_a_folder_that_is_called_so(home: Path) -> None:
    for name in ("cnn-micro", "mine", "esc10/cnn-micro"):
        a_checkpoint(home / name)
    assert references.find("cnn-micro", "synth") == shipped("synth", "cnn-micro")
    assert references.find("mine", "synth") == references.added_folder("mine")
    assert references.find("esc10/cnn-micro", "synth") == shipped("esc10", "cnn-micro")
    for name in ("cnn-micro", "mine", "esc10/cnn-micro"):
        assert references.find(f"./{name}", "synth") == Path(name)


@pytest.mark.parametrize(
    ("reference", "dataset", "words"),
    [
        (
            "cnn-base",
            "synth",
            ["no weights of cnn-base are shipped for synth; train", "--dataset synth' and give"],
        ),
        ("cnn-base", "esc10", ["no weights of cnn-base are shipped for esc10; train", "esc10 --data-dir FOLDER'"]),
        (
            "vit-micro",
            "mine",
            ["for mine; give esc10/vit-micro, esc50/vit-micro, synth/vit-micro, which hear any clips"],
        ),
        ("cnn-base", None, ["no weights of cnn-base are shipped", "train them"]),
        ("cnn-micro", None, ["several datasets; give esc10/cnn-micro, esc50/cnn-micro, synth/cnn-micro"]),
        ("esc10/vit-mikro", "synth", ["no weights of vit-mikro are shipped for esc10; there are esc10/cnn-micro, "]),
        ("./nowhere", "synth", ["./nowhere holds no card.json", "'xaibench train'", "'xaibench classifiers' lists"]),
        ("owner/model", "synth", ["owner/model holds no card.json", "classifiers add NAME --from owner/model'"]),
    ],
)
def test_what_means_nothing_names_the_remedy(reference: str, dataset: str | None, words: list[str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        references.find(reference, dataset)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"unknown classifier 'cnn-mikro'; did you mean 'cnn-micro'\?"):
        references.find("cnn-mikro", "synth")


def test_results_call_by_its_name_only_what_the_name_means() -> None:
    def label(folder: Path, dataset: str) -> str:
        return references.label_of(folder, "cnn-micro", "0123456789", dataset)

    assert label(shipped("esc10", "cnn-micro"), "esc10") == "cnn-micro"
    assert label(shipped("esc10", "cnn-micro"), "synth") == "cnn-micro@01234567"
    assert label(Path("cnn-micro"), "esc10") == "cnn-micro@01234567"
    assert references.label_of(references.added_folder("mine"), "mine", "0123456789", "synth") == "mine"
    assert references.label_of(Path("elsewhere/mine"), "mine", "0123456789", "") == "mine@01234567"
