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

from xaibench._version import __version__

_PACKAGES = ("torch", "torchaudio", "transformers", "captum", "quantus", "numpy", "scipy", "soundfile")


def versions() -> dict[str, str]:
    """Versions of Python, xaibench and the libraries that touch scores."""
    return dict(_versions())


@cache  # they are looked up on disk
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "xaibench": __version__}
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
def code_hash(leaf: type) -> str:
    """SHA-256 of xaibench's own source and of the package, or else the file, that defines a method or metric."""
    core = _hash(tuple(sorted(Path(__file__).parents[1].rglob("*.py"))))
    try:
        file = inspect.getsourcefile(leaf)
    except (TypeError, OSError):  # a class typed into a notebook has no file
        return core
    if file is None:
        return core
    folder = Path(file).parent
    own = tuple(sorted(folder.glob("*.py"))) if (folder / "__init__.py").is_file() else (Path(file),)
    return hashlib.sha256(f"{core} {_hash(own)}".encode()).hexdigest()


@cache
def _hash(sources: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """Parameters as JSON would give them back: tuples become lists."""
    return json.loads(json.dumps(value))
