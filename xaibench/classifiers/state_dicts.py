"""State dicts that other projects saved with torch: read without running anything in them."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from xaibench.errors import CheckpointError


def read_state(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Read the tensors of a state dict saved by torch, floating-point ones as float32.

    Returns:
        The tensors by name, and whether all floating-point ones were in half precision.

    Raises:
        CheckpointError: missing, damaged, more than a state dict, or with numbers that are not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; copy or download it again")
    if _is_compressed(path):
        raise CheckpointError(f"{path} is compressed, which torch never does; export the state dict with torch.save")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, on formats that are refused below
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
        if value.nbytes > value.untyped_storage().nbytes():  # a small file may claim any size
            raise CheckpointError(f"{path}: '{key}' repeats numbers that are stored once; export it contiguous")
        if value.is_floating_point():
            half &= value.dtype == torch.float16
            value = value.to(torch.float32)
            if not bool(value.isfinite().all()):
                raise CheckpointError(f"{path}: '{key}' holds NaN or infinite numbers; train or download it again")
        state[key] = value.detach()
    return state, half


def _is_compressed(path: Path) -> bool:
    """Whether a few megabytes could become gigabytes when they are read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist())
    except Exception:  # torch's earlier format, or a damaged directory: zipfile raises many kinds of errors for one
        return False
