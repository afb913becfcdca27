"""ESC-50 and ESC-10 from a folder: the real clips, and folders that are wrong in every way."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from xaibench import registry
from xaibench.errors import AudioError, DataError
from xaibench.sound import files
from xaibench.sound.dataset import TEST_FOLDS, TRAIN_FOLDS, VALIDATION_FOLDS
from xaibench.sound.esc50 import Esc10, Esc50
from xaibench.storage import user_folders

# The ten classes in the order of their targets in ESC-50 (0, 1, 10, 11, 12, 20, 21, 38, 40, 41).
ESC10_CLASSES = (
    "dog",
    "rooster",
    "rain",
    "sea_waves",
    "crackling_fire",
    "crying_baby",
    "sneezing",
    "clock_tick",
    "helicopter",
    "chainsaw",
)


# The real clips


def test_esc10_is_400_clips_balanced_over_folds_and_classes(esc50_folder):
    dataset = Esc10(esc50_folder)
    assert len(dataset.clips) == 400
    assert Counter(clip.fold for clip in dataset.clips) == dict.fromkeys(range(1, 6), 80)
    cells = Counter((clip.fold, clip.label) for clip in dataset.clips)
    assert cells == {(fold, label): 8 for fold in range(1, 6) for label in range(10)}


def test_esc10_classes_are_in_the_order_of_their_targets(esc50_folder):
    assert Esc10(esc50_folder).classes == ESC10_CLASSES


def test_esc10_labels_agree_with_the_targets_in_the_file_names(esc50_folder):
    targets = [0, 1, 10, 11, 12, 20, 21, 38, 40, 41]
    for clip in Esc10(esc50_folder).clips:
        fold, src_file, _, target = clip.id.split("-")
        assert (int(fold), src_file, int(target)) == (clip.fold, clip.src_file, targets[clip.label])


def test_no_recording_of_esc10_is_in_two_folds(esc50_folder):
    folds: dict[str, set[int]] = {}
    for clip in Esc10(esc50_folder).clips:
        folds.setdefault(clip.src_file, set()).add(clip.fold)
    assert len(folds) == 304
    assert all(len(found) == 1 for found in folds.values())


def test_no_class_of_esc50_has_a_recording_in_two_folds(esc50_folder):
    """Across classes two recordings do cross (209698 and 234879): so ESC-50 was published."""
    folds: dict[tuple[str, int], set[int]] = {}
    for clip in Esc50(esc50_folder).clips:
        folds.setdefault((clip.src_file, clip.label), set()).add(clip.fold)
    assert all(len(found) == 1 for found in folds.values())


def test_ids_are_unique(esc50_folder):
    dataset = Esc50(esc50_folder)
    assert len({clip.id for clip in dataset.clips}) == len(dataset.clips)


def test_training_validation_and_test_share_no_recording(esc50_folder):
    dataset = Esc10(esc50_folder)
    parts = [dataset.in_folds(folds) for folds in (TRAIN_FOLDS, VALIDATION_FOLDS, TEST_FOLDS)]
    assert [len(part) for part in parts] == [240, 80, 80]
    recordings = [{clip.src_file for clip in part} for part in parts]
    assert sum(map(len, recordings)) == len(set.union(*recordings))


def test_a_real_clip_sounds(esc50_folder):
    dataset = Esc10(esc50_folder)
    waveform = dataset.waveform(dataset.clips[0])
    assert waveform.shape == (80_000,)
    assert waveform.dtype == np.float32
    assert 0.01 < np.abs(waveform).max() <= 1.0


# A small folder


def test_names_reach_the_datasets_through_the_registry():
    assert registry.load("datasets", "esc50") is Esc50
    assert registry.load("datasets", "esc10") is Esc10


def test_clips_follow_the_csv_and_classes_the_targets(small_esc50):
    dataset = Esc50(small_esc50)
    assert dataset.classes == ("dog", "pig")  # the CSV lists the pig first
    assert [clip.id for clip in dataset.clips][:2] == ["1-1002-A-2", "1-1000-A-0"]
    assert [clip.label for clip in dataset.clips][:2] == [1, 0]
    assert not dataset.has_ground_truth


def test_esc10_takes_only_the_marked_rows(small_esc50):
    dataset = Esc10(small_esc50)
    assert dataset.classes == ("dog",)
    assert len(dataset.clips) == 5


def test_the_fingerprint_is_of_the_clips_and_not_of_the_place(small_esc50, tmp_path):
    moved = shutil.copytree(small_esc50, tmp_path / "elsewhere")
    assert Esc50(small_esc50).fingerprint() == Esc50(moved).fingerprint()
    assert Esc50(small_esc50).fingerprint() != Esc10(small_esc50).fingerprint()
    replace(moved, "1-1000-A-0.wav,1,", "1-1000-A-0.wav,2,")
    assert Esc50(small_esc50).fingerprint() != Esc50(moved).fingerprint()


def test_a_fold_without_clips_is_refused_with_those_that_have_some(small_esc50):
    keep = [line for line in csv_of(small_esc50).read_text().splitlines() if not line.startswith("3-")]
    csv_of(small_esc50).write_text("\n".join(keep))
    with pytest.raises(DataError, match=r"no clips in fold 3; folds with clips: 1, 2, 4, 5"):
        Esc50(small_esc50).in_folds([1, 3])


def test_evidence_is_refused(small_esc50):
    dataset = Esc50(small_esc50)
    with pytest.raises(DataError, match="has no ground truth"):
        dataset.ground_truth(dataset.clips[0])


# The decoded sound is kept by content


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """Names of the files decoded from now on, with an empty cache."""
    names = []
    decode = files.reading.decode

    def record(file, name, *section):
        names.append(Path(name).name)
        return decode(file, name, *section)

    monkeypatch.setenv(user_folders.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(files.reading, "decode", record)
    return names


def test_a_clip_is_decoded_once_even_if_its_folder_moves(small_esc50, decoded, tmp_path):
    before = Esc50(small_esc50)
    waveform = before.waveform(before.clips[0])
    after = Esc50(Path(shutil.move(small_esc50, tmp_path / "elsewhere")))
    np.testing.assert_array_equal(after.waveform(after.clips[0]), waveform)
    assert decoded == ["1-1002-A-2.wav"]


def test_a_clip_is_decoded_once_for_its_sound_and_for_what_is_odd_about_it(small_esc50, decoded):
    dataset = Esc50(small_esc50)
    first, second = dataset.clips[:2]
    soundfile.write(small_esc50 / "audio" / second.filename, np.full(800, 0.5), 16_000)
    for _ in range(2):
        assert dataset.findings(first) == ()
        assert np.abs(dataset.waveform(first)).max() > 0.4
        assert np.abs(dataset.waveform(second)).max() == 0.5
        assert [one.text for one in dataset.findings(second)] == ["is silent", "lasts 0.05 s instead of 5 s"]
    assert decoded == [first.filename, second.filename]


def test_a_pipe_in_place_of_a_clip_is_not_waited_for(small_esc50):
    dataset = Esc50(small_esc50)
    path = small_esc50 / "audio" / dataset.clips[0].filename
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(AudioError, match="a folder, pipe or device, not a file"):
        dataset.findings(dataset.clips[0])
    with pytest.raises(DataError, match=r"1-1002-A-2\.wav is a folder, pipe or device, not a file; run"):
        Esc50(small_esc50)


def test_a_replaced_file_is_decoded_again(small_esc50, decoded):
    dataset = Esc50(small_esc50)
    first = dataset.waveform(dataset.clips[0])
    soundfile.write(small_esc50 / "audio" / dataset.clips[0].filename, np.zeros(40_000), 8000)
    assert np.abs(first).max() > 0.4
    assert np.abs(dataset.waveform(dataset.clips[0])).max() == 0
    assert len(decoded) == 2


def test_another_decoder_decodes_again(small_esc50, decoded, monkeypatch):
    dataset = Esc50(small_esc50)
    for decoder in ("sndfile1.2.2-torchaudio2.11.0", "sndfile1.2.2-torchaudio2.12.0", "sndfile1.2.2-torchaudio2.11.0"):
        monkeypatch.setattr(files, "DECODER", decoder)
        dataset.waveform(dataset.clips[0])
    assert len(decoded) == 2


def test_a_damaged_entry_is_made_again(small_esc50, decoded):
    dataset = Esc50(small_esc50)
    waveform = dataset.waveform(dataset.clips[0])
    entries = list(user_folders.cache_folder().rglob("*.npy"))
    assert len(entries) == 2  # the sound, and what is odd about it
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:100])
    for _ in range(2):
        np.testing.assert_array_equal(dataset.waveform(dataset.clips[0]), waveform)
        assert dataset.findings(dataset.clips[0]) == ()
    assert len(decoded) == 2


def test_a_file_that_is_gone_is_an_audio_error(small_esc50):
    dataset = Esc50(small_esc50)
    (small_esc50 / "audio" / dataset.clips[0].filename).unlink()
    with pytest.raises(AudioError, match=r"1-1002-A-2\.wav: cannot be read"):
        dataset.waveform(dataset.clips[0])


# Folders that are wrong


def csv_of(folder: Path) -> Path:
    return folder / "meta" / "esc50.csv"


def replace(folder: Path, old: str, new: str) -> None:
    text = csv_of(folder).read_text()
    assert old in text
    csv_of(folder).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1-1000-A-0.wav,1", "1-1000-A-0.wav,6", "line 3: fold '6' is not 1 to 5"),
        ("1-1000-A-0.wav,1", "1-1000-A-0.wav,one", "line 3: fold 'one' is not 1 to 5"),
        ("1-1000-A-0.wav,1,0", "1-1000-A-0.wav,1,50", "line 3: target '50' is not 0 to 49"),
        ("1-1000-A-0.wav,1,0", "1-1000-A-0.wav,1,-1", "line 3: target '-1' is not 0 to 49"),
        ("1-1000-A-0.wav,1,0", "1-1000-A-0.wav,1,", "line 3: target '' is not 0 to 49"),
        ("dog,True,1000", "dog,yes,1000", "line 3: esc10 'yes' is not True or False"),
        ("dog,True,2000", "cat,True,2000", "line 5: category 'cat' for target 0, elsewhere 'dog'"),
        ("dog,True,2000", ",True,2000", "line 5: category '' for target 0, elsewhere 'dog'"),
        ("2-2000-A-0.wav,2,0", "2-2000-A-0.wav,2,7", "line 5: target 7 for category 'dog', elsewhere 0"),
        ("dog,True,1000", "dog,True,", "line 3: src_file is empty"),
        ("1-1000-A-0.wav", "1-1002-A-2.wav", "line 3: 1-1002-A-2.wav is listed already in line 2"),
        ("1-1000-A-0.wav", "1-1002-A-2.ogg", "line 3: 1-1002-A-2.ogg is listed already in line 2"),
        ("1-1000-A-0.wav", "../meta/esc50.csv", "line 3: filename '../meta/esc50.csv' is not a plain file name"),
        ("1-1000-A-0.wav", "", "line 3: filename '' is not a plain file name"),
        ("1-1000-A-0.wav", "a\\b.wav", r"line 3: filename 'a\\b.wav' is not a plain file name"),
        ("1-1000-A-0.wav", "..", "line 3: filename '..' is not a plain file name"),
    ],
)
def test_a_wrong_row_is_named_with_its_line_and_nothing_else_is_blamed(small_esc50, old, new, message):
    replace(small_esc50, old, new)
    with pytest.raises(DataError) as caught:
        Esc50(small_esc50)
    assert str(caught.value).startswith(f"{csv_of(small_esc50)}, {message}")
    assert " more;" not in str(caught.value)


def test_lines_are_counted_as_an_editor_counts_them(small_esc50):
    replace(small_esc50, "1-1000-A-0.wav,1", "\n\n1-1000-A-0.wav,6")
    with pytest.raises(DataError, match=r"line 5: fold '6'"):
        Esc50(small_esc50)


def test_blank_lines_are_no_clips(small_esc50):
    csv_of(small_esc50).write_text(csv_of(small_esc50).read_text().replace("\n", "\n\n") + "\n\n")
    assert len(Esc50(small_esc50).clips) == 10


def test_several_wrong_rows_are_counted_and_the_remedy_named(small_esc50):
    csv_of(small_esc50).write_text(csv_of(small_esc50).read_text().replace("True", "T"))
    with pytest.raises(DataError, match=r"line 3: .* \(and 4 more; run 'xaibench data check PATH'"):
        Esc50(small_esc50)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a header"),
        (b"filename,fold,target,category,esc10,src_file,take\n", "has a header but no clips"),
        (b"filename,fold,category,esc10,take\na.wav,1,dog,True,A\n", "lacks the columns target, src_file"),
        (b"filename,fold,target,category,esc10,src_file\na.wav,1,0,dog,True,1\n", "lacks the column take"),
        (b"a.wav,1,0,dog,True,1,A\n", "its first line should be filename,fold,target"),
        (
            b"filename,fold,target,category,esc10,src_file,take\na.wav,1,0,dog,True,1,A,B\n",
            "more fields than its first",
        ),
        (b"filename,fold\na,1\nb,1,2,3\n", "is not a CSV file"),
        (b'filename,fold\n"a,1\n', "is not a CSV file"),
        (b"filename\n\xff\xfe\x00", "is not a CSV file"),
    ],
)
def test_a_file_that_is_no_metadata_table_is_refused(small_esc50, content, message):
    csv_of(small_esc50).write_bytes(content)
    with pytest.raises(DataError) as caught:
        Esc50(small_esc50)
    assert str(csv_of(small_esc50)) in str(caught.value)
    assert message in str(caught.value)


def test_a_folder_that_is_not_there_or_not_in_the_layout_is_refused(tmp_path, small_esc50):
    with pytest.raises(DataError, match="is not a folder; give --data-dir"):
        Esc50(tmp_path / "nothing")
    with pytest.raises(DataError, match="is not in ESC-50's layout"):
        Esc50(small_esc50 / "audio")


def test_a_listed_file_that_is_missing_is_refused_only_where_it_is_needed(small_esc50):
    (small_esc50 / "audio" / "4-4002-A-2.wav").unlink()
    with pytest.raises(DataError, match=r"4-4002-A-2\.wav is missing; run 'xaibench data check"):
        Esc50(small_esc50)
    assert len(Esc10(small_esc50).clips) == 5


def test_no_clip_of_esc10_is_an_error(small_esc50):
    csv_of(small_esc50).write_text(csv_of(small_esc50).read_text().replace("True", "False"))
    with pytest.raises(DataError, match="lists no clips for esc10"):
        Esc10(small_esc50)
