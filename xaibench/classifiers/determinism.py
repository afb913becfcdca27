"""The same digits from every run on a GPU; on a CPU they are the same anyway."""

from __future__ import annotations

import os

import torch

# cuBLAS reads it when the first matrix product is computed (NVIDIA, cuBLAS documentation, "Results reproducibility").
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def setting() -> tuple[bool, bool]:
    """Read whether torch uses deterministic algorithms only, and whether it only warns where there is none."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def restore(wanted: tuple[bool, bool]) -> None:
    """Make a setting that was read that of this process."""
    # To set it imports torch's compiler, which takes longer than all else that a worker does to begin.
    if wanted != setting():
        torch.use_deterministic_algorithms(wanted[0], warn_only=wanted[1])


def make_deterministic() -> None:
    """From now on use deterministic GPU kernels only; what has none fails with torch's own reason.

    Call it before the first computation on the GPU.
    """
    os.environ.setdefault(WORKSPACE_VARIABLE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
