"""Read and write named tensors as safetensors files, which cannot run code when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xaibench.errors import CheckpointError


def write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors, and optional texts, into a file that every user may read."""
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(0o644)  # safetensors makes the file readable by its owner only


def read(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the named tensors of a file, floating-point ones as float32, and its texts.

    Args:
        path: path of the file.
        remedy: what the user can do if it cannot be read.

    Raises:
        CheckpointError: the file is missing, is not a safetensors file, or holds NaN or infinite numbers.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {remedy}")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
            texts = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}); {remedy}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{path}: '{name}' holds NaN or infinite numbers; {remedy}")
    return cast(tensors, torch.float32), texts


def cast(tensors: Mapping[str, Tensor], precision: torch.dtype) -> dict[str, Tensor]:
    """Convert the floating-point tensors among named ones to another precision."""
    return {name: one.to(precision) if one.is_floating_point() else one for name, one in tensors.items()}
