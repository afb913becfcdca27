"""Folders that are no checkpoint of the original recipes: each is refused in one line, and nothing in it is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import recipes
from tests.support.lazy import Lazy
from xaibench.errors import CheckpointError

recipe = Lazy("xaibench.speechbrain.classifiers")

FAMILIES = ("focalnet", "vit")


EMBEDDING, HEAD = "embedding_model.ckpt", "classifier.ckpt"


FIRST = {
    "focalnet": "focalnet.encoder.stages.1.layers.1.mlp.fc2.weight",
    "vit": "layers.1.mlp.fc2.weight",
}


def assert_refused(folder: Path, *words: str) -> None:
    """One line that holds the words."""
    with pytest.raises(CheckpointError) as caught:
        recipe.load_recipe(folder)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("\n \n", "names no class"),
        ("rain\ndog", "names 2 classes, classifier.ckpt tells 3 apart"),
        ("rain\ndog\nwind\nsea", "names 4 classes, classifier.ckpt tells 3 apart"),
        ("rain\ndog\nrain", "names 'rain' twice"),
        ("rain\n\ndog", "class 2 has no name"),
        ("'rain' => 0\n'dog' => 2\n'sea' => 3\n", "its indices are not 0 to 2, each once"),
        ("'rain' => 0\n'dog' => 0\n'sea' => 1\n", "gives index 0 to 'rain' and to 'dog'"),
        ("'rain' => 0\n'dog' => one\n'sea' => 2\n", "is not written as 'name' => index"),
        ("'rain' => 0\n__import__('os') => 1\n'sea' => 2\n", "is not written as 'name' => index"),
        ("-" * 200_000 + "1 => 0\n'dog' => 1\n'sea' => 2\n", "is not written as 'name' => index"),
        ("7 => 0\n'dog' => 1\n'sea' => 2\n", "7 is not a class name in quotes"),
    ],
)
def test_class_names_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    folder = recipes.write(tmp_path / "mine", "vit")
    (folder / "labels.txt").write_text(text)
    assert_refused(folder, message)


@pytest.mark.parametrize("size", [-224, 0, 100_000])
def test_an_image_of_no_size(tmp_path: Path, size: int) -> None:
    folder = recipes.write(tmp_path / "mine", "focalnet")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"image_size": size}))
    assert_refused(folder, f"an image of {size} with patches of 8 is no image")


def test_a_config_without_end(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "focalnet")
    (folder / "config.json").write_text("[" * 200_000)
    assert_refused(folder, "config.json is not a transformers config")


def test_a_small_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "vit")
    recipes.change(folder / HEAD, weight=torch.zeros(1).expand(10**6, 10**6))
    assert_refused(folder, f"{HEAD}: 'weight' repeats numbers that are stored once")


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_missing_extra_and_wrongly_shaped_tensors(tmp_path: Path, family: str, config: bool) -> None:
    key = FIRST[family]
    dunder = key.replace(".", "__")
    cases: list[tuple[dict[str, Tensor | None], str]] = [
        ({dunder: None}, f"{EMBEDDING} lacks '{key}', which"),
        ({key.replace("fc2", "fc3").replace(".", "__"): torch.zeros(3)}, f"holds '{key.replace('fc2', 'fc3')}', which"),
        ({dunder: torch.zeros(2, 3)}, f"'{key}' has shape (2, 3), "),
    ]
    for number, (tensors, words) in enumerate(cases):
        folder = recipes.write(tmp_path / str(number), family, config)
        recipes.change(folder / EMBEDDING, **tensors)
        assert_refused(folder, words, EMBEDDING)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"blocks__1__w__bias": None}, "lacks 'blocks.1.w.bias', which a recipe's classifier has"),
        ({"blocks__0__norm__weight": None, "weight": None}, "lacks 'weight' and 1 more"),
        ({"blocks__2__w__bias": torch.zeros(3)}, "holds 'blocks.2.w.bias', which a recipe's classifier has not"),
        ({"blocks__1__w__weight": torch.zeros(5, 16)}, "'blocks.1.w.weight' has shape (5, 16), the recipe's head"),
        ({"weight": torch.zeros(3, 9)}, "'blocks.1.w.weight' has shape (5, 128), the recipe's head of this geometry"),
        ({"weight": torch.zeros(3, 5, 1)}, "'weight' has shape (3, 5, 1), not (classes, hidden)"),
        ({"weight": torch.zeros(4, 5)}, "names 3 classes, classifier.ckpt tells 4 apart"),
    ],
)
def test_heads_that_do_not_fit(tmp_path: Path, tensors: dict[str, Tensor | None], words: str) -> None:
    folder = recipes.write(tmp_path / "mine", "vit")
    recipes.change(folder / HEAD, **tensors)
    assert_refused(folder, words, HEAD)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("file", "key"), [(EMBEDDING, "layernorm.bias"), (HEAD, "blocks.0.norm.running_var")])
def test_numbers_that_are_not_finite(tmp_path: Path, file: str, key: str, value: float) -> None:
    folder = recipes.write(tmp_path / "mine", "vit")
    state = torch.load(folder / file, weights_only=True)
    state[key][3] = value
    torch.save(state, folder / file)
    assert_refused(folder, f"{file}: '{key}' holds NaN or infinite numbers")


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("file", [EMBEDDING, HEAD])
@pytest.mark.parametrize("writer", ["pickle", "torch", "beside"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, file: str, writer: str) -> None:
    folder, trace = recipes.write(tmp_path / "mine", "vit"), tmp_path / "executed"
    path = folder / file
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"weight": Trap(trace)}))
    elif writer == "torch":
        torch.save({"weight": Trap(trace)}, path)
    else:
        torch.save(torch.load(path, weights_only=True) | {"extra": Trap(trace)}, path)
    assert_refused(folder, f"{file} is not a plain state dict", "nothing of it was run")
    assert not trace.exists()
    if writer == "beside":
        torch.load(path, weights_only=False)
        assert trace.exists(), "the trap works"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.zeros(3), "holds no state dict"),
        ({}, "holds no state dict"),
        ({"layers": {"0": torch.zeros(2)}}, "'layers' is not a named tensor"),
        ({3: torch.zeros(2)}, "'3' is not a named tensor"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "'a' is no ordinary tensor"),
        ({"a": torch.eye(2).to_sparse()}, "'a' is no ordinary tensor"),
        ({"bert.embeddings.weight": torch.zeros(2)}, "is of neither transformers' FocalNetBackbone nor ViTModel"),
        ({"embeddings.word_embeddings": torch.zeros(2)}, "lacks 'embeddings.patch_embeddings.projection.weight'"),
        ({"focalnet.x": torch.zeros(2)}, "lacks 'focalnet.embeddings.patch_embeddings.projection.weight'"),
    ],
)
def test_files_that_are_no_backbone(tmp_path: Path, content: object, words: str) -> None:
    folder = recipes.write(tmp_path / "mine", "vit", config=False)
    torch.save(content, folder / EMBEDDING)
    assert_refused(folder, EMBEDDING, words)


def test_missing_and_cut_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder; expected one with embedding_model\.ckpt and"):
        recipe.load_recipe(tmp_path / "nowhere")
    for name in (EMBEDDING, HEAD):
        folder = recipes.write(tmp_path / name, "vit")
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        assert_refused(folder, f"{name} is not a plain state dict")
        (folder / name).unlink()
        assert_refused(folder, f"{name} is missing; a recipe's checkpoint has {EMBEDDING} and {HEAD}")


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("vit", None, "is not a transformers config"),
        ("vit", {"model_type": "focalnet"}, "is of a 'focalnet', the weights beside it of a 'vit'"),
        ("vit", {"hidden_size": "wide"}, "is no config of a vit"),
        ("vit", {"image_size": [64, 128]}, "image_size [64, 128] is not square"),
        ("vit", {"num_hidden_layers": 3}, "lacks 'layers.2."),
        ("vit", {"num_hidden_layers": 10**9}, "tells of 1000000000 blocks"),
        ("vit", {"num_attention_heads": 3}, "has shape (128, 128), a ViTModel of this geometry has (126, 128) there"),
        ("vit", {"patch_size": 0}, "an image of 64 with patches of 0 is no image"),
        ("vit", {"image_size": 128}, "'embeddings.position_embeddings' has shape (1, 17, 128)"),
        (
            "focalnet",
            {"embed_dim": 12},
            "has shape (8, 3, 8, 8), a FocalNetBackbone of this geometry has (12, 3, 8, 8)",
        ),
        ("focalnet", {"depths": [1, 1]}, "holds 'focalnet.encoder.stages.1.layers.1."),
        ("focalnet", {"focal_levels": [2]}, "its geometry is that of no network"),
        ("focalnet", {"use_layerscale": True}, "lacks 'focalnet.encoder.stages.0.layers.0.gamma_1'"),
    ],
)
def test_configs_that_do_not_fit(tmp_path: Path, family: str, changes: dict[str, Any] | None, words: str) -> None:
    folder = recipes.write(tmp_path / "mine", family)
    config = folder / "config.json"
    config.write_text("[]" if changes is None else json.dumps(json.loads(config.read_text()) | changes))
    assert_refused(folder, words)


def test_a_gap_between_numbered_parts_without_a_config(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "focalnet", config=False)
    state = torch.load(folder / EMBEDDING, weights_only=True)
    stage = "focalnet.encoder.stages.0."
    torch.save({key: value for key, value in state.items() if not key.startswith(stage)}, folder / EMBEDDING)
    assert_refused(folder, "lacks all of 'focalnet.encoder.stages.0.'")
