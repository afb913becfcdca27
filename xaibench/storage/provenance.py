"""Provenance of numbers: versions of libraries, and the machine."""

from __future__ import annotations

import json
import platform
from functools import cache
from importlib import metadata
from typing import Any

import torch

from xaibench._version import __version__

_PACKAGES = ("torch", "torchaudio", "transformers", "captum", "quantus", "numpy", "scipy", "soundfile")


def versions() -> dict[str, str]:
    """Return the versions of Python, xaibench and the libraries that can change scores."""
    return dict(_versions())


@cache  # the versions are looked up on disk
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "xaibench": __version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """Describe a device, such as "cpu (x86_64, 2 threads)"; for a GPU also whether it is deterministic."""
    if device.type == "cuda":
        mode = ", deterministic" if torch.are_deterministic_algorithms_enabled() else ""
        return f"cuda ({torch.cuda.get_device_name(device)}{mode})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def plain(value: Any) -> Any:
    """Return parameters as they come back from JSON: tuples become lists."""
    return json.loads(json.dumps(value))
