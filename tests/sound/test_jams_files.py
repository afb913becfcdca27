"""JAMS files are read as tables are, whatever they call their clip; what is wrong is said in one line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import xaibench as xb
from xaibench.errors import DataError

BARK, OINK = xb.SoundEvent(0.5, 1.25, "bark"), xb.SoundEvent(1.0, 1.5, "oink")


def a_folder(folder: Path) -> Path:
    """Clips of 2 s: dog/one.wav, dog/two.wav and pig/one.wav."""
    for name in ("dog/one.wav", "dog/two.wav", "pig/one.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, 0.1 * np.sin(np.arange(16_000)), 8000)
    return folder


def write(
    file: Path,
    annotations: Mapping[str, list[tuple[float, float, Any]]],
    title: str = "",
    identifiers: Mapping[str, str] | None = None,
) -> Path:
    """A JAMS file with (time, duration, value) in each namespace."""
    import jams

    made = jams.JAMS()
    made.file_metadata.duration = 2.0
    made.file_metadata.title = title
    made.file_metadata.identifiers = dict(identifiers or {})
    for namespace, events in annotations.items():
        one = jams.Annotation(namespace=namespace)
        for time, duration, value in events:
            one.append(time=time, duration=duration, value=value, confidence=None)
        made.annotations.append(one)
    file.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(file), strict=False)
    return file


def scaper(label: str) -> dict[str, Any]:
    return {
        "label": label,
        "source_file": "",
        "source_time": 0.0,
        "event_time": 1.0,
        "event_duration": 0.5,
        "snr": 0.0,
        "time_stretch": None,
        "pitch_shift": None,
        "role": "foreground",
    }


def test_a_jams_file_is_about_the_clip_that_it_names_or_lies_beside(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "clips")
    labels = {"tag_open": [(0.5, 0.75, "bark")], "scaper": [(1.0, 0.5, scaper("oink"))], "beat": [(0.1, 0.0, 1)]}
    write(tmp_path / "named" / "a.jams", labels, identifiers={"url": "elsewhere", "file": "pig/one.wav"})
    write(tmp_path / "named" / "b.jams", labels, title="two")
    named = xb.audio_folder(folder, events=tmp_path / "named")
    events = {clip.filename: named.events(clip) for clip in named.clips}
    assert events == {"dog/one.wav": (), "dog/two.wav": (BARK, OINK), "pig/one.wav": (BARK, OINK)}
    alone = xb.audio_folder(folder, events=write(tmp_path / "two.jams", labels, title="A dog"))
    assert [clip.filename for clip in alone.clips if alone.events(clip)] == ["dog/two.wav"]
    write(folder / "dog" / "one.jams", {"segment_open": [(0.5, 0.75, "bark")]})
    for where in (folder, folder / "dog"):
        beside = xb.audio_folder(folder, events=where)
        assert [clip.filename for clip in beside.clips if beside.events(clip)] == ["dog/one.wav"]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        (
            {"tag_open": [(0.5, 1.0, "oink"), (1, 1.2, "bark")]},
            "tag_open 2: an event ends at 2.2 s, and two lasts 2.00 s",
        ),
        ({"tag_open": [(1.0, 0.0, "bark")]}, "tag_open 1: an event starts at 1 s and ends at 1 s; mend the times"),
        ({"segment_open": [(1.0, 0.5, " ")]}, "segment_open 1: the label is empty"),
        ({"beat": [(1.0, 0.0, 1)]}, "has no annotations of a namespace with labels (tag_open, segment_open, scaper"),
    ],
)
def test_a_wrong_jams_file_is_named_in_a_line(tmp_path: Path, annotations: dict[str, Any], words: str) -> None:
    file = write(tmp_path / "two.jams", annotations)
    with pytest.raises(DataError) as raised:
        xb.audio_folder(a_folder(tmp_path / "clips"), events=file)
    assert words in str(raised.value) and str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_cannot_be_read_as_jams_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_folder(tmp_path / "clips")
    file = write(tmp_path / "three.jams", {"tag_open": [(0.5, 1.0, "oink")]}, title="nobody's")
    with pytest.raises(DataError, match=r"three.jams, tag_open 1: 'three' is no clip of folder"):
        xb.audio_folder(folder, events=file)
    (tmp_path / "three.txt").write_text("0\t1\toink\n")
    with pytest.raises(DataError, match=r"holds JAMS files and label tracks \(.txt\); give a folder with one kind"):
        xb.audio_folder(folder, events=tmp_path)
    file.write_text("[1, 2")
    with pytest.raises(DataError, match=r"three.jams cannot be read as a JAMS file \(") as raised:
        xb.audio_folder(folder, events=file)
    assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "jams", None)
    with pytest.raises(DataError, match=r'install the library jams: pip install "xaibench\[jams\]"'):
        xb.audio_folder(folder, events=file)
