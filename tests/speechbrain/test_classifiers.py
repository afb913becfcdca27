"""Classifiers of the original recipes: their logits on every reference clip, and their networks by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.support import recipes
from tests.support.lazy import Lazy
from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.class_order import in_order
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10
from xaibench.speechbrain.spectrogram import legacy_spectrogram

recipe = Lazy("xaibench.speechbrain.classifiers")

transformers = Lazy("transformers")

FAMILIES = ("focalnet", "vit")


@pytest.fixture(scope="module")
def spectrograms(esc50_folder: Path) -> dict[str, Tensor]:
    """The recipes' input (1, 513, 431) of each clip of ESC-10's fold 5."""
    source = Esc10(esc50_folder)
    waveforms = {clip.id: torch.from_numpy(source.unlimited_waveform(clip))[None] for clip in source.in_folds([5])}
    return {name: legacy_spectrogram(waveform) for name, waveform in waveforms.items()}


def rows(folder: Path) -> list[dict[str, str]]:
    """The reference values, one a clip."""
    with (folder / "amt.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_original_codes_on_every_clip(
    family: str, reference_folder: Path, spectrograms: dict[str, Tensor]
) -> None:
    classifier = recipe.load_recipe(reference_folder / family)
    expected = rows(reference_folder / family)
    assert len(expected) == 80
    assert {row["clip"] for row in expected} == set(spectrograms)
    right = 0
    for start in range(0, 80, 16):
        part = expected[start : start + 16]
        with torch.inference_mode():
            logits = classifier.picture_logits(torch.cat([spectrograms[row["clip"]] for row in part]))
        for row, found in zip(part, logits, strict=True):
            wanted = torch.tensor([float(row[f"logit_{name}"]) for name in classifier.classes])
            assert float((found - wanted).abs().max()) <= 1e-4, row["clip"]
            predicted = classifier.classes[int(found.argmax())]
            assert predicted == row["predicted"], row["clip"]
            right += predicted == row["label"]
    assert right == {"focalnet": 61, "vit": 69}[family]
    assert classifier.temperature == 30.0
    assert not classifier.training


def logits_by_hand(family: str, image: Tensor, classes: int = 3) -> Tensor:
    """Backbone by transformers, head by its formula."""
    backbone: Any = recipes.backbone(family)
    with torch.inference_mode():
        if family == "focalnet":
            embedding = backbone(image).feature_maps[-1].mean(dim=(2, 3))
        else:
            embedding = backbone(image).last_hidden_state.mean(dim=1)
    state = recipes.head(embedding.shape[1], classes)
    normed = (embedding - state["blocks.0.norm.running_mean"]) / (state["blocks.0.norm.running_var"] + 1e-5).sqrt()
    normed = normed * state["blocks.0.norm.weight"] + state["blocks.0.norm.bias"]
    hidden = normed @ state["blocks.1.w.weight"].T + state["blocks.1.w.bias"]
    weight = state["weight"]
    return (hidden @ weight.T) / hidden.norm(dim=1, keepdim=True) / weight.norm(dim=1)


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_classifier_by_hand_with_and_without_its_config(tmp_path: Path, family: str, config: bool) -> None:
    classifier = recipe.load_recipe(recipes.write(tmp_path / "mine", family, config))
    side = 224 if family == "focalnet" else 64
    assert classifier.name == "mine"
    assert classifier.front_end.image_size == (side, side)
    x = torch.rand(2, *audio.PICTURE_SHAPE)
    image = functional.interpolate(x.transpose(1, 2)[:, None], (side, side), mode="bilinear", antialias=True)
    expected = logits_by_hand(family, image.expand(-1, 3, -1, -1))
    with torch.inference_mode():
        torch.testing.assert_close(classifier.picture_logits(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_classes_in_another_order(tmp_path: Path, family: str) -> None:
    folder = recipes.write(tmp_path / "mine", family)
    original, x = recipe.load_recipe(folder), torch.rand(1, *audio.PICTURE_SHAPE)
    order = ("dog", "rain", "sea_waves")
    changed = in_order(recipe.load_recipe(folder), order)
    assert changed.classes == order
    with torch.inference_mode():
        expected = original.picture_logits(x)[:, [original.classes.index(name) for name in order]]
        assert torch.equal(changed.picture_logits(x), expected)
    assert in_order(original, original.classes) is original
    with pytest.raises(ValueError, match="only the order"):
        in_order(original, ("dog", "rain", "wind"))


def test_attention_is_transformers_own(tmp_path: Path) -> None:
    classifier: Any = recipe.load_recipe(recipes.write(tmp_path / "mine", "vit"))
    assert classifier.capabilities == PictureClassifier.capabilities | {"attentions", "recipe_features"}
    assert classifier.patch_grid == (4, 4)
    model: Any = transformers.ViTModel(recipes.vit_config(), add_pooling_layer=False).eval()
    model.load_state_dict(classifier.backbone.state_dict())
    model.set_attn_implementation("eager")
    x = torch.rand(1, *audio.PICTURE_SHAPE)
    with torch.inference_mode():
        expected = model(classifier.front_end(x).expand(-1, 3, -1, -1), output_attentions=True).attentions
    with torch.inference_mode():
        _, found = classifier.logits_and_attentions(Batch(x, tuple(map(str, range(len(x))))))
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_feature_maps_are_time_by_frequency(tmp_path: Path, family: str) -> None:
    """What changes late in the clip changes the last rows of the map, at all frequencies."""
    classifier: Classifier = recipe.load_recipe(recipes.write(tmp_path / "mine", family))
    seen: list[Tensor] = []
    hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: seen.append(output))
    x = torch.zeros(2, *audio.PICTURE_SHAPE)
    x[1, :, -60:] = 3.0
    with torch.inference_mode():
        classifier.picture_logits(x)
    hook.remove()
    change = (seen[0][1] - seen[0][0]).abs().sum(dim=0)  # (time, freq) of the image
    side = 14 if family == "focalnet" else 4
    assert change.shape == (side, side)
    assert int(change.sum(dim=1).argmax()) >= side - 2
    grid = classifier.front_end.to_picture(change[None])[0]
    assert float(grid[:, -40:].mean()) > 2 * float(grid[:, :100].mean())
