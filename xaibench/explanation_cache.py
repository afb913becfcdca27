"""Explanations kept between runs, keyed by content, so that a new metric costs no old explanation again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save

from xaibench.explanation import Explanation

LIMIT_BYTES = 4 * 1024**3
# Below this a map is made again about as fast as it is read.
WORTH_KEEPING_SECONDS = 0.05


@dataclass(frozen=True)
class Made:
    """One clip's explanation (1, freq, time) and what making it cost.

    Attributes:
        seconds: wall time of making it, then, on this kind of device.
        peak_bytes: memory that it added, or None where the system could not say.
    """

    explanation: Explanation
    seconds: float
    peak_bytes: int | None


class ExplanationCache:
    """One file an explanation; the ones read longest ago go first when the folder grows too large.

    Args:
        folder: where the files are; made on first use.
        limit_bytes: how much they may take.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._size: int | None = None

    def find(self, content: dict[str, Any]) -> Made | None:
        """What was kept under the same content, or None; a damaged file counts as not kept."""
        path = self._path(content)
        # Whatever a damaged file makes the reader raise, the remedy is to make the map again.
        with contextlib.suppress(Exception), safetensors.safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            explanation = Explanation(file.get_tensor("map"), tuple(about["native_shape"]))
            os.utime(path)
            return Made(explanation, float(about["seconds"]), about["peak_bytes"])
        return None

    def keep(self, content: dict[str, Any], made: Made) -> None:
        """Keep an explanation if that pays; a cache that cannot be written costs time, never the run."""
        if made.seconds < WORTH_KEEPING_SECONDS:
            return
        explanation = made.explanation
        about = {"native_shape": explanation.native_shape, "seconds": made.seconds, "peak_bytes": made.peak_bytes}
        data = save({"map": explanation.map.cpu().contiguous()}, {"about": json.dumps(about)})
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(data))
            handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(temporary, self._path(content))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _path(self, content: dict[str, Any]) -> Path:
        text = json.dumps(content, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def _make_room(self, size: int) -> None:
        if self._size is None:
            self._size = sum(path.stat().st_size for path in self._folder.glob("*.safetensors"))
        self._size += size
        if self._size <= self._limit:
            return
        # A tenth more than needed, so that a full cache is not sorted again for every map.
        for path in sorted(self._folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime):
            if self._size <= 0.9 * self._limit:
                break
            self._size -= path.stat().st_size
            path.unlink(missing_ok=True)


def on_device(made: Made, device: torch.device) -> Made:
    """The same with its map on a device."""
    moved = Explanation(made.explanation.map.to(device), made.explanation.native_shape)
    return Made(moved, made.seconds, made.peak_bytes)
