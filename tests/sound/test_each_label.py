"""Clips of which several classes are true: how tables say so, and each label as a target of its own."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.command_line import Command
from xaibench.errors import DataError
from xaibench.results.verify import verify
from xaibench.scoring.targets import with_target
from xaibench.sound.each_label import EachLabel
from xaibench.sound.relabelled import Relabelled
from xaibench.sound.table import AudioTable

RATE = 8000


def a_table(folder: Path, text: str) -> Path:
    for i, name in enumerate(("a.wav", "b.wav")):
        soundfile.write(folder / name, 0.1 * np.random.default_rng(i).standard_normal(RATE), RATE)
    (folder / "clips.csv").write_text(text)
    return folder / "clips.csv"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("path,labels\na.wav,rain; dog ;rain;\nb.wav,cat\n", [("rain", "dog"), ("cat",)]),
        ('path,labels\na.wav,"rain,dog"\nb.wav,cat\n', [("rain", "dog"), ("cat",)]),
        ('path,labels\na.wav,"rain, heavy;dog"\nb.wav,"rain, heavy"\n', [("rain, heavy", "dog"), ("rain, heavy",)]),
        ("path,label,labels\na.wav,dog,x;y\nb.wav,cat,z\n", [("dog",), ("cat",)]),
    ],
)
def test_a_table_may_give_a_clip_several_labels(tmp_path: Path, text: str, labels: list[tuple[str, ...]]) -> None:
    data = AudioTable(a_table(tmp_path, text))
    assert [data.labels(clip) for clip in data.clips] == labels
    assert data.classes == tuple(sorted({label for of_clip in labels for label in of_clip}))
    xb.check_dataset(data)


def test_a_cell_of_marks_alone_holds_no_label(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: the label is empty"):
        AudioTable(a_table(tmp_path, "path,labels\na.wav, ; \nb.wav,cat;dog\n"))


def test_several_labels_in_a_column_for_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: 'dog;cat' is several labels; if clips may have several, call this"):
        AudioTable(a_table(tmp_path, "path,label\na.wav,rain\nb.wav,dog;cat\n"))
    named = AudioTable(tmp_path / "clips.csv", {"labels": "label"})
    assert named.labels(named.clips[1]) == ("dog", "cat")


def test_each_label_is_a_clip_of_the_same_sound_recording_and_fold(tmp_path: Path) -> None:
    table = a_table(tmp_path, "path,labels,group\na.wav,rain;dog,r\nb.wav,cat,s\n")
    (tmp_path / "events.csv").write_text("file,start,end,label\na.wav,0.1,0.5,dog\n")
    whole = xb.audio_csv(table, events=tmp_path / "events.csv")
    data = EachLabel(Relabelled(whole, {"dog": "hound"}))
    assert [clip.id for clip in data.clips] == ["a#rain", "a#hound", "b#cat"]
    assert [data.labels(clip) for clip in data.clips] == [("rain", "hound"), ("hound", "rain"), ("cat",)]
    assert [clip.src_file for clip in data.clips] == ["r", "r", "s"]
    for clip, own in zip(data.clips, [0, 0, 1], strict=True):
        first = whole.clips[own]
        assert clip.fold == first.fold
        for rate in (RATE, 16_000):
            assert np.array_equal(data.waveform_at(clip, rate), whole.waveform_at(first, rate))
    assert data.events(data.clips[0]) == (xb.SoundEvent(0.1, 0.5, "hound"),)
    merged = Relabelled(whole, {"dog": "rain"})
    assert merged.labels(merged.clips[0]) == ("rain",)
    assert len({one.fingerprint() for one in (whole, data, merged)}) == 3
    xb.check_dataset(data)


class Bands(nn.Module):
    """A logit for each of three bands of frequencies, more than one of which may be loud."""

    def forward(self, waveform: Tensor) -> Tensor:
        power = torch.fft.rfft(waveform).abs().square()[:, : RATE // 2]
        return torch.stack([part.mean(dim=1).log() for part in (1e-6 + power).split(RATE // 6 + 1, dim=1)], dim=1)


def test_each_label_is_scored_by_its_own_probability(tmp_path: Path) -> None:
    """As where the clip has only this label and that is the target, to the digit; p is the sigmoid."""
    rng = np.random.default_rng(0)
    sounds = [0.1 * rng.standard_normal(RATE).astype(np.float32) for _ in range(2)]
    model = xb.wrap(Bands(), classes=["low", "middle", "high"], sample_rate=RATE, samples=RATE, activation="sigmoid")
    labels = [["high", "low"], "middle"]
    data = xb.clips(sounds, RATE, labels, groups=["r", "s"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def scored(data: xb.Dataset, target: str, out: str) -> xb.Results:
            metrics = ["faithfulness", "average_drop"]
            return xb.evaluate(
                model, data, ["energy"], metrics, target=target, out=tmp_path / out, progress=False, controls=False
            )

        several = scored(data, "labels", "each")
        one = {label: scored(xb.clips(sounds, RATE, [label] * 2), "label", label) for label in ("high", "low")}
        best = scored(data, "predicted", "best")
    rows = several.rows
    assert set(rows["clip"]) == {"clip-0#high", "clip-0#low", "clip-1#middle"}
    assert rows.groupby("src_file")["clip"].nunique().to_dict() == {"r": 2, "s": 1}
    for label in ("high", "low"):
        own = rows[rows["clip"] == f"clip-0#{label}"]
        alone = one[label].rows[one[label].rows["clip"] == "clip-0"]
        assert set(own["label"]) == {label}
        assert own["value"].tolist() == alone["value"].tolist()
    x = torch.from_numpy(sounds[0])[None]
    p = torch.sigmoid(Bands()(x).double())[0]
    p_max = p.max()
    assert p.sum() > 1.5, "no softmax"
    predicted = ["low", "middle", "high"][int(p.argmax())]
    first = best.rows[best.rows["clip"] == "clip-0"]
    assert set(first["predicted"]) == {predicted} and p_max > 0.5
    assert set(first["label"]) == {"high;low"}
    assert set(first["correct"]) == {predicted in ("high", "low")}
    assert set(rows[rows["src_file"] == "r"]["correct"]) == {predicted in ("high", "low")}
    for out in ("each", "best", "low"):
        assert verify(tmp_path / out).findings == ()


def test_a_target_that_the_labels_do_not_fit_is_refused_in_one_line() -> None:
    sound = np.ones(RATE, np.float32)
    one, several = (xb.clips([sound], RATE, [labels], ids=["x"]) for labels in ("dog", ["dog", "cat"]))
    with pytest.raises(DataError, match=r"^every clip of clips has one label; explain it with --target label$"):
        with_target(one, "labels")
    with pytest.raises(DataError, match=r"^clips of clips have several labels, such as x \(dog, cat\); --target la"):
        with_target(several, "label")
    assert with_target(several, "predicted") is several
    with pytest.raises(DataError, match="clip-0 has no label"):
        xb.clips([sound], RATE, [[]])


def test_a_run_of_each_label_is_told_and_scored_again(xaibench: Command, small_esc50: Path, tmp_path: Path) -> None:
    sounds = sorted((small_esc50 / "audio").iterdir())[:2]
    table = tmp_path / "clips.csv"
    table.write_text(f"path,labels\n{sounds[0]},dog;pig\n{sounds[1]},dog\n")
    data = ["--dataset", "csv", "--data-dir", table]
    run = ["run", "-m", "energy", "-c", "esc50/cnn-micro", "--metric", "faithfulness", "--folds", "all", *data]
    done = xaibench(*run, "--target", "labels", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    again = xaibench("verify", tmp_path / "run", "--rescore", "4", "-c", "esc50/cnn-micro", *data[2:])
    assert "1 scored again: all as it should be" in again.out
    refused = xaibench("train", "-c", "cnn-micro", *data)
    assert refused.code == 2
