"""`xaibench classifiers add` of transformers' audio classifiers: from a folder, and from the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import xaibench as xb
from tests.support.command_line import Command, assert_refused
from tests.support.lazy import Lazy
from tests.support.sound_models import CLASSES, clips
from tests.support.transformers_models import ARCHITECTURES, parts
from xaibench.classifiers import adding, checkpoint, references
from xaibench.classifiers.checkpoint_format import Source
from xaibench.errors import CheckpointError
from xaibench.results import store
from xaibench.storage import hub
from xaibench.storage.user_folders import DATA_VARIABLE

transformers = Lazy("transformers")


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    return tmp_path / "data"


def saved(folder: Path, architecture: str = "wav2vec2") -> Path:
    """A small model and its extractor, as save_pretrained writes them."""
    model, extractor = parts(architecture)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def sound() -> Tensor:
    return clips(2, 16_000, 5.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_comes_back_from_its_card_and_weights(architecture: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved", architecture)
    original = xb.from_transformers(folder)
    adding.add(adding.AddClassifierConfig(name="mine", source=Source(location=str(folder))))
    for path in folder.iterdir():
        path.unlink()  # what was added needs the folder no more
    loaded: Any = checkpoint.resolve("mine", "synth")[0]
    with torch.inference_mode():
        torch.testing.assert_close(loaded.logits(sound()), original.logits(sound()), rtol=0, atol=0)
    assert (loaded.name, loaded.classes, loaded.samples) == ("mine", CLASSES, 80_000)
    assert (loaded.patch_grid, loaded.special_tokens) == (original.patch_grid, original.special_tokens)
    assert not loaded.training and not any(one.requires_grad for one in loaded.parameters())


def test_its_name_works_everywhere_and_labels_the_results(xaibench: Command, tmp_path: Path) -> None:
    folder = saved(tmp_path / "their model", "ast")
    done = xaibench("classifiers", "add", "mine", "--from", "their model")
    assert done.code == 0, done.err
    assert done.out.startswith("added mine: sound, 4 classes, ") and str(folder) in done.out
    shown = " ".join(xaibench("classifiers", "show", "mine").out.split())
    assert "bell, crow, rain, saw" in shown and "model.safetensors (SHA-256" in shown
    assert f"Added from {folder}" in " ".join(xaibench("classifiers").out.split())
    methods = ("-m", "vit-rollout", "-m", "saliency")
    done = xaibench("run", "-c", "mine", *methods, "--limit", 1, "--metric", "faithfulness", "--out", "run")
    assert done.code == 0, done.err
    rows = store.read_rows(tmp_path / "run")
    assert set(rows["classifier"]) == {"mine"} and set(rows["method"]) == {"vit-rollout", "saliency"}
    assert set(rows["predicted"]) <= set(CLASSES)


def test_labels_temperature_precision_and_pickled_weights(xaibench: Command, tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    model, _ = parts("wav2vec2")
    (folder / "model.safetensors").unlink()
    torch.save({name: one.half() for name, one in model.state_dict().items()}, folder / "pytorch_model.bin")
    change(folder / "config.json", dtype="float16", problem_type="multi_label_classification")
    (tmp_path / "names").write_text("a\nb\nc\nd\n")
    done = xaibench("classifiers", "add", "mine", "--from", folder, "--labels", "names", "--temperature", 2.5)
    assert done.code == 0, done.err
    loaded, card = checkpoint.resolve("mine", "synth")
    assert (loaded.classes, loaded.temperature, loaded.activation) == (("a", "b", "c", "d"), 2.5, "sigmoid")
    assert loaded.logits(sound()).dtype == torch.float32
    assert set(card.source_sha256) == {"config.json", "pytorch_model.bin", "preprocessor_config.json"}


def test_from_the_hub(xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path / ("c0ffee" + 34 * "0"))
    asked: list[Any] = []

    def fetch(*arguments: Any) -> Path:
        asked.append(arguments)
        return source

    monkeypatch.setattr(hub, "fetch", fetch)
    assert xaibench("classifiers", "add", "mine", "--from", "owner/model").code == 0
    assert checkpoint.resolve("mine", "synth")[1].origin == f"hub owner/model at {source.name}"
    ((repository, layouts, remedy),) = asked
    assert (repository, remedy) == ("owner/model", "xaibench classifiers add mine --from FOLDER")
    assert layouts[-1].required == (
        ("config.json",),
        ("model.safetensors", "pytorch_model.bin"),
        ("preprocessor_config.json", "processor_config.json"),
    )


def test_without_a_network_one_line_names_the_files_of_every_format(
    xaibench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_unreachable", lambda endpoint: "no answer")
    done = xaibench("classifiers", "add", "mine", "--from", "owner/model-of-nobody")
    assert_refused(
        done,
        "download embedding_model.ckpt, classifier.ckpt",
        "; or config.json, model.safetensors or pytorch_model.bin, preprocessor_config.json or processor_config.json",
        "'xaibench classifiers add mine --from FOLDER'",
    )


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        ("", ("--sample-rate", 8000), "its feature extractor says the sample rate; leave out"),
        ("", ("--weights", "w.pt"), "holds its weights"),
        ("", ("--labels", "names"), "gives 4 logits, and classes names 2"),
        ("extractor", (), "holds no preprocessor_config.json or processor_config.json; save the model and its feature"),
        ("weights", (), "holds no model.safetensors or pytorch_model.bin"),
        ("damaged", (), "cannot be loaded as an audio classifier"),
        ("head", (), "holds no weights for classifier.bias, classifier.weight, projector.bias: it is no Wav2Vec2ForSe"),
        ("image", (), "cannot be loaded as an audio classifier"),
        ("extractor of images", (), "no extractor called"),
        ("code", (), "cannot be loaded as an audio classifier"),
    ],
)
def test_what_cannot_be_added_is_refused(
    xaibench: Command, tmp_path: Path, spoil: str, options: tuple[object, ...], words: str
) -> None:
    folder = saved(tmp_path / "saved")
    (tmp_path / "names").write_text("a\nb\n")
    weights, config, extractor = (folder / name for name in ("model.safetensors", "config.json", _EXTRACTOR))
    if spoil == "extractor":
        extractor.unlink()
    elif spoil == "weights":
        weights.unlink()
    elif spoil == "damaged":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif spoil == "head":
        parts("wav2vec2")[0].wav2vec2.save_pretrained(folder)
    elif spoil == "image":
        change(config, model_type="vit")
    elif spoil == "extractor of images":
        change(extractor, feature_extractor_type="EncodecFeatureExtractor")
    elif spoil == "code":
        (folder / "theirs.py").write_text("raise SystemExit('a stranger was here')")
        change(config, model_type="theirs", auto_map={"AutoConfig": "theirs.Config"})
    assert_refused(xaibench("classifiers", "add", "mine", "--from", folder, *options), words)
    assert references.added() == []


_EXTRACTOR = "preprocessor_config.json"


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"config": {}, "extractor": {}},
        {"config": {"model_type": "wav2vec2"}, "extractor": {"feature_extractor_type": "pipeline"}},
        {"config": {"model_type": "vit"}, "extractor": {"feature_extractor_type": "ASTFeatureExtractor"}},
    ],
)
def test_a_card_with_an_impossible_geometry(tmp_path: Path, geometry: Any) -> None:
    folder = saved(tmp_path / "saved")
    adding.add(adding.AddClassifierConfig(name="mine", source=Source(location=str(folder))))
    change(references.added_folder("mine") / checkpoint.CARD, geometry=geometry)
    with pytest.raises(CheckpointError, match="mine: its geometry is that of no audio classifier"):
        checkpoint.resolve("mine", "synth")
