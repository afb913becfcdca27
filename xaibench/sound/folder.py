"""A folder with a folder for each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile

from xaibench.errors import DataError
from xaibench.sound import folds
from xaibench.sound.dataset import Clip
from xaibench.sound.files import AudioFiles

_HINT = "give --data-dir a folder with a folder for each class"


class AudioFolder(AudioFiles):
    """Clips in a folder whose folders are the classes; each file, any depth below, is a clip and a recording.

    Folds are drawn: five, of each class about the same share.

    Raises:
        DataError: it is no folder, or has no folders with sound files.
    """

    name = "folder"
    licence = "unknown (a folder of the user)"
    draws_folds = True

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; {_HINT}")
        found = sorted(_sound_files(self.folder))
        if not found:
            raise DataError(f"{self.folder} has no folders with sound files (wav, flac, ogg, mp3, ...); {_HINT}")
        self.classes = tuple(sorted({_class_of(name) for name in found}))
        ids = unique_ids(found)
        labels = [self.classes.index(_class_of(name)) for name in found]
        drawn = folds.assigned(ids, labels, ids)
        self.clips = tuple(Clip(*one) for one in zip(ids, drawn, labels, ids, found, strict=True))

    def path(self, clip: Clip) -> Path:
        return self.folder / clip.filename


def unique_ids(names: Sequence[str]) -> list[str]:
    """Name clips by the stems of their files; where stems collide, by relative paths, with the ending if they must."""
    paths = {name: Path(name).with_suffix("").as_posix() for name in names}
    stems, known = Counter(Path(name).stem for name in names), Counter(paths.values())

    def one(name: str) -> str:
        if stems[Path(name).stem] == 1:
            return Path(name).stem
        return paths[name] if known[paths[name]] == 1 else Path(name).as_posix()

    return [one(name) for name in names]


def _class_of(name: str) -> str:
    return Path(name).parts[0]


def _sound_files(folder: Path) -> Iterator[str]:
    """Relative paths of sound files below the folders of a folder; hidden ones are left out."""
    endings = {name.lower() for name in soundfile.available_formats()} - {"raw"} | {"aif", "oga", "opus"}
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if Path(place) == folder:
            continue
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower().lstrip(".") in endings:
                yield str((Path(place) / name).relative_to(folder))
