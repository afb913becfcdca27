"""The diagnosis of a folder: every fault is named once, and a part of the dataset is no fault."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.sound.test_audio import tone
from xaibench.errors import DataError
from xaibench.sound.esc50 import row_problems
from xaibench.sound.esc50_check import LISTED_PROBLEMS, check

DOG, PIG = "1-1000-A-0.wav", "1-1002-A-2.wav"


def edit(folder: Path, old: str, new: str) -> None:
    csv = folder / "meta" / "esc50.csv"
    text = csv.read_text()
    assert old in text
    csv.write_text(text.replace(old, new, 1))


def the_problem(folder: Path, dataset: str = "esc50") -> str:
    problems = check(folder, dataset).problems
    assert len(problems) == 1, problems
    return problems[0]


# The real clips


@pytest.fixture(scope="module")
def real(esc50_folder):
    if sum(1 for _ in (esc50_folder / "audio").iterdir()) != 2000:
        pytest.skip("XAIBENCH_ESC50 is only a part of ESC-50")
    steps: list[tuple[int, int]] = []
    return check(esc50_folder, advance=lambda done, total: steps.append((done, total))), steps


def test_esc50_has_no_problems(real):
    report, _ = real
    assert report.problems == []


def test_esc50_is_counted(real):
    report, _ = real
    assert (report.clips, report.classes, report.recordings, report.esc10_clips) == (2000, 50, 1524, 400)
    assert report.clips_per_fold == dict.fromkeys(range(1, 6), 400)


def test_recordings_that_esc50_itself_has_in_two_folds_are_notes(real):
    whole, *crossing = real[0].notes
    assert whole == "the whole of ESC-50: 2000 clips"
    assert all("is in more than one fold" in note for note in crossing)
    assert [note.split()[1] for note in crossing] == ["131943", "134049", "209698", "234879"]


def test_the_summary_is_one_line_with_the_counts(real, tmp_path):
    assert real[0].summary() == (
        "esc50: 2000 clips (fold 1: 400, fold 2: 400, fold 3: 400, fold 4: 400, fold 5: 400), 400 of them ESC-10; "
        "50 classes, 1524 recordings; no problems"
    )
    assert check(tmp_path).summary().endswith("0 clips (none), 0 of them ESC-10; 0 classes, 0 recordings; 1 problem")


def test_progress_counts_every_file(real):
    assert real[1] == [(done, 2000) for done in range(1, 2001)]


def test_esc10_of_the_same_folder_is_whole(esc50_folder):
    report = check(esc50_folder, "esc10")
    assert report.problems == []
    assert report.notes == ["the whole of ESC-10: 400 clips"]
    assert (report.clips, report.classes, report.recordings) == (400, 10, 304)


# A small folder


def test_a_small_folder_has_no_problems(small_esc50):
    report = check(small_esc50)
    assert report.problems == []
    assert (report.clips, report.classes, report.recordings, report.esc10_clips) == (10, 2, 10, 5)
    assert report.clips_per_fold == dict.fromkeys(range(1, 6), 2)


def test_counts_that_differ_from_the_official_ones_are_notes(small_esc50):
    notes = check(small_esc50).notes
    assert "a part of ESC-50: 10 of 2000 clips" in notes
    assert "fold 2 has 1 clips of dog; ESC-50 has 8" in notes
    assert any(note.startswith("fold 2 has no clips of 48 of the 50 classes: target 1, target 3") for note in notes)
    assert "ESC-10 is complete" not in " ".join(notes)


def test_esc10_ignores_the_faults_of_other_clips(small_esc50):
    (small_esc50 / "audio" / PIG).unlink()
    assert check(small_esc50, "esc10").problems == []
    assert the_problem(small_esc50) == f"audio/{PIG} is listed in meta/esc50.csv and missing"


def test_a_dataset_without_a_folder_is_refused(small_esc50):
    with pytest.raises(DataError, match="'synth' is not read from a folder; check knows esc10 and esc50"):
        check(small_esc50, "synth")


def test_what_the_system_hides_is_no_clip(small_esc50):
    (small_esc50 / "audio" / ".DS_Store").write_bytes(b"junk")
    assert check(small_esc50).problems == []


# Folders that are wrong


def test_a_missing_folder(tmp_path):
    assert "is not a folder" in the_problem(tmp_path / "nothing")


def test_a_missing_csv(small_esc50):
    (small_esc50 / "meta" / "esc50.csv").unlink()
    assert "meta/esc50.csv is missing" in the_problem(small_esc50)


def test_missing_columns(small_esc50):
    edit(small_esc50, "src_file,take", "source,cut")
    assert "lacks the columns src_file, take" in the_problem(small_esc50)


def test_a_missing_audio_folder_is_one_problem_and_not_one_a_clip(small_esc50):
    shutil.rmtree(small_esc50 / "audio")
    assert "audio is missing; put the clips" in the_problem(small_esc50)


def test_every_bad_row_is_listed_with_its_line(small_esc50):
    edit(small_esc50, f"{DOG},1", f"{DOG},6")
    edit(small_esc50, "2-2000-A-0.wav,2,0", "2-2000-A-0.wav,2,x")
    csv = small_esc50 / "meta" / "esc50.csv"
    assert check(small_esc50).problems == [
        f"{csv}, line 3: fold '6' is not 1 to 5",
        f"{csv}, line 5: target 'x' is not 0 to 49",
    ]


def test_a_name_that_leads_out_of_the_folder_is_never_opened(small_esc50, tmp_path):
    (tmp_path / "outside.wav").write_text("not sound")
    edit(small_esc50, DOG, "../../outside.wav")
    problems = check(small_esc50).problems
    assert len(problems) == 2
    assert "line 3: filename '../../outside.wav' is not a plain file name" in problems[0]
    assert problems[1] == f"audio/{DOG} is not listed in meta/esc50.csv"


def test_a_file_that_is_not_listed(small_esc50):
    shutil.copy(small_esc50 / "audio" / DOG, small_esc50 / "audio" / "extra.wav")
    assert the_problem(small_esc50) == "audio/extra.wav is not listed in meta/esc50.csv"


def test_a_recording_of_one_class_in_two_folds(small_esc50):
    edit(small_esc50, "dog,True,2000", "dog,True,1000")
    expected = "recording 1000 is in more than one fold: 1-1000-A-0.wav in fold 1, 2-2000-A-0.wav in fold 2"
    assert the_problem(small_esc50) == expected
    assert the_problem(small_esc50, "esc10") == expected


def test_a_recording_of_two_classes_in_two_folds_is_a_note(small_esc50):
    edit(small_esc50, "pig,False,2002", "pig,False,1000")
    report = check(small_esc50)
    assert report.problems == []
    assert any("recording 1000 is in more than one fold" in note for note in report.notes)


def test_a_class_marked_as_esc10_only_here_and_there(small_esc50):
    edit(small_esc50, "dog,True", "dog,False")
    assert the_problem(small_esc50) == "category 'dog' is marked esc10 in some rows and not in others"


def test_no_clip_of_the_dataset(small_esc50):
    csv = small_esc50 / "meta" / "esc50.csv"
    csv.write_text(csv.read_text().replace("True", "False"))
    assert the_problem(small_esc50, "esc10") == f"{csv} lists no clips for esc10"
    assert check(small_esc50).problems == []


# Sound that is wrong


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: b"", f"audio/{DOG}: is an empty file"),
        (lambda data: b"this is not sound" * 99, f"audio/{DOG}: not audio that libsndfile can read"),
        (lambda data: data[:20], f"audio/{DOG}: not audio that libsndfile can read"),
        (half, f"audio/{DOG} is truncated after 2.50 s"),
    ],
)
def test_a_damaged_file(small_esc50, damage, problem):
    path = small_esc50 / "audio" / DOG
    path.write_bytes(damage(path.read_bytes()))
    assert the_problem(small_esc50).startswith(problem)


def test_undefined_samples(small_esc50):
    samples = np.zeros(40_000)
    samples[7] = np.nan
    soundfile.write(small_esc50 / "audio" / DOG, samples, 8000, subtype="FLOAT")
    assert the_problem(small_esc50) == f"audio/{DOG}: holds NaN or infinite samples"


@pytest.mark.parametrize(("seconds", "wrong"), [(4.8, True), (4.95, False), (5.05, False), (5.2, True), (30, True)])
def test_a_duration_that_is_not_five_seconds(small_esc50, seconds, wrong):
    soundfile.write(small_esc50 / "audio" / DOG, tone(seconds, 8000), 8000)
    expected = [f"audio/{DOG} lasts {seconds:.2f} s instead of 5 s"] if wrong else []
    assert check(small_esc50).problems == expected


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_in_place_of_a_file(small_esc50, make):
    (small_esc50 / "audio" / DOG).unlink()
    make(small_esc50 / "audio" / DOG)
    assert the_problem(small_esc50).endswith(f"{DOG}: cannot be read (a folder, pipe or device, not a file)")


LEFT = tone(5, 8000)


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros(40_000), "is silent"),
        (LEFT[:400], "lasts 0.05 s instead of 5 s"),
        (np.stack([LEFT, -LEFT], axis=1), "has channels in opposite phase, which cancel when they are mixed to one"),
        (np.clip(8 * LEFT, -1, 1), "is clipped: 83% of its samples are at full scale"),
        (1000 * LEFT, "has samples up to 500; full scale is 1"),
    ],
)
def test_odd_sound(small_esc50, samples, problem):
    soundfile.write(small_esc50 / "audio" / DOG, samples, 8000, subtype="FLOAT")
    assert the_problem(small_esc50) == f"audio/{DOG} {problem}"


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_a_truncated_file_of_another_format(small_esc50, kind):
    path = small_esc50 / "audio" / DOG
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(80_000), 16_000, format=kind)
    assert check(small_esc50).problems == []
    path.write_bytes(half(path.read_bytes()))
    assert the_problem(small_esc50).startswith(f"audio/{DOG} is truncated after ")


# A large table


def large(folder: Path, rows: int) -> None:
    """Rows whose files are missing, and of which every tenth is wrong in some way."""
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for i in range(rows):
        fold, source = (i % 5 + 1, i // 2) if i % 10 else (9, "")
        lines.append(f"{i}.wav,{fold},{i % 50},class {i % 50},{i % 50 < 10},{source},A")
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")


def calls(function: Callable[[], object]) -> int:
    """Count the calls of Python functions, and of those written in C."""
    count = 0

    def watch(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_large_table_takes_a_few_operations_a_row_and_its_problems_are_not_all_listed(small_esc50):
    few, many = 1_000, 4_000
    large(small_esc50, few)
    before = calls(lambda: check(small_esc50))
    large(small_esc50, many)
    report = check(small_esc50)
    after = calls(lambda: check(small_esc50))
    assert (after - before) / (many - few) < 60, "a million rows in a minute: 60 microseconds each"
    # Two a wrong row, a missing file a row, ten files that are not listed, and recordings in two folds.
    wrong, crossing = many // 5, sum("recording" in problem for problem in report.problems)
    assert 0 < crossing <= LISTED_PROBLEMS
    assert report.found >= wrong + many + 10
    assert len(report.problems) <= 5 * LISTED_PROBLEMS
    assert report.summary().endswith(f"{report.found} problems")


def test_rows_are_judged_as_one_by_one(small_esc50):
    """A slow second version of the rules, on rows that are wrong in every way at once."""
    rng = np.random.default_rng(0)
    columns = {
        "filename": ["a.wav", "a.ogg", "b.wav", "..", "", "c/d", "e"],
        "fold": ["1", "2", "0", "x"],
        "target": ["0", "1", "49", "50", "-1", "٣", "", "9" * 5000],
        "category": ["dog", "pig", ""],
        "esc10": ["True", "false", "no"],
        "src_file": ["1", ""],
        "take": ["A"],
    }
    for rows in (1, 2, 5, 30):
        for _ in range(5):
            table = pd.DataFrame({name: rng.choice(values, rows) for name, values in columns.items()}, dtype=object)
            assert row_problems(table) == one_by_one(table)


def one_by_one(table: pd.DataFrame) -> list[str]:
    """What is wrong with each row, given those before it."""
    problems, seen = [], {}
    rows = list(zip(table.index + 2, table.itertuples(), strict=True))
    known = [row for _, row in rows if row.target.isdecimal() and len(row.target) < 5 and int(row.target) <= 49]
    category_of, target_of = {}, {}
    for row in known:
        if row.category:
            category_of.setdefault(row.target, row.category)
    for row in known:
        if row.category and category_of[row.target] == row.category:
            target_of.setdefault(row.category, row.target)
    for line, row in rows:
        said = []
        if row.filename in {"", ".", ".."} or "/" in row.filename:
            said.append(f"filename {row.filename!r} is not a plain file name")
        clip = row.filename.rpartition(".")[0] if row.filename.endswith((".wav", ".ogg")) else row.filename
        if clip in seen:
            said.append(f"{row.filename} is listed already in line {seen[clip]}")
        seen.setdefault(clip, line)
        if row.fold not in {"1", "2", "3", "4", "5"}:
            said.append(f"fold {row.fold!r} is not 1 to 5")
        if row not in known:
            said.append(f"target {row.target!r} is not 0 to 49")
        elif row.category != category_of.get(row.target):
            elsewhere = f", elsewhere {category_of[row.target]!r}" if row.target in category_of else ""
            said.append(f"category {row.category!r} for target {row.target}{elsewhere}")
        elif row.target != target_of[row.category]:
            said.append(f"target {row.target} for category {row.category!r}, elsewhere {target_of[row.category]}")
        if row.esc10.lower() not in {"true", "false"}:
            said.append(f"esc10 {row.esc10!r} is not True or False")
        if not row.src_file:
            said.append(f"src_file is empty, so {row.filename} belongs to no recording")
        problems += [f"line {line}: {text}" for text in said]
    return problems
