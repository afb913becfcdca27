"""Maps made elsewhere as a method, and maps kept for others: arrays with their axes, one file a clip."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation, Polarity
from xaibench.sound.batch import Batch
from xaibench.storage.atomic import write_atomically

_NAMED = 5  # clips in an error
_AXES = ("frequencies", "times")


@dataclass(frozen=True)
class Map:
    """A map of one clip.

    Attributes:
        values: float32 (frequencies, times), or (times,): the same at all frequencies.
        frequencies: of the rows in Hz, or None: those of the picture.
        times: of the columns in s, or None: those of the picture.
    """

    values: np.ndarray
    frequencies: np.ndarray | None
    times: np.ndarray | None


class Precomputed(Explainer):
    """Maps made elsewhere, scored like those of a method.

    A map is brought to the picture of the classifier by linear interpolation along its own axes. Where it says nothing
    of high or low frequencies, more than one of its rows away, it is 0.

    Args:
        maps: arrays (frequencies, times) or (times,) by clip id; or an npz file with an array for each clip id, and
            perhaps `times` and `frequencies`; or a folder with one npz file for each clip (`map`, `times`,
            `frequencies`, `clip`), as `keep_maps` writes it, or one npy file, called after its clip.
        name: of the method, in results.
        times: centres of the columns in s, of all maps; not needed where files say it, or where maps have the columns
            of the classifier's picture.
        frequencies: of the rows in Hz, likewise.
        polarity: which part of the map counts: "positive", or "absolute" for its size. None: what the files say, else
            "positive".

    Raises:
        ExplanationError: the maps cannot be read, hold NaN, or do not fit their axes.
    """

    title = "Precomputed"
    reference = "maps made elsewhere"
    description = "maps that were made elsewhere"
    polarity = "positive"
    repeatable = False
    protocols = frozenset({"standard", "spectrogram", "legacy-speechbrain"})

    def __init__(
        self,
        maps: Mapping[str, Any] | str | Path,
        name: str,
        times: Any = None,
        frequencies: Any = None,
        polarity: Polarity | None = None,
    ) -> None:
        self.name = name
        given = {"times": times, "frequencies": frequencies}
        said: set[str] = set()
        if isinstance(maps, Mapping):
            arrays = {str(clip): {"map": value} for clip, value in maps.items()}
        else:
            arrays, said = _read(Path(maps))
        if not arrays:
            raise ExplanationError(f"{name}: there are no maps in what was given")
        self._maps = {clip: _map(f"{name}: the map of {clip}", one | _known(given)) for clip, one in arrays.items()}
        broken = [clip for clip, one in self._maps.items() if not np.isfinite(one.values).all()]
        if broken:
            raise ExplanationError(f"{name}: {len(broken)} maps hold NaN or infinite values: {_listed(broken)}")
        if polarity is None and len(said) > 1:
            raise ExplanationError(f"{name}: the files name several polarities; choose one with polarity=...")
        chosen: str = polarity or "".join(said) or "positive"
        if chosen not in get_args(Polarity):
            raise ExplanationError(f"{name}: polarity is {chosen!r}; choose {' or '.join(get_args(Polarity))}")
        self.polarity = chosen  # type: ignore[misc,assignment]  # of each object its own
        self.title = name  # type: ignore[misc]
        self.parameters = {"maps_sha256": _digest(self._maps)}

    def require(self, clips: Iterable[str]) -> None:
        """Refuse clips without a map.

        Raises:
            ExplanationError: names them, with the count.
        """
        clips = list(clips)
        missing = [clip for clip in clips if clip not in self._maps]
        if missing:
            raise ExplanationError(
                f"{self.name} has no map of {len(missing)} of the {len(clips)} clips: {_listed(missing)}; the maps are "
                f"of {_listed(list(self._maps))}"
            )

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        self.require(batch.clip_ids)
        domain, (_, columns) = classifier.domain, batch.picture_shape
        times = np.arange(columns) * (domain.hop_samples / domain.sample_rate)
        found = [
            _on_picture(f"{self.name}: the map of {clip}", self._maps[clip], domain.frequencies.numpy(), times)
            for clip in batch.clip_ids
        ]
        shape = self._maps[batch.clip_ids[0]].values.shape
        native = (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])
        return Explanation(torch.from_numpy(np.stack(found)).to(batch.x.device), native)


def map_path(folder: Path, clip: str) -> Path:
    """Return the file of a clip's map in a folder; ids that are no file names are quoted."""
    return folder / f"{quote(clip, safe=' @+=,')}.npz"


def write_map(folder: Path, clip: str, values: np.ndarray, **about: Any) -> None:
    """Write a map for others to read, in a way that `Precomputed` reads it back.

    Args:
        folder: made if missing.
        clip: id.
        values: float32 (freq, time).
        about: what else the file says, such as `frequencies` in Hz, `times` in s, `method` and `target`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, map=values, clip=clip, **about)
    write_atomically(map_path(folder, clip), buffer.getvalue())


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Read the arrays of a file or folder by clip; return the polarities that the files name, too."""
    found: dict[str, dict[str, Any]] = {}
    said: set[str] = set()
    files = sorted([*path.glob("*.npz"), *path.glob("*.npy")]) if path.is_dir() else [path]
    if path.is_dir() and not files:
        raise ExplanationError(f"{path} holds no npz or npy files; give the folder with one for each clip")
    for file in files:
        try:
            loaded = np.load(file, allow_pickle=False)
            content = {file.stem: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        except (OSError, ValueError, EOFError) as error:
            raise ExplanationError(f"{file} is no npz or npy file of plain arrays ({error})") from error
        if "map" in content:
            clip = str(content.get("clip", file.stem))
            said |= {str(content["polarity"])} if "polarity" in content else set()
            content = {clip: content["map"]} | {key: content[key] for key in _AXES if key in content}
        axes = {key: content.pop(key) for key in _AXES if key in content}
        for clip, values in content.items():
            if clip in found:
                raise ExplanationError(f"{path} holds two maps of {clip}; leave one")
            found[clip] = {"map": values} | axes
    return found, said


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}


def _map(what: str, arrays: Mapping[str, Any]) -> Map:
    """Check a map against its axes, and turn axes that fall."""
    values = arrays["map"]
    values = np.array(values.detach().cpu() if hasattr(values, "detach") else values, dtype=np.float32)
    if values.ndim not in (1, 2) or not values.size:
        raise ExplanationError(f"{what} has the shape {values.shape}; expected (frequencies, times) or (times,)")
    axes: dict[str, np.ndarray | None] = {}
    for place, key in ((values.ndim - 1, "times"), (0, "frequencies")):
        if arrays.get(key) is None or (key == "frequencies" and values.ndim == 1):
            axes[key] = None
            continue
        axis = np.asarray(arrays[key], dtype=np.float64)
        if axis.shape != (values.shape[place],):
            raise ExplanationError(
                f"{what} has the shape {values.shape} and {axis.size} {key}; expected (frequencies, times), so "
                "transpose it, or give the centres of its rows and columns"
            )
        if len(axis) > 1 and (np.diff(axis) < 0).all():
            axis, values = axis[::-1], np.flip(values, place)
        if not np.isfinite(axis).all() or not (np.diff(axis) > 0).all():
            raise ExplanationError(f"{what}: its {key} do not rise from one to the next; give their centres in order")
        axes[key] = axis
    return Map(np.ascontiguousarray(values), axes["frequencies"], axes["times"])


def _on_picture(what: str, one: Map, frequencies: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Bring a map to a picture, float32 (freq, time)."""
    values = one.values[None] if one.values.ndim == 1 else one.values
    if one.times is None and values.shape[1] != len(times):
        raise ExplanationError(
            f"{what} has {values.shape[1]} columns, and the picture {len(times)}; give their times in s (times=...)"
        )
    if one.times is not None and not np.array_equal(one.times, times):
        reach = max(_step(one.times), _step(times)) * (1 + 1e-6)
        if one.times[0] > times[0] + reach or one.times[-1] < times[-1] - reach:
            raise ExplanationError(
                f"{what} covers {one.times[0]:.3g} to {one.times[-1]:.3g} s of a clip of {times[-1]:.3g} s; make it of "
                "the whole clip"
            )
        values = _along(values, one.times, times, axis=1)
    if one.values.ndim == 1:
        return np.repeat(values, len(frequencies), axis=0)
    if one.frequencies is None and values.shape[0] != len(frequencies):
        raise ExplanationError(
            f"{what} has {values.shape[0]} rows, and the picture {len(frequencies)}; give their frequencies in Hz "
            "(frequencies=...)"
        )
    if one.frequencies is not None and not np.array_equal(one.frequencies, frequencies):
        rows = one.frequencies
        values = _along(values, rows, frequencies, axis=0)
        low, high = rows[0] - _step(rows[:2]), rows[-1] + _step(rows[-2:])
        values = np.where(((frequencies < low) | (frequencies > high))[:, None], 0.0, values)
    return np.ascontiguousarray(values, dtype=np.float32)


def _along(values: np.ndarray, old: np.ndarray, new: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; beyond its ends the last value holds."""
    if len(old) == 1:
        return np.repeat(values, len(new), axis=axis)
    at = np.interp(new, old, np.arange(len(old)))
    left = np.minimum(at.astype(int), len(old) - 2)
    share = np.expand_dims(at - left, 1 - axis)
    below, above = np.take(values, left, axis), np.take(values, left + 1, axis)
    return (1 - share) * below + share * above


def _step(axis: np.ndarray) -> float:
    return float(np.median(np.diff(axis))) if len(axis) > 1 else 0.0


def _digest(maps: Mapping[str, Map]) -> str:
    digest = hashlib.sha256()
    for clip, one in sorted(maps.items()):
        digest.update(clip.encode() + b"\0")
        for array in (one.values, one.frequencies, one.times):
            digest.update(b"none" if array is None else f"{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _listed(clips: list[str]) -> str:
    more = f" and {len(clips) - _NAMED} more" if len(clips) > _NAMED else ""
    return ", ".join(clips[:_NAMED]) + more
