"""`xaibench classifiers add`: afterwards the name works everywhere; what cannot be added is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support import recipes
from tests.support.command_line import Command, assert_refused
from tests.support.lazy import Lazy
from xaibench.classifiers import checkpoint, references
from xaibench.errors import CheckpointError
from xaibench.results import store
from xaibench.sound import audio
from xaibench.sound.esc50 import Esc10
from xaibench.storage import hub
from xaibench.storage.cards import file_hash
from xaibench.storage.user_folders import DATA_VARIABLE, data_folder

recipe = Lazy("xaibench.speechbrain.classifiers")


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.mark.parametrize("family", ["focalnet", "vit"])
def test_added_it_is_listed_and_the_same_from_every_folder(
    xaibench: Command, tmp_path: Path, data: Path, family: str
) -> None:
    source = recipes.write(tmp_path / "their save", family)
    done = xaibench("classifiers", "add", "mine", "--from", "their save")
    assert done.code == 0
    assert done.err == ""
    assert done.out.startswith(f"added mine: {family}, 3 classes, ")
    assert str(source) in done.out
    folder = data / "classifiers" / "mine"
    assert f"weights and card: {folder}" in done.out
    assert sorted(path.name for path in folder.iterdir()) == [checkpoint.CARD, checkpoint.WEIGHTS]

    loaded, card = checkpoint.resolve("mine", "esc10")
    x = torch.rand(2, *audio.PICTURE_SHAPE)
    with torch.inference_mode():
        assert torch.equal(loaded.picture_logits(x), recipe.load_recipe(source).picture_logits(x)), (
            "single precision is kept"
        )
    assert (loaded.name, loaded.temperature, loaded.classes) == ("mine", 30.0, recipes.CLASSES)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert card.origin == str(source)
    assert card.source_sha256["classifier.ckpt"] == file_hash(source / "classifier.ckpt")
    assert set(card.source_sha256) == {"embedding_model.ckpt", "classifier.ckpt", "config.json", "labels.txt"}
    assert card.command == "xaibench classifiers add mine --from 'their save'"
    assert (card.dataset, card.train_folds) == ("", ())

    listed = xaibench("classifiers").out
    assert "mine" in listed
    assert "3 classes" in listed
    assert f"Added from {source}" in " ".join(listed.split())
    shown = " ".join(xaibench("classifiers", "show", "mine").out.split())
    assert f"family={family}" in shown
    assert "rain, dog, sea_waves" in shown


def test_half_precision_stays_half_and_is_the_same(xaibench: Command, tmp_path: Path, reference_folder: Path) -> None:
    assert xaibench("classifiers", "add", "theirs", "--from", reference_folder / "vit").code == 0
    folder = references.added_folder("theirs")
    types = {tensor.dtype for tensor in load_file(folder / checkpoint.WEIGHTS).values()}
    assert types == {torch.float16, torch.int64}
    loaded, card = checkpoint.resolve("theirs", "esc10")
    x = torch.rand(1, *audio.PICTURE_SHAPE)
    with torch.inference_mode():
        assert torch.equal(loaded.picture_logits(x), recipe.load_recipe(reference_folder / "vit").picture_logits(x))
    assert (card.dataset, card.train_folds, card.test_folds) == ("esc10", (1, 2, 3), (5,))
    assert "ESC-10" in card.data_licence


@pytest.mark.parametrize(("family", "tap"), [("focalnet", "focalnet"), ("vit", "vit-attention")])
def test_the_standard_protocol_takes_it(
    xaibench: Command, tmp_path: Path, reference_folder: Path, esc50_folder: Path, family: str, tap: str
) -> None:
    assert xaibench("classifiers", "add", "theirs", "--from", reference_folder / family).code == 0
    dataset = ("--dataset", "esc10", "--data-dir", esc50_folder, "--limit", 2, "--device", "cpu")
    metric = ("--metric", "faithfulness")
    methods = ("-m", tap, "-m", "saliency", "-m", "gradcam")
    done = xaibench("run", "-c", "theirs", *methods, *dataset, *metric, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    found = store.read_rows(tmp_path / "run")
    assert set(found["classifier"]) == {"theirs"}
    assert set(found["method"]) == {tap, "saliency", "gradcam"}
    # By name: the recipe numbers its classes otherwise than the dataset does.
    original, source = recipe.load_recipe(reference_folder / family), Esc10(esc50_folder)
    scored = sorted((clip for clip in source.clips if clip.id in set(found["clip"])), key=lambda clip: clip.id)
    waveforms = torch.stack([torch.from_numpy(source.waveform(clip)) for clip in scored])
    with torch.inference_mode():
        guesses = original.picture_logits(audio.spectrogram(waveforms)).argmax(dim=1)
    expected = [original.classes[int(guess)] for guess in guesses]
    assert original.classes != source.classes
    clips = found[found["method"] == tap].drop_duplicates("clip").sort_values("clip")
    assert clips["predicted"].tolist() == expected
    assert clips["label"].tolist() == [source.classes[clip.label] for clip in scored]
    assert found["value"].notna().all()


def test_temperature_and_labels(xaibench: Command, tmp_path: Path) -> None:
    recipes.write(tmp_path / "source", "vit", labels=False)
    (tmp_path / "names").write_text("x\ny\nz")
    options = ("--temperature", 12.5, "--labels", "names")
    assert xaibench("classifiers", "add", "mine", "--from", "source", *options).code == 0
    classifier, card = checkpoint.resolve("mine", "esc10")
    assert (classifier.temperature, card.temperature) == (12.5, 12.5)
    assert classifier.classes == ("x", "y", "z")
    for text in ("0", "-1", "nan"):
        assert_refused(
            xaibench("classifiers", "add", "other", "--from", "source", "--temperature", text), "is no scale"
        )


def test_assumed_classes_are_said(xaibench: Command, tmp_path: Path) -> None:
    source = recipes.write(tmp_path / "source", "vit", labels=False)
    torch.save(recipes.head(128, classes=50), source / "classifier.ckpt")
    done = xaibench("classifiers", "add", "fifty", "--from", "source")
    assert done.code == 0
    assert "names no classes; those of ESC-50 are assumed, in the recipes' order" in done.err
    _, card = checkpoint.resolve("fifty", "esc50")
    assert (card.dataset, card.train_folds, card.classes[:2]) == ("esc50", (1, 2, 3), ("dog", "chirping_birds"))


def test_another_one_is_replaced_only_by_force(xaibench: Command, tmp_path: Path) -> None:
    first = recipes.write(tmp_path / "first", "vit")
    recipes.write(tmp_path / "second", "focalnet")
    xaibench("classifiers", "add", "mine", "--from", "first")
    refused = xaibench("classifiers", "add", "mine", "--from", "second")
    assert_refused(refused, f"'mine' has been added already, from {first}; choose another name, or give --force")
    assert checkpoint.resolve("mine", "esc10")[0].family == "vit"
    assert xaibench("classifiers", "add", "mine", "--from", "second", "--force").code == 0
    assert checkpoint.resolve("mine", "esc10")[0].family == "focalnet"


@pytest.mark.parametrize("name", ["focalnet-base", "cnn-micro"])
def test_a_registered_name_is_taken_even_by_force(xaibench: Command, tmp_path: Path, name: str) -> None:
    recipes.write(tmp_path / "source", "vit")
    assert_refused(
        xaibench("classifiers", "add", name, "--from", "source", "--force"), "is the name of a registered classifier"
    )


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "", "two words", "all"])
def test_names_that_are_none(xaibench: Command, tmp_path: Path, data: Path, name: str) -> None:
    recipes.write(tmp_path / "source", "vit")
    assert_refused(xaibench("classifiers", "add", name, "--from", "source"), "cannot be a name")
    assert not data.exists()


def test_an_added_name_goes_before_a_folder_called_so(xaibench: Command, tmp_path: Path) -> None:
    recipes.write(tmp_path / "source", "vit")
    recipes.write(tmp_path / "other", "focalnet")
    xaibench("classifiers", "add", "mine", "--from", "source")
    xaibench("classifiers", "add", "other-one", "--from", "other")
    references.added_folder("other-one").rename(tmp_path / "mine")
    assert checkpoint.resolve("mine", "esc10")[0].family == "vit"
    assert checkpoint.resolve("./mine", "esc10")[0].family == "focalnet"


def test_nothing_is_kept_of_what_is_refused(xaibench: Command, tmp_path: Path, data: Path) -> None:
    source = recipes.write(tmp_path / "source", "vit")
    recipes.change(source / "embedding_model.ckpt", layernorm__bias=None)
    assert_refused(xaibench("classifiers", "add", "mine", "--from", "source"), "lacks 'layernorm.bias'")
    assert_refused(
        xaibench("classifiers", "add", "mine", "--from", "nowhere"),
        "nowhere is neither a folder of a checkpoint (xaibench train",
    )
    assert not data.exists()


def test_clips_of_other_classes_are_scored_too(xaibench: Command, tmp_path: Path, small_esc50: Path) -> None:
    recipes.write(tmp_path / "source", "vit")
    xaibench("classifiers", "add", "mine", "--from", "source")
    run = xaibench("run", "-c", "mine", "-m", "energy", "--dataset", "esc10", "--data-dir", small_esc50)
    assert run.code == 0, run.err
    rows = store.read_rows(Path("results/runs/esc10-fold5"))
    assert set(rows["predicted"]) <= set(recipes.CLASSES), "what is explained is what the classifier says"


def test_a_damaged_card_hides_no_other(xaibench: Command, tmp_path: Path) -> None:
    recipes.write(tmp_path / "source", "vit")
    for name in ("bad", "good"):
        xaibench("classifiers", "add", name, "--from", "source")
    (references.added_folder("bad") / checkpoint.CARD).write_text("{")
    listed = xaibench("classifiers")
    assert listed.code == 0
    assert "is not a checkpoint card" in " ".join(listed.out.split())
    assert "good" in listed.out


@pytest.mark.parametrize(
    "geometry", [{"family": "vit"}, {"family": "focalnet", "hidden": 5}, {"hidden": 3}, ["vit"], "vit", {"family": []}]
)
def test_a_card_with_an_impossible_geometry(xaibench: Command, tmp_path: Path, geometry: Any) -> None:
    recipes.write(tmp_path / "source", "vit")
    xaibench("classifiers", "add", "mine", "--from", "source")
    path = references.added_folder("mine") / checkpoint.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"geometry": geometry}))
    with pytest.raises(
        CheckpointError, match=r"its geometry is that of no network|is not a checkpoint card \(geometry: "
    ):
        checkpoint.resolve("mine", "esc10")


def test_from_the_hub(xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = recipes.write(tmp_path / ("c0ffee" + 34 * "0"), "vit")
    asked: list[Any] = []

    def fetch(*arguments: Any) -> Path:
        asked.append(arguments)
        return source

    monkeypatch.setattr(hub, "fetch", fetch)
    assert xaibench("classifiers", "add", "mine", "--from", "owner/model").code == 0
    assert checkpoint.resolve("mine", "esc10")[1].origin == f"hub owner/model at {source.name}"
    ((repository, layouts, remedy),) = asked
    assert repository == "owner/model"
    assert layouts[0].required == (("embedding_model.ckpt",), ("classifier.ckpt",))
    assert layouts[0].optional == ("config.json", "labels.txt", "label_encoder.txt")
    assert remedy == "xaibench classifiers add mine --from FOLDER"


def test_without_a_network_one_line_says_what_to_do(xaibench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_unreachable", lambda endpoint: "no answer")
    done = xaibench("classifiers", "add", "mine", "--from", "speechbrain/focalnet-base-esc50-of-nobody")
    assert_refused(
        done,
        "embedding_model.ckpt, classifier.ckpt (and, if they exist, config.json, labels.txt, label_encoder.txt)",
        "/speechbrain/focalnet-base-esc50-of-nobody/tree/main",
        "'xaibench classifiers add mine --from FOLDER'",
    )


def test_where_the_data_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "here"))
    assert data_folder() == tmp_path / "here"
    monkeypatch.delenv(DATA_VARIABLE)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_folder().name == "xaibench"
