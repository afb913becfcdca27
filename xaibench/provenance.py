"""What a number depends on beside its inputs: versions and the machine."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import xaibench

_PACKAGES = ("torch", "torchaudio", "transformers", "captum", "quantus", "numpy", "scipy", "soundfile")


def versions() -> dict[str, str]:
    """Versions of Python, xaibench and the libraries that touch scores."""
    found = {"python": platform.python_version(), "xaibench": xaibench.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """A device as people call it, such as "cpu (x86_64, 2 threads)"; of a GPU also whether it is deterministic."""
    if device.type == "cuda":
        mode = ", deterministic" if torch.are_deterministic_algorithms_enabled() else ""
        return f"cuda ({torch.cuda.get_device_name(device)}{mode})"
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


@cache
def code_hash(method: type) -> str:
    """SHA-256 of xaibench's own source, of the file that defines a method, and of the package that file is in."""
    digest = hashlib.sha256()
    root = Path(xaibench.__file__).parent
    sources = sorted(root.rglob("*.py"))
    try:
        leaf = inspect.getsourcefile(method)
    except (TypeError, OSError):  # a class typed into a notebook has no file
        leaf = None
    leaves = [] if leaf is None else [Path(leaf)]
    if leaf is not None and (Path(leaf).parent / "__init__.py").is_file():
        leaves = sorted(Path(leaf).parent.glob("*.py"))
    for path in [*sources, *leaves]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """Parameters as JSON would give them back: tuples become lists."""
    return json.loads(json.dumps(value))
