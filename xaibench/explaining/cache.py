"""Explanations kept between runs, keyed by content, so that a new metric costs no old explanation again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save

from xaibench.explaining.explanation import Explanation
from xaibench.storage.file_cache import LIMIT_BYTES, FileCache

# Below this a map is made again about as fast as it is read.
WORTH_KEEPING_SECONDS = 0.05


@dataclass(frozen=True)
class Made:
    """One clip's explanation (1, freq, time) and what making it cost.

    Attributes:
        seconds: wall time of making it, then, on this kind of device.
        peak_bytes: memory that it added, or None where the system could not say.
        found: whether it comes from a cache.
    """

    explanation: Explanation
    seconds: float
    peak_bytes: int | None
    found: bool = False


class ExplanationCache:
    """One file an explanation; the ones read longest ago go first when the folder grows too large.

    Args:
        folder: where the files are; made on first use.
        limit_bytes: how much they may take.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._files = FileCache(folder, ".safetensors", limit_bytes)

    def find(self, content: dict[str, Any]) -> Made | None:
        """What was kept under the same content, or None; a damaged file counts as not kept."""
        name = _name(content)
        # Whatever a damaged file makes the reader raise, the remedy is to make the map again.
        with contextlib.suppress(Exception), safetensors.safe_open(self._files.path(name), "pt") as file:
            about = json.loads(file.metadata()["about"])
            explanation = Explanation(file.get_tensor("map"), tuple(about["native_shape"]), tuple(about["texts"]))
            made = Made(explanation, float(about["seconds"]), about["peak_bytes"], True)
            self._files.was_read(name)
            return made
        return None

    def keep(self, content: dict[str, Any], made: Made) -> None:
        """Keep an explanation if that pays; a cache that cannot be written costs time, never the run."""
        if made.seconds < WORTH_KEEPING_SECONDS:
            return
        explanation = made.explanation
        about = {
            "native_shape": explanation.native_shape,
            "texts": explanation.texts,
            "seconds": made.seconds,
            "peak_bytes": made.peak_bytes,
        }
        data = save({"map": explanation.map.cpu().contiguous()}, {"about": json.dumps(about)})
        self._files.write(_name(content), data)


def _name(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def on_device(made: Made, device: torch.device) -> Made:
    """The same with its map on a device."""
    return replace(made, explanation=replace(made.explanation, map=made.explanation.map.to(device)))
