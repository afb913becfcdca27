"""Event annotations of any dataset, read from a CSV file, Audacity's label tracks or JAMS files."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from xaibench.errors import AudioError, DataError
from xaibench.sound import reading
from xaibench.sound.dataset import Clip, Dataset, SoundEvent
from xaibench.sound.derived import Derived
from xaibench.sound.events import COLUMNS
from xaibench.sound.files import AudioFiles
from xaibench.sound.jams_files import ENDING, read_jams
from xaibench.sound.table import read_table, seconds
from xaibench.storage.spreadsheet import original

# Those who annotate round times, and read them off a screen.
BEYOND_SECONDS = 0.05


@dataclass(frozen=True)
class Annotation:
    """One line of an annotation.

    Attributes:
        place: file and line, for errors.
        clip: the clip as it is named there.
        event: with times from the start of the file.
        beside: the path of a file that may lie beside the clip, without its ending; "" of a table.
    """

    place: str
    clip: str
    event: SoundEvent
    beside: str = ""


class Annotated(Derived):
    """The same clips, of which events are known; a clip that is not annotated has none.

    Args:
        dataset: the clips.
        source: a CSV file with the columns file, start, end (in s) and label, a JAMS file, or a folder with one JAMS
            file or one label track of Audacity for each annotated clip, such as dog.txt for dog.wav. A clip is called
            by its file (the path in the dataset, the name or the stem of it; times count from the start of the file) or
            by its id (times count from the start of the clip).

    Raises:
        DataError: the source cannot be read; a line of it is wrong, names no clip, or ends after the sound does.
    """

    has_events = True

    def __init__(self, dataset: Dataset, source: Path) -> None:
        super().__init__(dataset)
        names = _Names(dataset)
        annotations = _read(source, names)
        lengths: dict[str, float] = {}
        found: defaultdict[str, list[SoundEvent]] = defaultdict(list)
        for one in annotations:
            clips = names.of(one)
            first, event = clips[0], one.event
            name = first.filename or first.id
            if name not in lengths:
                lengths[name] = _length(dataset, first)
            require_within(event, lengths[name], one.clip, one.place)
            for clip in clips:
                start, end = (0.0, None) if one.clip == clip.id else dataset.section(clip)
                own = SoundEvent(max(event.start, start) - start, _least(event.end, end) - start, event.label)
                if own.end > own.start:
                    found[clip.id].append(own)
        self._events = {clip_id: tuple(sorted(events)) for clip_id, events in found.items()}

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        return self._events.get(clip.id, ())


def require_within(event: SoundEvent, lasts: float, clip: str, place: str) -> None:
    """Refuse an event that does not last, or that a clip of so many seconds cannot have; a little beyond is rounding.

    Raises:
        DataError: the error begins with `place`.
    """
    if not 0 <= event.start < event.end:
        raise DataError(
            f"{place}: an event starts at {event.start:g} s and ends at {event.end:g} s; mend the times: it must end "
            "after its start"
        )
    if event.end > lasts + BEYOND_SECONDS:
        raise DataError(
            f"{place}: an event ends at {event.end:g} s, and {clip} lasts {lasts:.2f} s; mend the times, or the name"
        )


def counted(dataset: Dataset, clips: Sequence[Clip]) -> str:
    """Say in a line how many events the clips have, and how many of these are of no class of the dataset."""
    events = [dataset.events(clip) for clip in clips]
    count = sum(map(len, events))
    sentence = f"{count} events in {sum(map(bool, events))} of {len(clips)} clips"
    others = Counter(event.label for of_clip in events for event in of_clip if event.label not in dataset.classes)
    if others:
        few = ", ".join(sorted(others)[:3]) + ", ..." * (len(others) > 3)
        sentence += f"; {others.total()} of them are of no class of {dataset.name} ({few})"
    return sentence


class _Names:
    """What the clips of a dataset may be called."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset.name
        # In the order in which they are looked up.
        self._kinds: tuple[defaultdict[str, list[Clip]], ...] = tuple(defaultdict(list) for _ in range(5))
        self._beside: defaultdict[str, list[Clip]] = defaultdict(list)
        for clip in dataset.clips:
            path = PurePosixPath(clip.filename)
            names = (str(path), str(path.with_suffix("")), path.name, path.stem) if clip.filename else ("",) * 4
            for kind, name in zip(self._kinds, (*names, clip.id), strict=True):
                kind[name].append(clip)
            if isinstance(dataset, AudioFiles):
                self._beside[str(dataset.path(clip).absolute().with_suffix(""))].append(clip)

    def of(self, one: Annotation) -> list[Clip]:
        """Return the clips of an annotated file.

        Raises:
            DataError: there are none, or they are of several files.
        """
        for clips in self._found(one):
            files = sorted({clip.filename for clip in clips})
            if len(files) > 1:
                raise DataError(f"{one.place}: {one.clip} may be {files[0]} or {files[1]}; write the whole path")
            if clips:
                return clips
        raise DataError(
            f"{one.place}: {one.clip!r} is no clip of {self._dataset}; leave it out, or write the name of its file as "
            "the dataset does"
        )

    def knows(self, one: Annotation) -> bool:
        """Tell whether a clip may be called so."""
        return any(self._found(one))

    def _found(self, one: Annotation) -> Iterator[list[Clip]]:
        name = str(PurePosixPath(one.clip))
        yield self._beside.get(one.beside, [])
        yield from (kind.get(name, []) for kind in self._kinds)


def _read(source: Path, names: _Names) -> list[Annotation]:
    if not source.is_dir():
        return _of_jams([source], source.parent, names) if source.suffix == ENDING else _of_table(source)
    jams, tracks = (sorted(source.rglob(f"*{ending}")) for ending in (ENDING, ".txt"))
    if jams and tracks:
        raise DataError(f"{source} holds JAMS files and label tracks (.txt); give a folder with one kind of them")
    if not jams and not tracks:
        raise DataError(
            f"{source} holds no label tracks (.txt) and no JAMS files; export some beside the clips, or give a CSV file"
        )
    return _of_jams(jams, source, names) if jams else _of_tracks(tracks, source)


def _of_jams(files: Sequence[Path], folder: Path, names: _Names) -> list[Annotation]:
    """Read JAMS files; each is about the first clip that it names, or of which it has the name itself."""
    found = []
    for file in files:
        read = read_jams(file)
        stem = file.relative_to(folder).with_suffix("").as_posix()
        for place, event in read.events:
            if not event.label:
                raise DataError(f"{place}: the label is empty")
            called = [Annotation(place, name, event) for name in read.clips]
            called.append(Annotation(place, stem, event, str(file.absolute().with_suffix(""))))
            found.append(next((one for one in called if names.knows(one)), called[-1]))
    return found


def _of_table(file: Path) -> list[Annotation]:
    table = read_table(file, "give --events a CSV or JAMS file, or a folder with label tracks", "event")
    for column in COLUMNS:
        if column not in table.columns:
            raise DataError(
                f"{file} has no column {column}; it has {', '.join(map(str, table.columns))}, expected "
                f"{','.join(COLUMNS)}"
            )
    columns = [[original(str(value).strip()) for value in table[column]] for column in COLUMNS]
    lines = zip(table.index + 2, *columns, strict=True)
    return [_annotation(f"{file}, line {line}", *values) for line, *values in lines]


def _of_tracks(tracks: Sequence[Path], folder: Path) -> list[Annotation]:
    """Read label tracks: a label a line, as start, end and label with tabs between."""
    found = []
    for track in tracks:
        clip = track.relative_to(folder).with_suffix("").as_posix()
        try:
            lines = track.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{track} cannot be read as a label track ({error})") from error
        for number, line in enumerate(lines, 1):
            # A line with a backslash says which frequencies the label above was drawn at.
            if not line.strip() or line.startswith("\\"):
                continue
            place, fields = f"{track}, line {number}", line.split("\t")
            if len(fields) != 3:
                raise DataError(f"{place}: expected start, end and label with tabs between, as Audacity exports labels")
            one = _annotation(place, clip, *(field.strip() for field in fields))
            found.append(replace(one, beside=str(track.absolute().with_suffix(""))))
    return found


def _annotation(place: str, clip: str, start: str, end: str, label: str) -> Annotation:
    for what, text in zip(COLUMNS, (clip, start, end, label), strict=True):
        if not text:
            raise DataError(f"{place}: the {what} is empty")
    return Annotation(place, clip, SoundEvent(seconds(start, place), seconds(end, place), label))


def _length(dataset: Dataset, clip: Clip) -> float:
    """Length of the file of a clip in s, or of the clip where it is none."""
    if not isinstance(dataset, AudioFiles):
        return dataset.length(clip)
    path = dataset.path(clip)
    try:
        with reading.opened(path) as file:
            return reading.length_and_rate(file, str(path))[0]
    except AudioError:
        return math.inf  # who needs the sound says that it cannot be read


def _least(end: float, other: float | None) -> float:
    return end if other is None else min(end, other)
