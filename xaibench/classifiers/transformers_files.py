"""Backbones of transformers as this project knows them: tensors by today's names, geometry by config or shapes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from xaibench.errors import CheckpointError

CONFIG = "config.json"
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
_VIT_RENAMED = re.compile("|".join(re.escape(old) for old, _ in _VIT_RENAMES))
RECIPE_IMAGE = 224
LARGEST_IMAGE = 2048
VIT_HEAD_WIDTH = 64
VIT_WIDEST = 1024
# What decides a forward pass in evaluation mode; dropout, initialisation and names do not.
KEYS = {
    "focalnet": """image_size patch_size num_channels embed_dim depths focal_levels focal_windows mlp_ratio hidden_act
        use_conv_embed use_layerscale use_post_layernorm use_post_layernorm_in_modulation normalize_modulator
        layer_norm_eps""".split(),  # noqa: SIM905
    "vit": """image_size patch_size num_channels hidden_size num_hidden_layers num_attention_heads intermediate_size
        hidden_act qkv_bias layer_norm_eps""".split(),  # noqa: SIM905
}
NAMES = {"focalnet": "FocalNetBackbone", "vit": "ViTModel"}


def family_of(state: Mapping[str, Tensor], path: Path) -> str:
    """ "focalnet" or "vit", by the names of a backbone's tensors.

    Raises:
        CheckpointError: neither.
    """
    if any(key.startswith("focalnet.") for key in state):
        return "focalnet"
    if any(key.startswith("embeddings.") for key in state):
        return "vit"
    raise CheckpointError(
        f"{path} is of neither transformers' FocalNetBackbone nor ViTModel; its first tensor is '{next(iter(state))}'"
    )


def current_names(family: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of transformers 5, without ViTModel's pooler, which nothing here uses."""
    if family == "focalnet":
        return dict(state)
    new_of = dict(_VIT_RENAMES)
    renamed = {}
    for key, value in state.items():
        if not key.startswith("pooler."):
            renamed[_VIT_RENAMED.sub(lambda found: new_of[found[0]], key)] = value
    return renamed


def geometry_of(folder: Path, family: str, state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """All of `KEYS`, by a folder's config.json, or else by the tensors' names and shapes.

    Args:
        folder: where config.json may be.
        state: tensors by the names of transformers 5.
        path: their file, for errors.

    Raises:
        CheckpointError: neither tells, the config is damaged or of another family, or image or patches are
            not square (the recipes' are).
    """
    where = folder / CONFIG
    if where.is_file():
        given = read_config(where)
        if given.get("model_type", family) != family:
            raise CheckpointError(f"{where} is of a '{given['model_type']}', the weights beside it of a '{family}'")
    else:
        where = path
        given = (_focalnet_geometry if family == "focalnet" else _vit_geometry)(state, path)
    geometry = complete(family, given, where)
    for key in ("image_size", "patch_size"):
        size = geometry[key]
        if isinstance(size, list | tuple):
            if len(set(size)) != 1:
                raise CheckpointError(f"{where}: {key} {size} is not square, as the recipes' are")
            geometry[key] = size[0]
    image, patch = geometry["image_size"], geometry["patch_size"]
    if not 1 <= patch <= image <= LARGEST_IMAGE:
        raise CheckpointError(
            f"{where}: an image of {image} with patches of {patch} is no image; expected at most {LARGEST_IMAGE}"
        )
    blocks = sum(geometry["depths"]) if family == "focalnet" else geometry["num_hidden_layers"]
    if blocks > len(state):  # before anything of that size is built
        raise CheckpointError(f"{where} tells of {blocks} blocks; {path.name} has {len(state)} tensors in all")
    return geometry


def read_config(path: Path) -> dict[str, Any]:
    """A transformers config.json.

    Raises:
        CheckpointError: unreadable, or none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a transformers config: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a transformers config: it holds no names and values")
    return content


def complete(family: str, given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """All of `KEYS` from some of them, the others by transformers' defaults.

    Raises:
        CheckpointError: a value of the wrong type.
    """
    from transformers import FocalNetConfig, ViTConfig  # takes a second, and most callers want names only

    kind = FocalNetConfig if family == "focalnet" else ViTConfig
    try:
        config = kind(**{key: given[key] for key in KEYS[family] if key in given})
    except Exception as error:  # whatever transformers' own validation raises
        raise CheckpointError(f"{path} is no config of a {family}: {' '.join(str(error).split())}") from error
    return {key: getattr(config, key) for key in KEYS[family]}


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Refuse tensors that are not exactly those a module has.

    Raises:
        CheckpointError: a key is missing or extra, or a shape differs; names the first and counts the others.
    """
    check_keys(found, expected, path, what)
    for key, value in expected.items():
        if found[key].shape != value.shape:
            raise CheckpointError(
                f"{path}: '{key}' has shape {_text(found[key])}, {what} of this geometry has {_text(value)} there"
            )


def _shape(state: Mapping[str, Tensor], key: str, path: Path, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise CheckpointError(f"{path} lacks '{key}', from which its geometry is read; add {CONFIG} or the tensor")
    if state[key].ndim != ndim:
        raise CheckpointError(f"{path}: '{key}' has shape {_text(state[key])}, expected {ndim} axes")
    return tuple(state[key].shape)


def _count(state: Mapping[str, Tensor], pattern: str, path: Path) -> int:
    """How many numbered parts there are; numbers run from 0 without gaps."""
    numbers = {int(found[1]) for key in state if (found := re.match(pattern, key))}
    gaps = [number for number in range(len(numbers)) if number not in numbers]
    if gaps or not numbers:
        name = pattern.replace("\\", "").replace("(d+)", str(gaps[0] if gaps else 0))
        raise CheckpointError(f"{path} lacks all of '{name}'; is it another model's file?")
    return len(numbers)


def _focalnet_geometry(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """By names and shapes; the image's size leaves no trace in a FocalNet and is the recipes'."""
    width, channels, patch, _ = _shape(state, "focalnet.embeddings.patch_embeddings.projection.weight", path, 4)
    stages = r"focalnet\.encoder\.stages\."
    first = "focalnet.encoder.stages.0.layers.0."
    overlapping = state.get("focalnet.encoder.stages.0.downsample.projection.weight")
    if first + "gamma_1" in state or (overlapping is not None and overlapping.shape[-1] != 2):
        # Such models may norm after the block, which leaves no trace in the weights.
        raise CheckpointError(f"{path} is of a large FocalNet, whose layout its weights do not tell; add its {CONFIG}")
    depths, levels, windows = [], [], []
    for stage in range(_count(state, stages + r"(\d+)\.", path)):
        depths.append(_count(state, rf"{stages}{stage}\.layers\.(\d+)\.", path))
        kernels = rf"{stages}{stage}\.layers\.0\.modulation\.focal_layers\."
        levels.append(_count(state, kernels + r"(\d+)\.", path))
        smallest = f"focalnet.encoder.stages.{stage}.layers.0.modulation.focal_layers.0.0.weight"
        windows.append(_shape(state, smallest, path, 4)[-1])
    inner = _shape(state, first + "mlp.fc1.weight", path, 2)[0]
    return {
        "image_size": RECIPE_IMAGE,
        "patch_size": patch,
        "num_channels": channels,
        "embed_dim": width,
        "depths": depths,
        "focal_levels": levels,
        "focal_windows": windows,
        "mlp_ratio": inner / width,
    }


def _vit_geometry(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """By names and shapes; heads are 64 wide, as in ViT-base and -large (arXiv 2010.11929) and the smaller ones."""
    width, channels, patch, _ = _shape(state, "embeddings.patch_embeddings.projection.weight", path, 4)
    tokens = _shape(state, "embeddings.position_embeddings", path, 3)[1]
    side = math.isqrt(max(tokens - 1, 0))
    if side == 0 or side * side != tokens - 1:
        raise CheckpointError(f"{path} has {tokens - 1} patches, which fill no square image; the recipes' are square")
    if width % VIT_HEAD_WIDTH or width > VIT_WIDEST:
        raise CheckpointError(
            f"{path}: the number of attention heads leaves no trace in weights, and of width {width} it is not known "
            f"(up to {VIT_WIDEST}, heads are {VIT_HEAD_WIDTH} wide); add its {CONFIG}"
        )
    return {
        "image_size": side * patch,
        "patch_size": patch,
        "num_channels": channels,
        "hidden_size": width,
        "num_hidden_layers": _count(state, r"layers\.(\d+)\.", path),
        "num_attention_heads": width // VIT_HEAD_WIDTH,
        "intermediate_size": _shape(state, "layers.0.mlp.fc1.weight", path, 2)[0],
        "qkv_bias": "layers.0.attention.q_proj.bias" in state,
    }


def check_keys(found: Mapping[str, object], expected: Mapping[str, object], path: Path, what: str) -> None:
    """Refuse missing and extra names.

    Raises:
        CheckpointError: naming the first and counting the others.
    """
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    for keys, verb, end in ((missing, "lacks", "has"), (extra, "holds", "has not")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise CheckpointError(f"{path} {verb} '{keys[0]}'{more}, which {what} {end}; is it another model's file?")


def _text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
