"""Checkpoints as SpeechBrain's ESC-50 recipes write them: read, checked, in this project's names.

A folder holds `embedding_model.ckpt` (state dict of transformers' FocalNetBackbone or ViTModel),
`classifier.ckpt` (batch norm, linear, cosine layer), the class names in training order (`labels.txt`,
one a line, or the recipe's `label_encoder.txt`), and perhaps the backbone's `config.json`. Everything
is checked before a model is built, and no pickle runs.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaibench.errors import CheckpointError

EMBEDDING = "embedding_model.ckpt"
HEAD = "classifier.ckpt"
CONFIG = "config.json"
LABELS = ("labels.txt", "label_encoder.txt")
REQUIRED = (EMBEDDING, HEAD)
OPTIONAL = (CONFIG, *LABELS)

# The recipes number the classes as they first appear among ESC-50's folds 1-3, in the order of its CSV.
# The published checkpoints come without that list.
ESC50_TRAINING_ORDER = tuple(
    """
    dog chirping_birds vacuum_cleaner thunderstorm door_wood_knock can_opening crow clapping fireworks chainsaw
    airplane mouse_click pouring_water train sheep water_drops church_bells clock_alarm keyboard_typing wind
    footsteps frog cow brushing_teeth car_horn crackling_fire helicopter drinking_sipping rain insects laughing hen
    engine breathing crying_baby hand_saw coughing glass_breaking snoring toilet_flush pig washing_machine
    clock_tick sneezing rooster sea_waves siren cat door_wood_creaks crickets
    """.split()
)

# Names before transformers 5, which is when the published ViT was written; the order matters.
_VIT_RENAMES = (
    ("encoder.layer.", "layers."),
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
_HEAD_NAMES = {
    "weight": "weight",
    "blocks.0.norm.weight": "norm.weight",
    "blocks.0.norm.bias": "norm.bias",
    "blocks.0.norm.running_mean": "norm.running_mean",
    "blocks.0.norm.running_var": "norm.running_var",
    "blocks.0.norm.num_batches_tracked": "norm.num_batches_tracked",
    "blocks.1.w.weight": "linear.weight",
    "blocks.1.w.bias": "linear.bias",
}
RECIPE_IMAGE = 224
VIT_HEAD_WIDTH = 64
# What a state dict's shapes and keys do not decide on their own is left to transformers' defaults.
_KEYS = {
    "focalnet": (
        "image_size",
        "patch_size",
        "num_channels",
        "embed_dim",
        "depths",
        "focal_levels",
        "focal_windows",
        "mlp_ratio",
        "hidden_act",
        "use_conv_embed",
        "use_layerscale",
        "use_post_layernorm",
        "use_post_layernorm_in_modulation",
        "normalize_modulator",
        "layer_norm_eps",
    ),
    "vit": (
        "image_size",
        "patch_size",
        "num_channels",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "qkv_bias",
        "layer_norm_eps",
    ),
}


@dataclass(frozen=True)
class RecipeFiles:
    """A checkpoint as read.

    Attributes:
        family: "focalnet" or "vit".
        classes: class names in the order of the logits.
        geometry: of the backbone, keys of transformers' config.
        hidden: width of the head's linear layer.
        backbone: float32 tensors by the names of transformers 5.
        head: float32 tensors by the names of `CosineHead`.
        half: all floating point tensors came in half precision.
        assumed_classes: no file named the classes; they are the recipes' ESC-50 ones.
    """

    family: str
    classes: tuple[str, ...]
    geometry: dict[str, Any]
    hidden: int
    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    half: bool
    assumed_classes: bool


def read(folder: Path, labels: Path | None = None) -> RecipeFiles:
    """Read a recipe's checkpoint folder.

    Args:
        folder: as described above.
        labels: class names, where not in the folder.

    Raises:
        CheckpointError: a file is missing, is no plain state dict, has other keys or shapes, or holds
            numbers that are not finite; or class names are missing, double, or not as many as the head has.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected one with {' and '.join(REQUIRED)}")
    embedding, embedding_half = _state(folder / EMBEDDING)
    head, head_half = _state(folder / HEAD)
    family, backbone = _backbone(embedding, folder / EMBEDDING)
    geometry = _configured(folder / CONFIG, family)
    if geometry is None:
        infer = _focalnet_geometry if family == "focalnet" else _vit_geometry
        geometry = infer(backbone, folder / EMBEDDING)
    _same_keys(head, dict.fromkeys(_HEAD_NAMES), folder / HEAD, "a recipe's classifier")
    if head["weight"].ndim != 2:
        raise CheckpointError(f"{folder / HEAD}: 'weight' has shape {_text(head['weight'])}, not (classes, hidden)")
    count, hidden = head["weight"].shape
    classes, assumed = _classes(folder, labels, count)
    return RecipeFiles(
        family,
        classes,
        geometry,
        hidden,
        backbone,
        {_HEAD_NAMES[key]: value for key, value in head.items()},
        embedding_half and head_half,
        assumed,
    )


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Refuse tensors that are not exactly those a module has.

    Raises:
        CheckpointError: a key is missing or extra, or a shape differs; names the first and counts the others.
    """
    _same_keys(found, expected, path, what)
    for key, value in expected.items():
        if found[key].shape != value.shape:
            raise CheckpointError(
                f"{path}: '{key}' has shape {_text(found[key])}, {what} of this geometry has {_text(value)} there"
            )


def original_names(family: str) -> dict[str, str]:
    """Original names of the head's tensors by those of `CosineHead`."""
    return {ours: theirs for theirs, ours in _HEAD_NAMES.items()}


def _same_keys(found: Mapping[str, object], expected: Mapping[str, object], path: Path, what: str) -> None:
    for keys, verb, tail in (
        ([key for key in expected if key not in found], "lacks", "which"),
        ([key for key in found if key not in expected], "holds", "which no part of"),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            end = f"{tail} {what} has" if verb == "lacks" else f"{tail} {what} is called"
            raise CheckpointError(f"{path} {verb} '{keys[0]}'{more}, {end}; is it another model's file?")


def _text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _state(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a state dict, floating point ones in float32, and whether all those were halves."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; a recipe's checkpoint has {' and '.join(REQUIRED)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Without torch's own words, which advise to unpickle the file.
        raise CheckpointError(
            f"{path} is not a plain state dict: it is damaged, or its pickle asks for more than tensors "
            "(nothing of it was run); export the state dict alone"
        ) from error
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no state dict (names and tensors); export the state dict alone")
    state: dict[str, Tensor] = {}
    half = True
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: '{key}' is not a named tensor; export the state dict alone")
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise CheckpointError(f"{path}: '{key}' is no ordinary tensor of numbers; export it dense")
        if value.is_floating_point():
            half &= value.dtype == torch.float16
            value = value.to(torch.float32)
            if not bool(value.isfinite().all()):
                raise CheckpointError(f"{path}: '{key}' holds NaN or infinite numbers; train or download it again")
        state[key] = value.detach()
    return state, half


def _backbone(state: dict[str, Tensor], path: Path) -> tuple[str, dict[str, Tensor]]:
    """Family, and the tensors that our backbone of that family has."""
    if any(key.startswith("focalnet.") for key in state):
        return "focalnet", state
    if any(key.startswith("embeddings.") for key in state):
        renamed = {}
        for key, value in state.items():
            for old, new in _VIT_RENAMES:
                key = key.replace(old, new)
            if not key.startswith("pooler."):  # ViTModel's pooler, which the recipe does not use
                renamed[key] = value
        return "vit", renamed
    raise CheckpointError(
        f"{path} is of neither transformers' FocalNetBackbone nor ViTModel; its first key is '{next(iter(state))}'"
    )


def _configured(path: Path, family: str) -> dict[str, Any] | None:
    """Geometry by config.json; None where there is none."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        model_type = content.get("model_type", family)
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a transformers config: {error}") from error
    if model_type != family:
        raise CheckpointError(f"{path} is of a '{model_type}', the weights beside it of a '{family}'")
    geometry = {key: content[key] for key in _KEYS[family] if key in content}
    for key in ("image_size", "patch_size"):
        size = geometry.get(key)
        if isinstance(size, list) and size:
            if len(set(size)) != 1:
                raise CheckpointError(f"{path}: {key} {size} is not square, as the recipes' are")
            geometry[key] = size[0]
    return geometry


def _shape(state: Mapping[str, Tensor], key: str, path: Path, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise CheckpointError(f"{path} lacks '{key}', from which its geometry is read; add {CONFIG} or the tensor")
    if state[key].ndim != ndim:
        raise CheckpointError(f"{path}: '{key}' has shape {_text(state[key])}, expected {ndim} axes")
    return tuple(state[key].shape)


def _focalnet_geometry(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """By keys and shapes; the image's size leaves no trace in a FocalNet and is the recipes'."""
    width, channels, patch, _ = _shape(state, "focalnet.embeddings.patch_embeddings.projection.weight", path, 4)
    blocks: dict[int, set[int]] = {}
    for key in state:
        if found := re.match(r"focalnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.", key):
            blocks.setdefault(int(found[1]), set()).add(int(found[2]))
    first = "focalnet.encoder.stages.0.layers.0."
    overlapping = state.get("focalnet.encoder.stages.0.downsample.projection.weight")
    if first + "gamma_1" in state or (overlapping is not None and overlapping.shape[-1] != 2):
        # Such models norm after the block, which leaves no trace in the weights.
        raise CheckpointError(f"{path} is of a large FocalNet, whose layout its weights do not tell; add its {CONFIG}")
    levels, windows = [], []
    for stage in range(max(blocks, default=-1) + 1):
        layer = f"focalnet.encoder.stages.{stage}.layers.0.modulation.focal_layers."
        levels.append(len([key for key in state if key.startswith(layer)]))
        windows.append(_shape(state, layer + "0.0.weight", path, 4)[-1])
    inner = _shape(state, first + "mlp.fc1.weight", path, 2)[0]
    return {
        "image_size": RECIPE_IMAGE,
        "patch_size": patch,
        "num_channels": channels,
        "embed_dim": width,
        "depths": [max(blocks.get(stage, {0})) + 1 for stage in range(len(levels))],
        "focal_levels": levels,
        "focal_windows": windows,
        "mlp_ratio": inner / width,
    }


def _vit_geometry(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """By keys and shapes; heads are 64 wide, as in every ViT of arXiv 2010.11929."""
    width, channels, patch, _ = _shape(state, "embeddings.patch_embeddings.projection.weight", path, 4)
    tokens = _shape(state, "embeddings.position_embeddings", path, 3)[1]
    side = math.isqrt(max(tokens - 1, 0))
    if side == 0 or side * side != tokens - 1:
        raise CheckpointError(f"{path} has {tokens - 1} patches, which fill no square image; the recipes' are square")
    if width % VIT_HEAD_WIDTH:
        raise CheckpointError(
            f"{path}: the number of attention heads leaves no trace in weights, and width {width} is no multiple of "
            f"{VIT_HEAD_WIDTH}, the usual head; add its {CONFIG}"
        )
    layers = {int(found[1]) for key in state if (found := re.match(r"layers\.(\d+)\.", key))}
    return {
        "image_size": side * patch,
        "patch_size": patch,
        "num_channels": channels,
        "hidden_size": width,
        "num_hidden_layers": max(layers, default=-1) + 1,
        "num_attention_heads": width // VIT_HEAD_WIDTH,
        "intermediate_size": _shape(state, "layers.0.mlp.fc1.weight", path, 2)[0],
        "qkv_bias": "layers.0.attention.q_proj.bias" in state,
    }


def _classes(folder: Path, labels: Path | None, count: int) -> tuple[tuple[str, ...], bool]:
    """Class names, and whether they are assumed."""
    path = labels or next((folder / name for name in LABELS if (folder / name).is_file()), None)
    if path is None:
        if count == len(ESC50_TRAINING_ORDER):
            return ESC50_TRAINING_ORDER, True
        raise CheckpointError(
            f"{folder} names no classes; write the {count} names in training order to {LABELS[0]}, one a line"
        )
    names = _read_labels(path)
    if len(names) != count:
        raise CheckpointError(f"{path} names {len(names)} classes, {HEAD} tells {count} apart")
    return names, False


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as text ({error})") from error
    names = _encoder_labels(lines, path) if any(" => " in line for line in lines) else [line.strip() for line in lines]
    if not names:
        raise CheckpointError(f"{path} names no class; write one name a line, in training order")
    for number, name in enumerate(names, start=1):
        if not name:
            raise CheckpointError(f"{path}: class {number} has no name")
        if name in names[: number - 1]:
            raise CheckpointError(f"{path} names '{name}' twice")
    return tuple(names)


def _encoder_labels(lines: list[str], path: Path) -> list[str]:
    """Names of SpeechBrain's CategoricalEncoder: lines of repr(label) => index, then ===, then extras."""
    by_index: dict[int, str] = {}
    for line in lines:
        if line.startswith("==="):
            break
        label, _, index = line.rpartition(" => ")
        try:
            name, number = ast.literal_eval(label), int(index)
        except (ValueError, SyntaxError):
            raise CheckpointError(f"{path}: {line!r} is not written as 'name' => index") from None
        if not isinstance(name, str):
            raise CheckpointError(f"{path}: {label} is not a class name in quotes")
        if number in by_index:
            raise CheckpointError(f"{path} gives index {number} to '{by_index[number]}' and to '{name}'")
        by_index[number] = name
    if sorted(by_index) != list(range(len(by_index))):
        raise CheckpointError(f"{path}: its indices are not 0 to {len(by_index) - 1}, each once")
    return [by_index[index] for index in range(len(by_index))]
