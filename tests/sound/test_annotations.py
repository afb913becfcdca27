"""Event annotations of any dataset: tables and label tracks are read alike, and what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import xaibench as xb
from tests.support import small_folder
from xaibench.errors import DataError
from xaibench.sound.annotations import counted
from xaibench.sound.events import write_events
from xaibench.sound.synth import Synth, stems


def test_the_events_of_synth_are_where_its_events_sound() -> None:
    dataset = Synth()
    for clip in dataset.clips[:10:2]:
        (event,) = dataset.events(clip)
        assert event.label == dataset.classes[clip.label]
        (sounding,) = np.nonzero(stems(int(clip.id[-3:]), clip.label)[0])
        first, last = sounding[[0, -1]] / 16_000
        assert event.start <= first < last < event.end
        assert 0.8 <= event.end - event.start <= 2.5


def test_events_that_are_written_are_read_again(tmp_path: Path) -> None:
    dataset = xb.dataset("synth", limit=2)
    assert write_events(dataset, tmp_path / "events.csv") == 10
    again = xb.dataset("synth", events=tmp_path / "events.csv")
    for clip in dataset.clips:
        assert again.events(clip) == dataset.events(clip)
        assert np.array_equal(again.ground_truth(clip), dataset.ground_truth(clip))


def test_names_that_look_like_formulas_are_text_for_spreadsheets_and_read_as_they_were(tmp_path: Path) -> None:
    sound = tmp_path / "clips" / "=dog" / "-1.wav"
    sound.parent.mkdir(parents=True)
    soundfile.write(sound, 0.1 * np.sin(np.arange(16_000)), 8000)
    (tmp_path / "events.csv").write_text("file,start,end,label\n=dog/-1.wav,0.5,1,=dog\n")
    data = xb.audio_folder(tmp_path / "clips", events=tmp_path / "events.csv")
    write_events(data, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().splitlines()[1] == "'=dog/-1.wav,0.5,1.0,'=dog"
    again = xb.audio_folder(tmp_path / "clips", events=tmp_path / "again.csv")
    assert again.events(again.clips[0]) == data.events(data.clips[0])


def a_folder(tmp_path: Path) -> Path:
    """Clips of 5 s, dog/5.wav and pig/5.wav, one of 2 s, pig/two.wav, and two more."""
    for name, seconds in (("dog/5.wav", 5), ("pig/5.wav", 5), ("pig/two.wav", 2), ("pig/a.wav", 1), ("pig/b.wav", 1)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(seconds * 8000)), 8000)
    return tmp_path


def test_label_tracks_beside_the_clips_are_the_same_as_a_table(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "clips")
    (tmp_path / "events.csv").write_text(
        "label,file,end,start\nbark,dog/5.wav,2.5,1\nbark,dog/5.wav,0.5,0.25\noink,two.wav,2.03,1.75\nwind,two,1,0\n"
    )
    (folder / "dog" / "5.txt").write_text("1.000000\t2.500000\tbark\n\\\t200.0\t4000.0\n0.25\t0.5\tbark\n\n")
    (folder / "pig" / "two.txt").write_text("1.75\t2.03\toink\n0\t1\twind\n")
    data = [xb.audio_folder(folder, events=source) for source in (tmp_path / "events.csv", folder)]
    for one in data:
        events = {clip.filename: one.events(clip) for clip in one.clips}
        assert events["dog/5.wav"] == (
            xb.SoundEvent(0.25, 0.5, "bark"),
            xb.SoundEvent(1.0, 2.5, "bark"),
        )
        assert events["pig/two.wav"] == (xb.SoundEvent(0.0, 1.0, "wind"), xb.SoundEvent(1.75, 2.03, "oink"))
        assert events["pig/5.wav"] == ()
        assert (
            counted(one, one.clips)
            == "4 events in 2 of 5 clips; 4 of them are of no class of folder (bark, oink, wind)"
        )


def test_label_tracks_lie_beside_the_clips_of_any_layout(small_esc50: Path, tmp_path: Path) -> None:
    urban = small_folder.as_urbansound8k(small_esc50, tmp_path)
    (urban / "audio" / "fold1" / "1-1000-A-0.txt").write_text("1\t2\tdog\n")
    for source in (urban, urban / "audio"):
        data = xb.dataset("urbansound8k", urban, events=source)
        assert [clip.id for clip in data.clips if data.events(clip)] == ["1-1000-A-0"]


def test_a_class_map_translates_events(small_esc50: Path, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("file,start,end,label\n1-1000-A-0.wav,1,2,dog\n1-1000-A-0,3,4,cat\n")
    data = xb.dataset("esc50", small_esc50, class_map={"dog": "hound"}, events=tmp_path / "events.csv", limit=2)
    (clip,) = [clip for clip in data.clips if clip.id == "1-1000-A-0"]
    assert data.events(clip) == (xb.SoundEvent(1.0, 2.0, "hound"), xb.SoundEvent(3.0, 4.0, "cat"))


def test_times_count_from_the_start_of_the_file_and_with_an_id_from_that_of_the_clip(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "clips.csv").write_text("path,label,start,end,id\ndog/5.wav,a,0,2,x\ndog/5.wav,a,2,5,y\n")
    (folder / "events.csv").write_text("file,start,end,label\ndog/5.wav,1.5,3,a\ny,0,0.5,b\n")
    data = xb.audio_csv(folder / "clips.csv", events=folder / "events.csv")
    first, second = data.clips
    assert data.events(first) == (xb.SoundEvent(1.5, 2.0, "a"),)
    assert data.events(second) == (xb.SoundEvent(0.0, 0.5, "b"), xb.SoundEvent(0.0, 1.0, "a"))
    write_events(data, folder / "again.csv")
    again = xb.audio_csv(folder / "clips.csv", events=folder / "again.csv")
    assert [again.events(clip) for clip in data.clips] == [data.events(clip) for clip in data.clips]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,start,end,label\ntwo.wav,1,2.2,oink\n", "line 2: an event ends at 2.2 s, and two.wav lasts 2.00 s"),
        ("file,start,end,label\n\ntwo.wav,1.5,1,oink\n", "line 3: an event starts at 1.5 s and ends at 1 s; mend"),
        ("file,start,end,label\ntwo.wav,1,1,oink\n", "must end after its start"),
        ("file,start,end,label\nthree.wav,1,2,oink\n", "line 2: 'three.wav' is no clip of folder; leave it out, or"),
        ("file,start,end,label\n5.wav,1,2,oink\n", "5.wav may be dog/5.wav or pig/5.wav; write the whole path"),
        ("file,start,end,label\ntwo.wav,1,two,oink\n", "line 2: 'two' is no time in seconds"),
        ("file,start,end,label\ntwo.wav,1,2,\n", "line 2: the label is empty"),
        ("file,start,label\ntwo.wav,1,oink\n", "has no column end; it has file, start, label, expected"),
        ("file,start,end,label\n", "has a header but no events"),
    ],
)
def test_a_wrong_annotation_is_named_in_a_line(tmp_path: Path, text: str, words: str) -> None:
    folder = a_folder(tmp_path / "clips")
    (tmp_path / "events.csv").write_text(text)
    with pytest.raises(DataError) as raised:
        xb.audio_folder(folder, events=tmp_path / "events.csv")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_without_tracks_and_a_wrong_track_are_named(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    with pytest.raises(DataError, match="holds no label tracks"):
        xb.audio_folder(folder, events=folder)
    (folder / "pig" / "two.txt").write_text("1.0 2.0 oink\n")
    with pytest.raises(DataError, match="line 1: expected start, end and label with tabs"):
        xb.audio_folder(folder, events=folder)
    with pytest.raises(DataError, match="give --events a CSV or JAMS file"):
        xb.audio_folder(folder, events=folder / "missing.csv")


def test_sounds_in_memory_have_events(tmp_path: Path) -> None:
    sounds = [np.sin(np.arange(16_000 * 6) / 9), np.sin(np.arange(8_000) / 9)]
    data = xb.clips(sounds, 16_000, ["a", "b"], events=[[(5.5, 6.0, "a"), (1, 2, "b")], []])
    assert data.events(data.clips[0]) == (xb.SoundEvent(1.0, 2.0, "b"), xb.SoundEvent(5.5, 6.0, "a"))
    assert data.events(data.clips[1]) == ()
    with pytest.raises(DataError, match=r"clip-1: an event ends at 1 s, and clip-1 lasts 0.50 s"):
        xb.clips(sounds, 16_000, ["a", "b"], events=[[], [(0, 1, "a")]])
    with pytest.raises(DataError, match="2 waveforms and 1 events"):
        xb.clips(sounds, 16_000, ["a", "b"], events=[[]])
    bare = xb.clips(sounds, 16_000, ["a", "b"])
    assert not bare.has_events
    with pytest.raises(DataError, match="has no events"):
        bare.events(bare.clips[0])


def test_events_of_a_file_that_cannot_be_read_wait_for_who_hears_it(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "pig" / "two.wav").write_bytes(b"no sound at all")
    (folder / "events.csv").write_text("file,start,end,label\ntwo.wav,1,2,pig\n")
    data = xb.audio_folder(folder, events=folder / "events.csv")
    assert [clip.id for clip in data.clips if data.events(clip)] == ["two"]
