"""A clip that is truncated, silent or the like never becomes a score in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.sound.test_esc50 import ESC10_CLASSES
from tests.support.command_line import Command, assert_refused
from xaibench.results import store

TARGETS = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """One clip of noise of every class of ESC-10, in fold 5."""
    folder = tmp_path / "ten"
    (folder / "meta").mkdir(parents=True)
    (folder / "audio").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for target, category in zip(TARGETS, ESC10_CLASSES, strict=True):
        lines.append(f"{target}.wav,5,{target},{category},True,{target},A")
        sound = 0.1 * np.random.default_rng(target).standard_normal(80_000)
        soundfile.write(folder / "audio" / f"{target}.wav", sound, 16_000)
    (folder / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return folder


def write(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def cut_as(kind: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        soundfile.write(path, soundfile.read(path)[0], 16_000, format=kind)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])

    return damage


LEFT = np.sin(np.arange(80_000) / 20).astype(np.float32)

ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "wav": (cut, "truncated"),
    "ogg": (cut_as("OGG"), "truncated"),
    "mp3": (cut_as("MP3"), "truncated"),
    "50 ms": (lambda path: write(path, LEFT[:800]), "shorter than the clips of this dataset"),
    "one sample": (lambda path: write(path, LEFT[1:2]), "shorter than the clips of this dataset"),
    "silence": (lambda path: write(path, 0 * LEFT), "silent"),
    "opposite": (lambda path: write(path, np.stack([LEFT, -LEFT], axis=1)), "in opposite phase"),
    "clipped": (lambda path: write(path, np.clip(9 * LEFT, -1, 1)), "clipped"),
    "loud": (lambda path: write(path, 1000 * LEFT), "too loud"),
}

UNREADABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no sound": (lambda path: path.write_bytes(b"RIFF, so to speak"), "not audio that libsndfile can read"),
    "nothing": (lambda path: path.write_bytes(b""), "is an empty file"),
    "NaN": (lambda path: write(path, np.where(LEFT > 0.9, np.nan, LEFT)), "holds NaN or infinite samples"),
    "half a flac": (cut_as("FLAC"), "not audio that libsndfile can read"),
}

RUN = ("run", "-m", "energy", "-c", "cnn-micro", "--metric", "sparseness", "--dataset", "esc10")


@pytest.mark.parametrize("odd", ODD)
def test_strict_refuses_each_kind_in_one_line(xaibench: Command, ten: Path, odd: str) -> None:
    damage, words = ODD[odd]
    damage(ten / "audio" / "12.wav")
    done = xaibench(*RUN, "--data-dir", ten, "--strict")
    assert_refused(done, f"1 of 10 clips is {words}", ": 12.wav; nothing was scored")
    assert not Path("results").exists()


def test_a_run_says_each_kind_once_with_the_count_and_the_first_names(xaibench: Command, ten: Path) -> None:
    for target in TARGETS[:5]:
        write(ten / "audio" / f"{target}.wav", 0 * LEFT)
    cut(ten / "audio" / "41.wav")
    done = xaibench(*RUN, "-m", "random", "--data-dir", ten)
    assert done.code == 0, done.err
    assert [line for line in done.error_lines if line.startswith("sound: ")] == [
        "sound: 1 of 10 clips is truncated (the file ends before the sound that its header promises): 41.wav",
        "sound: 5 of 10 clips are silent, or nearly so: 0.wav, 1.wav, 10.wav and 2 more",
    ]
    assert "sound: " not in done.out


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_read_is_left_out_named_and_counted(xaibench: Command, ten: Path, kind: str) -> None:
    damage, words = UNREADABLE[kind]
    damage(ten / "audio" / "12.wav")
    done = xaibench(*RUN, "--data-dir", ten, "--out", "made")
    assert done.code == 0, done.err
    (line,) = [line for line in done.error_lines if line.startswith("sound: ")]
    assert line.startswith(f"sound: 1 of 10 clips cannot be read and is left out: {ten / 'audio' / '12.wav'}: ")
    assert words in line
    assert len(store.read_rows(Path("made"))) == 9
    assert_refused(xaibench(*RUN, "--data-dir", ten, "--strict"), "1 of 10 clips cannot be read: ", words)


def test_verify_compare_and_a_second_run_know_of_unreadable_clips(xaibench: Command, ten: Path) -> None:
    whole = (ten / "audio" / "12.wav").read_bytes()
    (ten / "audio" / "12.wav").write_bytes(b"zzz")
    run = (*RUN, "--data-dir", ten, "--out", "made")
    assert xaibench(*run).code == xaibench(*run).code == 0, "the second finds what the first has scored"
    verified = xaibench("verify", "made")
    assert "1 parts of 1 pairs, 1 clips that could not be read: all as it should be" in verified.out
    compared = xaibench("compare", "made", "--out", "made.csv")
    assert "1 clip could not be read (12), in made" in compared.err
    assert set(pd.read_csv("made.csv")["unreadable"]) == {1}
    (ten / "audio" / "12.wav").write_bytes(whole)
    mended = xaibench(*run)
    assert_refused(
        mended, "holds a run in which these clips could not be read: 12; now it is none; choose another --out"
    )
    for target in TARGETS:
        (ten / "audio" / f"{target}.wav").write_bytes(b"zzz")
    done = xaibench(*run)
    assert_refused(done, "10 of 10 clips cannot be read, and there is no other to score: ", "; and 7 more")


def test_nothing_is_said_of_whole_clips_and_strict_scores_them(xaibench: Command, ten: Path) -> None:
    done = xaibench(*RUN, "--data-dir", ten, "--strict")
    assert done.code == 0, done.err
    assert "sound: " not in done.err


def test_explain_says_it_too(xaibench: Command, tmp_path: Path) -> None:
    write(tmp_path / "dog.wav", LEFT[:32_000])
    done = xaibench("explain", tmp_path / "dog.wav", "-m", "energy", "-c", "cnn-micro")
    assert done.code == 0, done.err
    assert "1 of 1 clip is shorter than the 5 s that cnn-micro hears: " in done.err
