"""Sound to score: registered datasets by name, and clips in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xaibench import registry
from xaibench.errors import DataError
from xaibench.sound import audio, reading
from xaibench.sound.annotations import Annotated, require_within
from xaibench.sound.dataset import Clip, Dataset, SoundEvent
from xaibench.sound.findings import Finding
from xaibench.sound.reading import Decoded
from xaibench.sound.relabelled import Relabelled
from xaibench.sound.subset import Few


def dataset(
    name: str,
    folder: str | Path | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    class_map: Mapping[str, str] | None = None,
    events: str | Path | None = None,
) -> Dataset:
    """Open a dataset by name.

    Args:
        name: of a registered dataset, as `xaibench datasets` lists them.
        folder: where it lives, if it is read from a folder or a file.
        columns: what columns of a table are called, such as {"label": "species"}, if it is a table.
        class_map: other names of its classes, such as {"dog_bark": "dog"}: those that a classifier has for them.
        events: when sounds are heard in the clips: a CSV file with the columns file, start, end (in s) and label, a
            JAMS file, or a folder with JAMS files or label tracks of Audacity, one for each annotated clip. Labels are
            the dataset's.
        limit: at most so many clips of every fold, of all classes and many recordings (a fixed sample). None: all.

    Raises:
        RegistryError: the name is unknown.
        DataError: the dataset needs a folder and none is given, or needs none and one is given; likewise columns. An
            annotation is wrong, or is of no clip.
    """
    kind = registry.load("datasets", name)
    if columns and not kind.takes_columns:
        raise DataError(f"{name} is no table whose columns can be named; leave out --columns")
    if not kind.reads_folder:
        if folder is not None:
            raise DataError(f"{name} is generated and reads no folder; leave out --data-dir")
        found: Dataset = kind()
    elif folder is None:
        raise DataError(
            f"{name} needs --data-dir FOLDER (in Python, xaibench.dataset({name!r}, FOLDER)); 'xaibench data fetch "
            "esc50' downloads ESC-50 and ESC-10"
        )
    else:
        found = kind(Path(folder), columns) if columns else kind(Path(folder))
    if events is not None:
        found = Annotated(found, Path(events))
    if class_map:
        found = Relabelled(found, class_map)
    return found if limit is None else Few(found, limit)


def audio_folder(folder: str | Path, events: str | Path | None = None) -> Dataset:
    """Make a dataset of a folder with a folder for each class: each sound file in it, any depth below, is a clip.

    Each file is its own recording. Five folds are drawn, the same for the same files; fold 5 is scored unless others
    are asked for.

    Args:
        folder: with the folders.
        events: as in `dataset`.

    Raises:
        DataError: it is no folder, or has no folders with sound files.
    """
    return dataset("folder", folder, events=events)


def audio_csv(file: str | Path, columns: Mapping[str, str] | None = None, events: str | Path | None = None) -> Dataset:
    """Make a dataset of a CSV file with a row for each clip.

    Args:
        file: has columns for the path (path, file, filename or filepath; relative to the file) and the label (label,
            class or category; labels, with ; between, where several are true of a clip), and may have others: fold or
            split (numbers, or train, valid, test), group or recording (statistics resample these, and folds keep them
            together), start and end in s, id.
        columns: other names of columns, such as {"label": "species"}.
        events: as in `dataset`.

    Raises:
        DataError: a column is missing, a row is wrong, or a listed file is missing; names the line.
    """
    return dataset("csv", file, columns=columns, events=events)


def clips(
    waveforms: Sequence[Any],
    rate: int,
    labels: Sequence[int | str | Sequence[int | str]],
    classes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    name: str = "clips",
    events: Sequence[Sequence[tuple[float, float, str]]] | None = None,
) -> Dataset:
    """Make a dataset of sounds in memory.

    A sound is mixed to mono, resampled to the classifier's rate, and cut or padded with zeros at its end to the
    classifier's length, if it has one. A sound that is silent or otherwise odd is named when it is scored.

    Args:
        waveforms: arrays or tensors (samples,) or (samples, channels), each of its own length, in [-1, 1].
        rate: their sample rate in Hz.
        labels: a class for each: its name, or its place in `classes`; a list of classes where several are true of one.
        classes: names of the classes. None: the names in `labels`, sorted.
        groups: for each, the recording from which it was cut: statistics resample recordings. None: each its own.
        ids: for each, a name of its own; by default "clip-0", "clip-1", ...
        name: of the dataset, in the results.
        events: for each, what is heard when: (start, end, label), in s from its start. None: nobody knows.

    Raises:
        DataError: the arguments do not fit together.
        AudioError: samples that are no sound: NaN, infinite, or none at all.
    """
    return Clips(waveforms, rate, labels, classes, groups, ids, name, events)


def one_file(path: Path) -> tuple[Dataset, tuple[Finding, ...]]:
    """Read one sound file as a dataset of one clip, and tell what is odd about it.

    Raises:
        AudioError: the file is missing, unreadable, or not audio.
    """
    with reading.opened(path) as file:
        decoded = reading.decode(file, str(path))
    return clips([decoded.samples], decoded.rate, ["sound"], ids=[path.stem]), decoded.findings()


class Clips(Dataset):
    """Sounds in memory; the arguments are those of `clips`."""

    licence = "unknown"

    def __init__(
        self,
        waveforms: Sequence[Any],
        rate: int,
        labels: Sequence[int | str | Sequence[int | str]],
        classes: Sequence[str] | None,
        groups: Sequence[str] | None,
        ids: Sequence[str] | None,
        name: str,
        events: Sequence[Sequence[tuple[float, float, str]]] | None,
    ) -> None:
        count = len(waveforms)
        for what, values in (("labels", labels), ("groups", groups), ("ids", ids), ("events", events)):
            if values is not None and len(values) != count:
                raise DataError(
                    f"there are {count} waveforms and {len(values)} {what}; give one of each for every clip"
                )
        if not count:
            raise DataError("there are no waveforms; give at least one")
        self.name = name
        several = [_as_list(one) for one in labels]
        self.classes = tuple(classes if classes is not None else sorted({str(one) for each in several for one in each}))
        ids = [f"clip-{i}" for i in range(count)] if ids is None else list(map(str, ids))
        if len(set(ids)) < count:
            raise DataError("two clips have the same id; give every clip its own")
        self._sounds = {one: _sound(one, waveform, rate) for one, waveform in zip(ids, waveforms, strict=True)}
        self.has_events = events is not None
        self._events = {
            one: self._checked(one, of_clip) for one, of_clip in zip(ids, events or [()] * count, strict=True)
        }
        places = [list(dict.fromkeys(self._place(one, classes is not None) for one in each)) for each in several]
        if not all(places):
            raise DataError(f"{ids[places.index([])]} has no label; give every clip one, or several")
        recordings = ids if groups is None else list(map(str, groups))
        self.clips = tuple(
            Clip(one, 1, label, recording, others=tuple(others))
            for one, (label, *others), recording in zip(ids, places, recordings, strict=True)
        )

    def waveform(self, clip: Clip) -> np.ndarray:
        return np.clip(self.unlimited_waveform(clip), -1.0, 1.0)

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        sound = self._sounds[clip.id]
        return audio.to_clip(sound.samples, sound.rate)

    def length(self, clip: Clip) -> float:
        return self._sounds[clip.id].seconds

    def waveform_at(
        self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = audio.CUT
    ) -> np.ndarray:
        """Return one clip as a classifier hears it, resampled once: from its own rate."""
        sound = self._sounds[clip.id]
        found = np.clip(audio.to_clip(sound.samples, sound.rate, sample_rate), -1.0, 1.0)
        return found if samples is None else audio.of_length(found, samples, long)

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return self._sounds[clip.id].findings()

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        return self._events[clip.id] if self.has_events else super().events(clip)

    def _checked(self, clip_id: str, events: Sequence[tuple[float, float, str]]) -> tuple[SoundEvent, ...]:
        found = tuple(sorted(SoundEvent(float(start), float(end), str(label)) for start, end, label in events))
        for event in found:
            require_within(event, self._sounds[clip_id].seconds, clip_id, clip_id)
        return found

    def _place(self, label: int | str, named: bool) -> int:
        if isinstance(label, str) or not named:
            if str(label) not in self.classes:
                raise DataError(f"the label {label!r} is none of the classes; there are {', '.join(self.classes)}")
            return self.classes.index(str(label))
        if not 0 <= int(label) < len(self.classes):
            raise DataError(f"the label {label} is no place in the {len(self.classes)} classes")
        return int(label)


def _as_list(label: Any) -> list[Any]:
    return list(label) if isinstance(label, list | tuple) else [label]


def _sound(clip_id: str, waveform: Any, rate: int) -> Decoded:
    """Take over the samples of one sound as they are."""
    if hasattr(waveform, "detach"):
        waveform = waveform.detach().cpu().numpy()
    kind = np.asarray(waveform).dtype
    if kind.kind in "iub":
        scale = f"divide by {2 ** (8 * kind.itemsize - 1)}" if kind.kind == "i" else "shift and scale them"
        raise DataError(f"{clip_id} has samples of {kind}; expected floats from -1 to 1: {scale}")
    samples = np.array(waveform, dtype=np.float32)
    samples = samples[:, None] if samples.ndim == 1 else samples
    if samples.ndim != 2 or samples.shape[1] > samples.shape[0]:
        raise DataError(f"{clip_id} has the shape {np.shape(waveform)}; expected (samples,) or (samples, channels)")
    if rate not in reading.RATES:
        raise DataError(f"the rate is {rate}; expected a whole number of Hz from {reading.RATES[0]}")
    return reading.checked(clip_id, samples, int(rate), len(samples) / rate, truncated=False)
