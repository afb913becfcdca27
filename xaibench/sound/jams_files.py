"""Read JAMS files, whose annotations say from when to when something is heard.

Humphrey et al., "JAMS: A JSON Annotated Music Specification for Reproducible MIR Research", ISMIR 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xaibench.errors import DataError
from xaibench.sound.dataset import SoundEvent

ENDING = ".jams"
# Namespaces whose values are names of what is heard; others hold beats, pitches, lyrics and the like.
NAMESPACES = ("tag_", "segment_", "multi_segment", "scaper")


@dataclass(frozen=True)
class JamsFile:
    """What a JAMS file says.

    Attributes:
        clips: what the file it is about may be called, from the best.
        events: with their places, for errors; times count from the start of that file.
    """

    clips: tuple[str, ...]
    events: tuple[tuple[str, SoundEvent], ...]


def read_jams(file: Path) -> JamsFile:
    """Read the labelled events of a JAMS file.

    Raises:
        DataError: the library is missing, the file cannot be read, or nothing in it has labels.
    """
    try:
        import jams
    except ImportError as error:
        raise DataError(f'to read {file}, install the library jams: pip install "xaibench[jams]"') from error
    try:
        read = jams.load(str(file))
    # It raises whatever a file that is none leads to.
    except Exception as error:
        raise DataError(f"{file} cannot be read as a JAMS file ({_first_line(error)})") from error
    named = [one for one in read.annotations if one.namespace.startswith(NAMESPACES)]
    if not named:
        raise DataError(
            f"{file} has no annotations of a namespace with labels (tag_open, segment_open, scaper, ...); leave it out"
        )
    identifiers = [str(value) for value in dict(read.file_metadata.identifiers.__json__).values() if value]
    title = [read.file_metadata.title] if read.file_metadata.title else []
    events = [
        (
            f"{file}, {one.namespace} {number}",
            SoundEvent(float(event.time), float(event.time + event.duration), _label(event.value)),
        )
        for one in named
        for number, event in enumerate(one.data, 1)
    ]
    return JamsFile((*identifiers, *title), tuple(events))


def _label(value: Any) -> str:
    """Return the name in a value, which scaper and nested segments hold with other things."""
    name = value.get("label", "") if isinstance(value, Mapping) else value
    return str(name).strip()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
