"""Clips in folders and tables: the same sound as in the official layout, folds by recording, errors with lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

import xaibench as xb
from tests.support import small_folder
from xaibench.errors import AudioError, DataError
from xaibench.sound import checking, folds
from xaibench.sound.dataset import OFFICIAL, Clip, Split
from xaibench.sound.esc50 import Esc50
from xaibench.sound.folder import AudioFolder, unique_ids
from xaibench.sound.table import AudioTable
from xaibench.sound.urbansound8k import UrbanSound8K


def a_table(folder: Path, text: str) -> Path:
    """A CSV file beside two sounds, a.wav of 2 s and b.wav of 7 s."""
    for name, seconds, pitch in (("a.wav", 2, 300), ("b.wav", 7, 500)):
        tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(seconds * 8000) / 8000)
        soundfile.write(folder / name, tone * np.linspace(0.1, 1, len(tone)), 8000)
    (folder / "clips.csv").write_text(text)
    return folder / "clips.csv"


def test_the_same_clips_are_the_same_in_every_layout(small_esc50: Path, tmp_path: Path) -> None:
    official = Esc50(small_esc50)
    others = [
        AudioFolder(small_folder.as_folder(small_esc50, tmp_path / "folder")),
        AudioTable(small_folder.as_table(small_esc50, tmp_path / "clips.csv")),
        UrbanSound8K(small_folder.as_urbansound8k(small_esc50, tmp_path / "urban")),
    ]
    for other in others:
        assert other.classes == ("dog", "pig")
        by_id = {clip.id: clip for clip in other.clips}
        assert set(by_id) == {clip.id for clip in official.clips}
        for clip in official.clips:
            same = by_id[clip.id]
            assert other.classes[same.label] == official.classes[clip.label]
            assert np.array_equal(other.waveform(same), official.waveform(clip))
            assert np.array_equal(other.waveform_at(same, 8000), official.waveform_at(clip, 8000))
    table = others[1]
    assert [(c.id, c.fold, c.src_file) for c in table.clips] == [(c.id, c.fold, c.src_file) for c in official.clips]
    assert table.split == OFFICIAL
    urban = others[2]
    assert {clip.fold for clip in urban.clips} == {1, 2, 3, 4, 5}  # five clips a class
    assert [clip.src_file for clip in urban.clips] == [clip.src_file for clip in official.clips]


def test_drawn_folds_keep_recordings_together_and_classes_apart_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{i // 3}" for i in range(300)]
    labels = [int(group[1:]) % 4 for group in groups]
    ids = [f"clip-{i:03}" for i in range(300)]
    drawn = folds.assigned(ids, labels, groups)
    assert set(drawn) == {1, 2, 3, 4, 5}
    of_group: dict[str, set[int]] = {}
    for group, fold in zip(groups, drawn, strict=True):
        of_group.setdefault(group, set()).add(fold)
    assert all(len(found) == 1 for found in of_group.values())
    for label in range(4):
        counts = Counter(fold for fold, one in zip(drawn, labels, strict=True) if one == label)
        assert max(counts.values()) - min(counts.values()) <= 6, "75 clips a class: 15 a fold, in steps of three"
    order = rng.permutation(300)
    shuffled = folds.assigned([ids[i] for i in order], [labels[i] for i in order], [groups[i] for i in order])
    assert shuffled == [drawn[i] for i in order]
    assert folds.assigned(ids, labels, groups, seed=1) != drawn


@pytest.mark.parametrize(
    ("present", "scored", "split"),
    [
        ([1, 2, 3, 4, 5], (5,), OFFICIAL),
        (list(range(1, 11)), (10,), Split(tuple(range(1, 9)), (9,), (10,))),
        ([1, 2, 3], (3,), Split((1,), (2,), (3,))),
        ([4, 5], (5,), None),
        ([1], (1,), None),
        ([1, 2], (1, 2), None),
    ],
)
def test_a_dataset_says_which_folds_are_for_what(
    present: list[int], scored: tuple[int, ...], split: Split | None
) -> None:
    data = xb.clips([np.ones(8000)], 8000, ["a"])
    data.clips = tuple(Clip(f"c{fold}", fold, 0, f"g{fold}") for fold in present)
    assert data.test_folds == scored
    if split is None:
        with pytest.raises(DataError, match="give its clips three folds or more"):
            _ = data.split
    else:
        assert data.split == split


def test_words_are_folds(tmp_path: Path) -> None:
    table = AudioTable(a_table(tmp_path, "file,class,split\na.wav,x,train\nb.wav,y,test\n"))
    assert [clip.fold for clip in table.clips] == [1, 3]


def test_columns_have_the_names_that_one_gives_them(tmp_path: Path) -> None:
    text = "label,species,path,part\n1,owl,a.wav,2\n2,cat,b.wav,1\n"
    table = xb.audio_csv(a_table(tmp_path, text), {"label": "species", "fold": "part"})
    assert table.classes == ("cat", "owl")
    assert [(clip.label, clip.fold) for clip in table.clips] == [(1, 2), (0, 1)]


def test_clips_are_cut_where_the_table_says(tmp_path: Path) -> None:
    text = "path,label,start,end\nb.wav,x,0,3\nb.wav,x,3,6.5\nb.wav,y,6.5,\na.wav,y,,\n"
    table = AudioTable(a_table(tmp_path, text))
    assert [clip.id for clip in table.clips] == ["b@0-3", "b@3-6.5", "b@6.5-", "a"]
    assert len({clip.src_file for clip in table.clips}) == 2, "one file is one recording"
    whole, _ = soundfile.read(tmp_path / "b.wav", dtype="float32")
    for clip, (start, end) in zip(table.clips, [(0, 3), (3, 6.5), (6.5, 7)], strict=False):
        soundfile.write(tmp_path / "cut.wav", whole[round(start * 8000) : round(end * 8000)], 8000)
        cut = AudioTable(a_table(tmp_path, "path,label\ncut.wav,x\n"))
        assert np.array_equal(table.waveform(clip), cut.waveform(cut.clips[0]))
        assert [one.kind for one in table.findings(clip)] == [one.kind for one in cut.findings(cut.clips[0])]


def test_files_of_one_name_are_told_apart() -> None:
    assert unique_ids(["a/x.wav", "b/x.wav", "b/y.wav", "c/z.wav", "c/z.ogg"]) == [
        "a/x",
        "b/x",
        "y",
        "c/z.wav",
        "c/z.ogg",
    ]


def test_folders_hold_clips_at_any_depth_and_nothing_hidden(small_esc50: Path, tmp_path: Path) -> None:
    folder = small_folder.as_folder(small_esc50, tmp_path / "folder")
    first = next((folder / "dog").iterdir())
    for place in ("dog/deep/er", "pig/.hidden"):
        (folder / place).mkdir(parents=True)
        (folder / place / "extra.wav").write_bytes(first.read_bytes())
    (folder / "notes.wav").write_bytes(first.read_bytes())  # beside the classes, in none
    (folder / "dog" / "notes.txt").write_text("no sound")
    found = xb.audio_folder(folder)
    assert len(found.clips) == 11
    assert [clip.label for clip in found.clips if clip.id == "extra"] == [found.classes.index("dog")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("path,label\n", "has a header but no clips"),
        (
            "path,species\na.wav,x\n",
            r"has no column named label or class or category; it has path, species; .*--columns la",
        ),
        ("path,label\nnone.wav,x\n", r"none\.wav is missing; .*clips\.csv lists it"),
        ("path,label\na.wav,\n", r"line 2: the label is empty"),
        (
            "path,label\na.wav,x\na.wav,y\n",
            r"line 3: the clip 'a' stands in line 2, too; a clip has one row and one label",
        ),
        (
            "path,label,fold\na.wav,x,1\n\nb.wav,x,first\n",
            r"line 4: the fold 'first' is neither a whole number from 1 nor",
        ),
        ("path,label,start,end\na.wav,x,2,1\n", r"line 2: the end, 1 s, is not after the start, 2 s"),
        ("path,label,start\na.wav,x,soon\n", r"line 2: 'soon' is no time in seconds"),
        ("path,label\na.wav,x,y\n", "more fields than its first line"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        AudioTable(a_table(tmp_path, text))


@pytest.mark.parametrize("section", ["0,2.5", "2.5,"])
def test_a_section_beyond_the_file_is_named(tmp_path: Path, section: str) -> None:
    table = AudioTable(a_table(tmp_path, f"path,label,start,end\na.wav,x,{section}\n"))
    with pytest.raises(
        AudioError, match=r"a\.wav: lasts 2\.00 s, but its clip is said to be from .*; mend start and end"
    ):
        table.waveform(table.clips[0])


def test_other_names_of_columns_are_checked(tmp_path: Path, small_esc50: Path) -> None:
    file = a_table(tmp_path, "path,label\na.wav,x\n")
    with pytest.raises(DataError, match=r"has no column 'species'; it has path, label"):
        xb.audio_csv(file, {"label": "species"})
    with pytest.raises(DataError, match="there is no 'colour' to look for in a table; there are path, label"):
        xb.audio_csv(file, {"colour": "label"})
    with pytest.raises(DataError, match="esc50 is no table whose columns can be named"):
        xb.dataset("esc50", small_esc50, columns={"label": "category"})


def test_what_is_no_folder_of_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder; give --data-dir a folder with a folder for each class"):
        xb.audio_folder(tmp_path / "none")
    with pytest.raises(DataError, match="has no folders with sound files"):
        xb.audio_folder(tmp_path)
    with pytest.raises(DataError, match=r"is a folder; give --data-dir the CSV file"):
        xb.audio_csv(tmp_path)
    with pytest.raises(DataError, match=r"UrbanSound8K\.csv is missing; .* is not in UrbanSound8K's layout"):
        xb.dataset("urbansound8k", tmp_path)


def test_recordings_in_several_folds_are_said() -> None:
    clips = [Clip("a", 1, 0, "g"), Clip("b", 2, 0, "g"), Clip("c", 2, 0, "h")]
    assert folds.spanning_groups(clips) == (
        "1 recording is in several folds, such as g in 1 and 2: what is learned on it is tested on it; "
        "give all clips of a recording one fold"
    )
    assert folds.spanning_groups(clips[1:]) == ""


def test_a_check_counts_and_finds_what_is_there_twice(tmp_path: Path) -> None:
    text = "path,label,fold,group\na.wav,x,1,g\nb.wav,y,2,g\ncopy.wav,x,2,h\nquiet.wav,x,1,i\nnoise.wav,y,1,j\n"
    file = a_table(tmp_path, text)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    soundfile.write(tmp_path / "quiet.wav", np.zeros(40_000), 8000)
    (tmp_path / "noise.wav").write_bytes(b"not a sound")
    seen: list[tuple[int, int]] = []
    found = checking.check(AudioTable(file), lambda *done: seen.append(done))
    assert seen == [(i, 5) for i in range(1, 6)]
    assert len(found.problems) == 2
    assert "noise.wav: not audio" in found.problems[0]
    assert found.problems[1] == "a and copy are one sound, in several folds"
    assert any(sentence.startswith("1 of 4 clips") and "silent" in sentence for sentence in found.odd)
    assert found.notes == [
        "1 recording is in several folds, such as g in 1 and 2: what is learned on it is tested on it; "
        "give all clips of a recording one fold"
    ]
    assert found.lines() == [
        "5 clips of 4 recordings",
        "2 classes, 2 to 3 clips each",
        "folds 1: 3, 2: 2",
        "lengths 2.00 to 7.00 s, median 3.50 s",
        "sample rates 8000 Hz: 4",
    ]
