"""Checkpoints of the original recipes: their logits, their image, and what is refused."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recipes
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import FocalNetBackbone, ViTModel

from xaibench import audio, registry
from xaibench.batch import Batch
from xaibench.classifiers import recipe, recipe_files
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.recipe import RecipeFrontEnd, load_recipe
from xaibench.data.esc50 import Esc10
from xaibench.errors import CheckpointError
from xaibench.legacy_input import legacy_spectrogram

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
    classifier = load_recipe(reference_folder / family)
    expected = rows(reference_folder / family)
    assert len(expected) == 80
    assert {row["clip"] for row in expected} == set(spectrograms)
    right = 0
    for start in range(0, 80, 16):
        part = expected[start : start + 16]
        with torch.inference_mode():
            logits = classifier.logits(torch.cat([spectrograms[row["clip"]] for row in part]))
        for row, found in zip(part, logits, strict=True):
            wanted = torch.tensor([float(row[f"logit_{name}"]) for name in classifier.classes])
            assert float((found - wanted).abs().max()) <= 1e-4, row["clip"]
            predicted = classifier.classes[int(found.argmax())]
            assert predicted == row["predicted"], row["clip"]
            right += predicted == row["label"]
    assert right == {"focalnet": 61, "vit": 69}[family]
    assert classifier.temperature == 30.0
    assert not classifier.training


@pytest.mark.parametrize("family", FAMILIES)
def test_our_explainers_find_the_original_masks(
    family: str, reference_folder: Path, spectrograms: dict[str, Tensor]
) -> None:
    """Which bins the recipe keeps depends on every axis order between the spectrogram and the tap."""
    classifier = load_recipe(reference_folder / family)
    stored = np.load(reference_folder / family / "amt_masks.npz")
    method = registry.create("methods", "focalnet" if family == "focalnet" else "vit-attention")
    clips = [str(name) for name in stored["clips"]]
    for number in (0, 13, 41, 79):
        x = spectrograms[clips[number]]
        importance = method.explain(classifier, Batch(x, (clips[number],), 0), torch.zeros(1, dtype=torch.int64)).map[0]
        assert importance.shape == audio.GRID
        kept = importance.numpy() >= np.quantile(importance.numpy(), 0.90)
        expected = np.unpackbits(stored["masks"][number], axis=-1)[:, : audio.GRID[0]].astype(bool).T
        assert (kept == expected).mean() >= 0.999, clips[number]
        assert (kept == np.roll(expected, 40, axis=0)).mean() < 0.99, "the comparison can tell masks apart"


def slow_magnitude(samples: np.ndarray) -> np.ndarray:
    """STFT magnitude (frames, bins) by its definition: periodic Hamming window in the middle of 1024 zeros."""
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(372) / 372)
    frame = np.zeros(1024)
    padded = np.concatenate([np.zeros(512), samples.astype(np.float64), np.zeros(512)])
    spectra = []
    for middle in range(0, 80_001, 186):
        frame[326:698] = padded[middle + 326 : middle + 698] * window
        spectra.append(np.fft.rfft(frame))
    return np.sqrt(np.abs(spectra) ** 2 + 1e-14)


def slow_resize(size_in: int, size_out: int) -> np.ndarray:
    """Antialiased bilinear weights (out, in): a triangle one output pixel wide (or one input pixel, if larger)."""
    scale = size_in / size_out
    half = max(scale, 1.0)
    weights = np.zeros((size_out, size_in))
    for out in range(size_out):
        centre = (out + 0.5) * scale
        for i in range(size_in):
            weights[out, i] = max(0.0, 1 - abs(i + 0.5 - centre) / half)
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_input_by_hand(esc50_folder: Path) -> None:
    """From the file to the image, in float64 numpy; the clip's decoded peaks leave [-1, 1]."""
    source = Esc10(esc50_folder)
    clip = next(clip for clip in source.clips if clip.id == "5-208030-A-0")
    samples, rate = soundfile.read(esc50_folder / "audio" / clip.filename)
    assert rate == 16_000
    assert samples.shape == (80_000,)
    assert samples.max() > 1.1
    assert np.abs(source.waveform(clip)).max() == 1.0
    expected = np.log1p(slow_magnitude(samples / samples.max()))
    found = legacy_spectrogram(torch.from_numpy(source.unlimited_waveform(clip))[None])
    assert found.shape == (1, *audio.GRID)
    np.testing.assert_allclose(found[0].numpy().T, expected, rtol=0, atol=2e-5)
    image = slow_resize(431, 224) @ expected @ slow_resize(513, 224).T
    np.testing.assert_allclose(RecipeFrontEnd(224)(found)[0, 0].numpy(), image, rtol=0, atol=1e-4)


def test_division_is_by_the_maximum_not_the_largest_size() -> None:
    wave = torch.zeros(3, audio.CLIP_SAMPLES)
    wave[0, 5000], wave[0, 9000] = 0.25, -0.5
    wave[1, 100] = -0.5
    spectrogram = legacy_spectrogram(wave)
    torch.testing.assert_close(spectrogram[0], torch.log1p(audio.stft(4 * wave[:1]).abs()[0]), rtol=0, atol=1e-6)
    # No positive sample: the recipes divide by zero.
    torch.testing.assert_close(spectrogram[1], torch.log1p(audio.stft(wave[1:2]).abs()[0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(spectrogram[2], torch.full(audio.GRID, 1e-7), rtol=1e-3, atol=0)


def test_the_image_is_time_by_frequency_and_maps_come_back() -> None:
    front_end = RecipeFrontEnd(224)
    ramp = torch.linspace(0, 1, audio.GRID[1]).expand(1, *audio.GRID)
    image = front_end(ramp)
    assert image.shape == (1, 1, 224, 224)
    assert float(image[0, 0].std(dim=1).max()) < 1e-6, "constant along the frequencies of one time"
    assert bool((image[0, 0, 1:, 0] > image[0, 0, :-1, 0]).all())
    cell = torch.zeros(1, 7, 7)
    cell[0, 6, 0] = 1.0  # the last times, the lowest frequencies
    back = front_end.to_grid(cell)
    assert back.shape == (1, *audio.GRID)
    low, high = back[0, : audio.GRID[0] // 4], back[0, audio.GRID[0] // 2 :]
    assert float(high.max()) == 0.0
    assert float(low[:, : audio.GRID[1] // 2].max()) == 0.0
    assert float(low[:30, -30:].min()) == 1.0


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
    classifier = load_recipe(recipes.write(tmp_path / "mine", family, config))
    side = 224 if family == "focalnet" else 64
    assert classifier.name == "mine"
    assert classifier.front_end.image_size == (side, side)
    x = torch.rand(2, *audio.GRID)
    image = functional.interpolate(x.transpose(1, 2)[:, None], (side, side), mode="bilinear", antialias=True)
    expected = logits_by_hand(family, image.expand(-1, 3, -1, -1))
    with torch.inference_mode():
        torch.testing.assert_close(classifier.logits(x), expected, rtol=0, atol=1e-5)


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
            load_recipe(tmp_path)
        return
    x = torch.rand(1, *audio.GRID)
    with torch.inference_mode():
        assert torch.equal(load_recipe(tmp_path).logits(x), load_recipe(reference_folder / family).logits(x))


def test_vit_names_of_older_transformers(tmp_path: Path) -> None:
    """save_pretrained still writes the names that the published checkpoint has."""
    folder = recipes.write(tmp_path / "vit", "vit")
    new = load_recipe(folder)
    recipes.backbone("vit").save_pretrained(tmp_path / "old")
    old = load_file(tmp_path / "old" / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in old
    assert "pooler.dense.weight" in old
    torch.save(old, folder / "embedding_model.ckpt")
    for config in (True, False):
        if not config:
            (folder / "config.json").unlink()
        found = load_recipe(folder).state_dict()
        assert set(found) == set(new.state_dict())
        assert all(torch.equal(value, found[key]) for key, value in new.state_dict().items())


def test_the_published_order_of_classes(reference_folder: Path, esc50_folder: Path) -> None:
    order = recipe_files.ESC50_TRAINING_ORDER
    assert len(set(order)) == 50
    with (esc50_folder / "meta" / "esc50.csv").open() as file:
        table = list(csv.DictReader(file))
    assert set(order) == {row["category"] for row in table}
    # First appearance in folds 1-3 is what the reference's labels, made by the recipe, are for ESC-10.
    seen = dict.fromkeys(row["category"] for row in table if row["fold"] in "123" and row["esc10"] == "True")
    assert tuple(name for name in order if name in seen) == tuple(seen)
    assert tuple(seen) == load_recipe(reference_folder / "vit").classes


def test_only_fifty_unnamed_classes_are_assumed(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "vit", labels=False)
    with pytest.raises(CheckpointError, match=r"names no classes; write the 3 names in training order to labels\.txt"):
        load_recipe(folder)
    named = tmp_path / "names"
    named.write_text("a\nb\nc\n")
    assert load_recipe(folder, labels=named).classes == ("a", "b", "c")
    torch.save(recipes.head(128, classes=50), folder / "classifier.ckpt")
    assert recipe_files.read(folder).assumed_classes
    assert load_recipe(folder).classes == recipe_files.ESC50_TRAINING_ORDER


def test_speechbrains_label_encoder(tmp_path: Path) -> None:
    folder = recipes.write(tmp_path / "mine", "vit", labels=False)
    encoder = folder / "label_encoder.txt"
    encoder.write_text("'dog' => 1\n'rain' => 0\n\"baby's cry\" => 2\n================\n'starting_index' => 0\n")
    assert load_recipe(folder).classes == ("rain", "dog", "baby's cry")


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
        ("7 => 0\n'dog' => 1\n'sea' => 2\n", "7 is not a class name in quotes"),
    ],
)
def test_class_names_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    folder = recipes.write(tmp_path / "mine", "vit")
    (folder / "labels.txt").write_text(text)
    assert_refused(folder, message)


def assert_refused(folder: Path, *words: str) -> None:
    """One line that holds the words."""
    with pytest.raises(CheckpointError) as caught:
        load_recipe(folder)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


EMBEDDING, HEAD = "embedding_model.ckpt", "classifier.ckpt"
FIRST = {
    "focalnet": "focalnet.encoder.stages.1.layers.1.mlp.fc2.weight",
    "vit": "layers.1.mlp.fc2.weight",
}


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
        load_recipe(tmp_path / "nowhere")
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
        ("vit", {"patch_size": 0}, "its geometry is that of no network"),
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


def test_large_focalnets_need_their_config(tmp_path: Path) -> None:
    config = recipes.focalnet_config()
    config.use_layerscale = config.use_post_layernorm = config.use_conv_embed = True
    folder = recipes.write(tmp_path / "mine", "focalnet", config=False)
    backbone = FocalNetBackbone(config)
    torch.save(backbone.state_dict(), folder / EMBEDDING)
    assert_refused(folder, "is of a large FocalNet", "add its config.json")
    config.save_pretrained(folder)
    classifier = load_recipe(folder)
    image = classifier.front_end(torch.rand(1, *audio.GRID)).expand(-1, 3, -1, -1)
    inner: Any = classifier
    with torch.inference_mode():
        assert torch.equal(inner.backbone(image).feature_maps[-1], backbone.eval()(image).feature_maps[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_classes_in_another_order(tmp_path: Path, family: str) -> None:
    folder = recipes.write(tmp_path / "mine", family)
    original, x = load_recipe(folder), torch.rand(1, *audio.GRID)
    order = ("dog", "rain", "sea_waves")
    changed = recipe.in_order(load_recipe(folder), order)
    assert changed.classes == order
    with torch.inference_mode():
        expected = original.logits(x)[:, [original.classes.index(name) for name in order]]
        assert torch.equal(changed.logits(x), expected)
    assert recipe.in_order(original, original.classes) is original
    with pytest.raises(ValueError, match="only the order"):
        recipe.in_order(original, ("dog", "rain", "wind"))


def test_attention_is_transformers_own(tmp_path: Path) -> None:
    classifier: Any = load_recipe(recipes.write(tmp_path / "mine", "vit"))
    assert classifier.offers == {"attentions"}
    assert classifier.grid == (4, 4)
    model: Any = ViTModel(recipes.vit_config(), add_pooling_layer=False).eval()
    model.load_state_dict(classifier.backbone.state_dict())
    model.set_attn_implementation("eager")
    x = torch.rand(1, *audio.GRID)
    with torch.inference_mode():
        expected = model(classifier.front_end(x).expand(-1, 3, -1, -1), output_attentions=True).attentions
    found = classifier.attention_weights(x)
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_feature_maps_are_time_by_frequency(tmp_path: Path, family: str) -> None:
    """What changes late in the clip changes the last rows of the map, at all frequencies."""
    classifier: Classifier = load_recipe(recipes.write(tmp_path / "mine", family))
    seen: list[Tensor] = []
    hook = classifier.feature_maps.register_forward_hook(lambda module, args, output: seen.append(output))
    x = torch.zeros(2, *audio.GRID)
    x[1, :, -60:] = 3.0
    with torch.inference_mode():
        classifier.logits(x)
    hook.remove()
    change = (seen[0][1] - seen[0][0]).abs().sum(dim=0)  # (time, freq) of the image
    side = 14 if family == "focalnet" else 4
    assert change.shape == (side, side)
    assert int(change.sum(dim=1).argmax()) >= side - 2
    grid = classifier.front_end.to_grid(change[None])[0]
    assert float(grid[:, -40:].mean()) > 2 * float(grid[:, :100].mean())
