"""Folders of the original recipes as they come: with or without a config, class names, older names of tensors."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support import recipes
from tests.support.lazy import Lazy
from xaibench.errors import CheckpointError
from xaibench.sound import audio
from xaibench.speechbrain import files

recipe = Lazy("xaibench.speechbrain.classifiers")

transformers = Lazy("transformers")

FAMILIES = ("focalnet", "vit")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_needs_its_config_only_where_weights_do_not_tell(
    family: str, reference_folder: Path, tmp_path: Path
) -> None:
    for name in ("embedding_model.ckpt", "classifier.ckpt", "labels.txt"):
        (tmp_path / name).write_bytes((reference_folder / family / name).read_bytes())
    if family == "vit":
        with pytest.raises(
            CheckpointError, match=r"attention heads leaves no trace.* of width 96 .*add its config\.json"
        ):
            recipe.load_recipe(tmp_path)
        return
    x = torch.rand(1, *audio.PICTURE_SHAPE)
    with torch.inference_mode():
        assert torch.equal(
            recipe.load_recipe(tmp_path).picture_logits(x),
            recipe.load_recipe(reference_folder / family).picture_logits(x),
        )


def test_vit_names_of_older_transformers(tmp_path: Path) -> None:
    """save_pretrained still writes the names that the published checkpoint has."""
    folder = recipes.write(tmp_path / "vit", "vit")
    new = recipe.load_recipe(folder)
    recipes.backbone("vit").save_pretrained(tmp_path / "old")
    old = load_file(tmp_path / "old" / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in old
    assert "pooler.dense.weight" in old
    torch.save(old, folder / "embedding_model.ckpt")
    for config in (True, False):
        if not config:
            (folder / "config.json").unlink()
        found = recipe.load_recipe(folder).state_dict()
        assert set(found) == set(new.state_dict())
        assert all(torch.equal(value, found[key]) for key, value in new.state_dict().items())


def test_the_published_order_of_classes(reference_folder: Path, esc50_folder: Path) -> None:
    order = files.ESC50_TRAINING_ORDER
    assert len(set(order)) == 50
    with (esc50_folder / "meta" / "esc50.csv").open() as file:
        table = list(csv.DictReader(file))
    assert set(order) == {row["category"] for row in table}
    # First appearance in folds 1-3 is what the reference's labels, made by the recipe, are for ESC-10.
    seen = dict.fromkeys(row["category"] for row in table if row["fold"] in "123" and row["esc10"] == "True")
    assert tuple(name for name in order if name in seen) == tuple(seen)
    assert tuple(seen) == recipe.load_recipe(reference_folder / "vit").classes


def test_only_fifty_unnamed_classes_are_assumed(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "vit", labels=False)
    with pytest.raises(CheckpointError, match=r"names no classes; write the 3 names in training order to labels\.txt"):
        recipe.load_recipe(folder)
    named = tmp_path / "names"
    named.write_text("a\nb\nc\n")
    assert recipe.load_recipe(folder, labels=named).classes == ("a", "b", "c")
    torch.save(recipes.head(128, classes=50), folder / "classifier.ckpt")
    assert files.read(folder).assumed_classes
    assert recipe.load_recipe(folder).classes == files.ESC50_TRAINING_ORDER


def test_speechbrains_label_encoder(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "vit", labels=False)
    encoder = folder / "label_encoder.txt"
    encoder.write_text("'dog' => 1\n'rain' => 0\n\"baby's cry\" => 2\n================\n'starting_index' => 0\n")
    assert recipe.load_recipe(folder).classes == ("rain", "dog", "baby's cry")


def test_large_focalnets_need_their_config(tmp_path: Path) -> None:
    config = recipes.focalnet_config()
    config.use_layerscale = config.use_post_layernorm = config.use_conv_embed = True
    folder = recipes.write(tmp_path / "mine", "focalnet", config=False)
    backbone = transformers.FocalNetBackbone(config)
    torch.save(backbone.state_dict(), folder / "embedding_model.ckpt")
    with pytest.raises(CheckpointError, match=r"is of a large FocalNet.*add its config\.json"):
        recipe.load_recipe(folder)
    config.save_pretrained(folder)
    classifier = recipe.load_recipe(folder)
    image = classifier.front_end(torch.rand(1, *audio.PICTURE_SHAPE)).expand(-1, 3, -1, -1)
    inner: Any = classifier
    with torch.inference_mode():
        assert torch.equal(inner.backbone(image).feature_maps[-1], backbone.eval()(image).feature_maps[-1])
