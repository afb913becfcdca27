"""The same digits from every run on a GPU; on a CPU they are the same anyway."""

from __future__ import annotations

import os

import torch

# cuBLAS reads it when the first matrix product is computed (NVIDIA, cuBLAS documentation, "Results reproducibility").
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def make_deterministic() -> None:
    """From now on use deterministic GPU kernels only; what has none fails with torch's own reason.

    Call it before the first computation on the GPU.
    """
    os.environ.setdefault(WORKSPACE_VARIABLE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
