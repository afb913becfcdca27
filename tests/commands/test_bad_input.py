"""Bad input ends, or is named, in one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command_line import Command

RUN = ("run", "-m", "energy", "-c", "esc50/cnn-micro", "--metric", "sparseness", "--dataset", "csv", "--data-dir")
TRAIN = ("train", "-c", "cnn-micro", "--dataset", "csv", "--data-dir")
CHECK = ("data", "check", "--dataset", "csv")
RATES = {"a": 8_000, "b": 16_000, "c": 44_100}

# A table, the command that is given it, the exit code, and what the line says.
BAD: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "missing file": (
        "path,label\na.wav,x\nnone.wav,y\n",
        RUN,
        2,
        "none.wav is missing; clips.csv lists it: mend its path there, or take its row out",
    ),
    "wrong column": (
        "path,species\na.wav,x\nb.wav,y\n",
        RUN,
        2,
        "no column named label or class or category; it has path, species; name the right one with --columns label=",
    ),
    "two labels": (
        "path,label\na.wav,x\na.wav,y\n",
        RUN,
        2,
        "clips.csv, line 3: the clip 'a' stands in line 2, too; a clip has one row and one label",
    ),
    "one fold": (
        "path,label,fold\na.wav,x,1\nb.wav,y,1\n",
        TRAIN,
        2,
        "this one has 1: give its clips three folds or more",
    ),
    "a group across folds": (
        "path,label,fold,group\na.wav,x,1,r\nb.wav,y,2,r\nc.wav,y,3,s\n",
        CHECK,
        0,
        "1 recording is in several folds, such as r in 1 and 2: what is learned on it is tested on it; give all "
        "clips of a recording one fold",
    ),
    "another rate in each file": (
        "path,label\na.wav,x\nb.wav,y\nc.wav,y\n",
        CHECK,
        0,
        "note: 3 sample rates: each clip is resampled to the classifier's, and holds no sound above half of its own; "
        "if classes differ in it, give all clips one rate",
    ),
    "files that are no sound": (
        "path,label\nbad.wav,x\nbad2.wav,y\n",
        RUN,
        2,
        "cannot be read, and there is no other to score: bad",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named_in_one_line_with_a_remedy(xaibench: Command, tmp_path: Path, kind: str) -> None:
    table, command, code, words = BAD[kind]
    (tmp_path / "clips.csv").write_text(table)
    for name, rate in RATES.items():
        noise = 0.1 * np.random.default_rng(rate).standard_normal(5 * rate)
        soundfile.write(tmp_path / f"{name}.wav", noise, rate)
    for name in ("bad.wav", "bad2.wav"):
        (tmp_path / name).write_bytes(b"not a sound")
    done = xaibench(*command, "clips.csv")
    assert done.code == code, done.err
    said = (done.err if code else done.out).splitlines()
    assert len([line for line in said if words in line]) == 1, said
    if code:
        assert len(done.error_lines) == 1, done.err
    assert "Traceback" not in done.err
