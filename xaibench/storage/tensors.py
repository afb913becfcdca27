"""Named tensors in safetensors files, which nothing unpickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xaibench.errors import CheckpointError


def write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors, and perhaps texts beside them, into a file that everybody may read."""
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(0o644)  # safetensors makes it private to its writer


def read(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the named tensors of a file, floating-point ones as float32, and the texts beside them.

    Args:
        path: of the file.
        remedy: what to do where it cannot be read.

    Raises:
        CheckpointError: it is missing, or no safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {remedy}")
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
            return cast(tensors, torch.float32), dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error}); {remedy}") from error


def cast(tensors: Mapping[str, Tensor], precision: torch.dtype) -> dict[str, Tensor]:
    """Give the floating-point tensors among named ones another precision."""
    return {name: one.to(precision) if one.is_floating_point() else one for name, one in tensors.items()}
