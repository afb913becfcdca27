"""Image backbones in transformers' format as a start of a training: a folder, or a hub repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from xaibench import registry
from xaibench.classifiers import transformers_files as backbone_files
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.state_dicts import read_state
from xaibench.classifiers.transformers_files import CONFIG, KEYS, NAMES
from xaibench.errors import CheckpointError
from xaibench.storage import cards, hub, tensors

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"
# Where a model around the backbone keeps it, and what such models add.
_PREFIX = {"focalnet": "focalnet.", "vit": "vit."}
_OTHER = ("classifier.", "pooler.", "vit.pooler.", "decoder.")


def folder_of(reference: str, classifier: str) -> Path | None:
    """The folder of a transformers model that a reference means; None where it means none.

    Args:
        reference: a folder with config.json, or OWNER/NAME of a hub repository (never DATASET/CLASSIFIER
            of shipped weights, nor a folder).
        classifier: which is to be trained, for the remedy.

    Raises:
        CheckpointError: the hub does not give the files; the line says what to download by hand.
    """
    path = Path(reference).expanduser()
    if path.exists():
        return path if (path / CONFIG).is_file() else None
    if not hub.is_repository(reference) or reference.partition("/")[0] in registry.names("datasets"):
        return None
    remedy = f"xaibench train --classifier {classifier} --init FOLDER"
    return hub.fetch(reference, [hub.Layout(((CONFIG,), (SAFETENSORS, PICKLED)))], remedy)


def initialise(model: Classifier, folder: Path, reference: str) -> str:
    """Load a transformers backbone into a classifier that has one, and say which it was.

    Args:
        model: a FocalNet or ViT; its image goes into every input channel.
        folder: config.json, and model.safetensors or pytorch_model.bin.
        reference: what the user called it.

    Raises:
        CheckpointError: another family, geometry, or other tensors.
    """
    backbone: Any = getattr(model, "backbone", None)
    if model.family not in KEYS or backbone is None:
        raise CheckpointError(f"{model.name} has no transformers backbone to start from {folder}; use another --init")
    config = folder / CONFIG
    given = backbone_files.read_config(config)
    family = given.get("model_type")
    if family != model.family:
        raise CheckpointError(f"{config} is of a '{family}', {model.name} is a '{model.family}'; use another --init")
    theirs = backbone_files.complete(family, given, config)
    for key, value in theirs.items():
        if _plain(value) != _plain(getattr(backbone.config, key)):
            raise CheckpointError(
                f"{config}: {key} is {_plain(value)}, {model.name}'s is {_plain(getattr(backbone.config, key))}; "
                "choose the --classifier of this geometry, or another --init"
            )
    path, state = _read(folder)
    backbone_files.check_fit(backbone.state_dict(), _body(family, state), path, f"a {NAMES[family]}")
    backbone.load_state_dict(_body(family, state))
    return f"{reference} (transformers' {NAMES[family]}), SHA-256 {cards.file_hash(path)}"


def _plain(value: Any) -> Any:
    """A config's value with square sizes as one number and sequences as lists."""
    if isinstance(value, list | tuple):
        return value[0] if len(value) == 2 and value[0] == value[1] else list(value)
    return value


def _read(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The weights' file and its tensors in float32."""
    path = folder / SAFETENSORS
    if not path.is_file():
        if (folder / PICKLED).is_file():
            return folder / PICKLED, read_state(folder / PICKLED)[0]
        raise CheckpointError(f"{folder} holds neither {SAFETENSORS} nor {PICKLED} beside its {CONFIG}")
    return path, tensors.read(path, "download it again")[0]


def _body(family: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors by the names our backbone has, whichever model around it was saved."""
    prefix = _PREFIX[family]
    inner = {key.removeprefix(prefix): value for key, value in state.items() if not key.startswith(_OTHER)}
    if family == "focalnet":
        return {prefix + key: value for key, value in inner.items()}
    return backbone_files.current_names(family, inner)
