"""A training that starts from an image backbone in transformers' format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import recipes
from tests.support.lazy import Lazy
from xaibench.classifiers import checkpoint, pretrained, training
from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.front_end import LinearResize
from xaibench.errors import CheckpointError
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.randomness import seeded
from xaibench.storage import hub
from xaibench.storage.cards import file_hash

transformers = Lazy("transformers")
focalnet = Lazy("xaibench.classifiers.focalnet")
vit = Lazy("xaibench.classifiers.vit")


def build(name: str, classes: Sequence[str]) -> Classifier:
    """Tiny classifiers of the geometry that `recipes` has, and one of none."""
    if name == "focalnet":
        return focalnet.FocalNetClassifier(name, classes, LinearResize((224, 224)), recipes.focalnet_config(), hidden=5)
    if name == "vit":
        return vit.VitClassifier(name, classes, LinearResize((64, 64)), recipes.vit_config(), hidden=5)
    made = Classifier(name, "cnn", classes)
    made.head = torch.nn.Linear(1, 1)
    return made


SAVED = {
    "focalnet, classifier": ("focalnet", "FocalNetForImageClassification"),
    "focalnet, bare": ("focalnet", "FocalNetModel"),
    "vit, classifier": ("vit", "ViTForImageClassification"),
    "vit, bare": ("vit", "ViTModel"),
}


def model_of(kind: str) -> Any:
    """A random model of transformers around, or of, the backbone."""
    family, model = SAVED[kind]
    with seeded(11):
        config = recipes.focalnet_config() if family == "focalnet" else recipes.vit_config()
        return getattr(transformers, model)(config).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ViT image classifier as transformers saves it."""
    model_of("vit, classifier").save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("kind", SAVED)
def test_the_backbone_computes_what_transformers_computes(tmp_path: Path, kind: str, pickled: bool) -> None:
    model: Any = model_of(kind)
    model.save_pretrained(tmp_path / "saved")
    if pickled:  # microsoft/focalnet-base has no other file
        torch.save(load_file(tmp_path / "saved" / "model.safetensors"), tmp_path / "saved" / "pytorch_model.bin")
        (tmp_path / "saved" / "model.safetensors").unlink()
    family = SAVED[kind][0]
    classifier: Any = build(family, ("a", "b")).eval()
    origin = pretrained.initialise(classifier, tmp_path / "saved", "somebody/model")
    assert origin.startswith("somebody/model (transformers' ")
    x = torch.rand(1, *audio.PICTURE_SHAPE)
    base = getattr(model, family, model)
    seen: list[torch.Tensor] = []
    classifier.head.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    with torch.inference_mode():
        classifier.picture_logits(x)
        image = (classifier.front_end(x) - 0.35) / 0.6
        if family == "focalnet":
            hidden = base(image.repeat(1, 3, 1, 1), output_hidden_states=True).reshaped_hidden_states[-1]
            expected = hidden.mean(dim=(2, 3))
        else:
            expected = base(image.repeat(1, 3, 1, 1)).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)


class Noise(Dataset):
    """One clip a class in each of five folds."""

    name = "noise"
    licence = "CC0"
    classes = ("a", "b")
    clips = tuple(Clip(f"{f}-{i}", f, i, f"{f}-{i}") for f in range(1, 6) for i in range(2))

    def waveform(self, clip: Clip) -> np.ndarray:
        rng = np.random.default_rng([clip.fold, clip.label])
        return (0.1 * rng.standard_normal(audio.CLIP_SAMPLES)).astype(np.float32)


def config(init: str, classifier: str = "vit") -> training.TrainingConfig:
    """One epoch whose steps are too small to move a weight far."""
    return training.TrainingConfig(
        classifier=classifier,
        dataset="noise",
        seed=0,
        recipe=Recipe(epochs=1, learning_rate=1e-9),
        precision=torch.float32,
        device=torch.device("cpu"),
        command="xaibench train",
        init=init,
    )


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_a_training_starts_from_it(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(checkpoint, "build", build)
    monkeypatch.setattr(hub, "fetch", lambda *arguments: folder)
    init = str(folder) if source == "folder" else "owner/model"
    card = training.train(Noise(), config(init), tmp_path / "out", lambda step: None)
    assert card.initialised_from.startswith(f"{init} (transformers' ViTModel), SHA-256 ")
    assert file_hash(folder / "model.safetensors") in card.initialised_from
    classifier: Any = checkpoint.load(tmp_path / "out")[0]
    original = load_file(folder / "model.safetensors")["vit.embeddings.position_embeddings"]
    torch.testing.assert_close(classifier.backbone.embeddings.position_embeddings, original, rtol=0, atol=1e-3)


def test_what_a_reference_means(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(*arguments: Any) -> Path:
        asked.append(arguments)
        return folder

    monkeypatch.setattr(hub, "fetch", fetch)
    (tmp_path / "empty").mkdir()
    for reference in (str(tmp_path / "empty"), "nowhere", "esc10/vit-mikro", "esc50/vit-base", "./not/there"):
        assert pretrained.folder_of(reference, "vit-base") is None
    assert asked == []
    assert pretrained.folder_of(str(folder), "vit-base") == folder
    assert asked == []
    assert pretrained.folder_of("owner/model", "vit-base") == folder
    ((repository, (layout,), remedy),) = asked
    assert repository == "owner/model"
    assert layout == hub.Layout((("config.json",), ("model.safetensors", "pytorch_model.bin")))
    assert remedy == "xaibench train --classifier vit-base --init FOLDER"


def assert_refused(classifier: str, folder: Path, words: str) -> None:
    """One line that holds the words."""
    with pytest.raises(CheckpointError) as caught:
        pretrained.initialise(build(classifier, ("a", "b")), folder, "x")
    assert "\n" not in str(caught.value)
    assert words in str(caught.value)


def test_another_family_or_none(folder: Path) -> None:
    assert_refused("focalnet", folder, "is of a 'vit', focalnet is a 'focalnet'; use another --init")
    assert_refused("cnn", folder, "cnn has no transformers backbone to start from")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": 8}, "patch_size is 8, vit's is 16; choose the --classifier of this geometry"),
        ({"num_hidden_layers": 1}, "num_hidden_layers is 1, vit's is 2"),
        ({"num_attention_heads": 4}, "num_attention_heads is 4, vit's is 2"),
        ({"image_size": [64, 32]}, "image_size is [64, 32], vit's is 64"),
        ({"num_channels": 1}, "num_channels is 1, vit's is 3"),
    ],
)
def test_another_geometry(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    transformers.ViTModel(recipes.vit_config(**changes)).save_pretrained(tmp_path / "other")
    assert_refused("vit", tmp_path / "other", words)


def test_a_square_size_may_be_written_as_two_numbers(tmp_path: Path) -> None:
    transformers.ViTModel(recipes.vit_config(image_size=[64, 64])).save_pretrained(tmp_path / "two")
    pretrained.initialise(build("vit", ("a", "b")), tmp_path / "two", "x")


def test_weights_that_do_not_fit(folder: Path) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    name = "vit.layernorm.weight"
    save_file({key: value for key, value in state.items() if key != name}, path)
    assert_refused("vit", folder, "lacks 'layernorm.weight', which a ViTModel has")
    save_file(state | {"vit.mystery": torch.zeros(1)}, path)
    assert_refused("vit", folder, "holds 'mystery', which a ViTModel has not")
    save_file(state | {name: torch.zeros(3)}, path)
    assert_refused("vit", folder, "'layernorm.weight' has shape (3,), a ViTModel of this geometry has (128,) there")
    path.write_bytes(b"no weights at all")
    assert_refused("vit", folder, "is not a safetensors file")
    path.unlink()
    assert_refused("vit", folder, "holds neither model.safetensors nor pytorch_model.bin beside its config.json")
    (folder / "pytorch_model.bin").write_bytes(b"no weights at all")
    assert_refused("vit", folder, "is not a plain state dict")
    (folder / "config.json").write_text("{")
    assert_refused("vit", folder, "is not a transformers config")
