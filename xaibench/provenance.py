"""What a number depends on beside its inputs: versions and the machine."""

from __future__ import annotations

import platform
from importlib import metadata

import xaibench

_PACKAGES = ("torch", "torchaudio", "transformers", "captum", "numpy", "scipy", "soundfile")


def versions() -> dict[str, str]:
    """Versions of Python, xaibench and the libraries that touch scores."""
    found = {"python": platform.python_version(), "xaibench": xaibench.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
