"""Runs, checks and trainings of folders and tables; the same clips have the same scores in every layout."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support import small_folder
from tests.support.command_line import Command
from xaibench.results import store
from xaibench.results.runs import find_runs
from xaibench.storage.cards import file_hash

RUN = ["run", "-m", "saliency", "-m", "random", "-c", "esc50/cnn-micro", "--metric", "faithfulness", "--folds", "all"]


def rows(folder: Path) -> pd.DataFrame:
    (run,) = find_runs(folder)
    table = store.read_rows(run)
    return table.sort_values(["method", "clip", "metric", "area"]).reset_index(drop=True)


def test_the_same_clips_have_the_same_scores_in_every_layout(
    xaibench: Command, small_esc50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = small_folder.as_folder(small_esc50, tmp_path / "folder")
    table = small_folder.as_table(small_esc50, tmp_path / "clips.csv")
    other_order = small_folder.as_table(small_esc50, tmp_path / "reversed.csv", reverse=True)
    scored = {}
    for name, kind, where in (
        ("official", "esc50", small_esc50),
        ("folder", "folder", folder),
        ("table", "csv", table),
        ("reversed", "csv", other_order),
    ):
        done = xaibench(*RUN, "--dataset", kind, "--data-dir", where, "--out", tmp_path / name)
        assert done.code == 0, done.err
        scored[name] = rows(tmp_path / name)
        assert len(scored[name]) == len(scored["official"])
        assert scored[name]["clip"].tolist() == scored["official"]["clip"].tolist()
    values = {name: table["value"].to_numpy() for name, table in scored.items()}
    assert values["table"].tolist() == values["official"].tolist(), "in the same order: to the digit"
    for name in ("folder", "reversed"):
        assert abs(values[name] - values["official"]).max() < 1e-4
    assert scored["table"]["correct"].tolist() == scored["official"]["correct"].tolist()


def test_urbansound8k_trains_fits_and_scores_on_its_ten_folds(
    xaibench: Command, small_esc50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = small_folder.rows(small_esc50)
    for row in clips:  # twice as many, so that ten folds have one of each class
        sound = (small_esc50 / "audio" / row["filename"]).read_bytes()
        (small_esc50 / "audio" / f"again-{row['filename']}").write_bytes(sound)
    again = [
        f"again-{row['filename']},{row['fold']},{row['target']},{row['category']},False,again{row['src_file']},A"
        for row in clips
    ]
    path = small_esc50 / "meta" / "esc50.csv"
    path.write_text(path.read_text() + "\n".join(again) + "\n")
    urban = small_folder.as_urbansound8k(small_esc50, tmp_path / "urban")
    data = ["--dataset", "urbansound8k", "--data-dir", urban]
    made = xaibench("train", "-c", "cnn-micro", *data, "--epochs", "1")
    assert "on fold 9 (epoch 1 of 1, chosen there)" in made.out
    assert "on fold 10;" in made.out
    trained = "checkpoints/urbansound8k/cnn-micro"
    fitted = xaibench("fit", "-m", "piq", "-c", trained, *data, "--set", "epochs=1", "--set", "decoder_width=4")
    assert "on fold 9" in fitted.out
    xaibench("run", "-m", "piq", "-m", "random", "-c", trained, *data, "--metric", "faithfulness", "--out", "run")
    scored = rows(tmp_path / "run")
    assert set(scored["method"]) == {"piq", "random"}
    assert set(scored["fold"]) == {10}
    assert len(file_hash(tmp_path / trained / "model.safetensors")) == 64


def test_columns_are_named_on_the_command_line(xaibench: Command, small_esc50: Path, tmp_path: Path) -> None:
    table = small_folder.as_table(small_esc50, tmp_path / "clips.csv")
    table.write_text(table.read_text().replace("path,label,fold,group", "path,species,part,group"))
    refused = xaibench("data", "check", table, "--dataset", "csv")
    assert refused.code == 2
    assert "name the right one with --columns label=NAME" in refused.err
    found = xaibench("data", "check", table, "--dataset", "csv", "--columns", "label=species, fold=part").out
    assert "10 clips of 10 recordings\n2 classes, 5 clips each\nfolds 1: 2, 2: 2, 3: 2, 4: 2, 5: 2" in found
    wrong = xaibench("data", "check", table, "--dataset", "csv", "--columns", "species")
    assert wrong.code == 2
    assert "--columns 'species' is not of the form NAME=COLUMN" in wrong.err


def test_a_classifier_scores_clips_of_other_classes(xaibench: Command, small_esc50: Path, tmp_path: Path) -> None:
    run = ["run", "-m", "energy", "-c", "esc10/cnn-micro", "--metric", "sparseness", "--folds", "all"]
    data = ["--dataset", "esc50", "--data-dir", small_esc50]
    partly = xaibench(*run, *data, "--out", tmp_path / "partly")
    assert "knows 1 of the 2 classes of esc50: its accuracy counts clips of these only (not pig;" in partly.err
    scored = rows(tmp_path / "partly")
    dogs = scored["label"] == "dog"
    assert scored.loc[~dogs, "correct"].isna().all()
    assert scored.loc[dogs, "correct"].notna().all()
    assert (scored.loc[dogs, "correct"] == (scored.loc[dogs, "predicted"] == "dog")).all()

    (tmp_path / "map.csv").write_text("label,class\npig,rooster\n")
    mapped = xaibench(*run, *data, "--class-map", tmp_path / "map.csv", "--out", tmp_path / "mapped")
    assert "its accuracy counts" not in mapped.err
    again = rows(tmp_path / "mapped")
    assert set(again["label"]) == {"dog", "rooster"}
    assert again["correct"].notna().all()
    assert again["value"].tolist() == scored["value"].tolist()

    strangers = xaibench(
        "run", "-m", "energy", "-c", "synth/cnn-micro", "--metric", "sparseness", *data, "--out", "none"
    )
    assert "knows none of the 2 classes of esc50" in strangers.err
    assert strangers.code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,class\npig,rooster\npig,dog\n", "translates 'pig' twice"),
        ("label,class\ncow,rooster\n", "translates 'cow', which is no class of esc50; there are dog, pig"),
        ("a,b\npig,rooster\n", "has the columns a, b; expected label,class"),
    ],
)
def test_a_wrong_class_map_is_named(
    xaibench: Command, small_esc50: Path, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "map.csv").write_text(text)
    data = ["--dataset", "esc50", "--data-dir", small_esc50, "--class-map", tmp_path / "map.csv"]
    refused = xaibench("run", "-m", "energy", "-c", "esc10/cnn-micro", *data)
    assert refused.code == 2
    assert words in refused.err


def test_what_is_scored_of_a_folder_is_said(xaibench: Command, small_esc50: Path, tmp_path: Path) -> None:
    folder = small_folder.as_folder(small_esc50, tmp_path / "folder")
    run = ["run", "-m", "energy", "--metric", "sparseness", "--dataset", "folder", "--data-dir", folder]
    some = xaibench(*run, "-c", "esc50/cnn-micro", "--out", tmp_path / "some")
    assert "scored are 2 of 10 clips: fold 5 (folds were drawn; --folds all scores every one)" in some.err
    every = xaibench(*run, "-c", "esc50/cnn-micro", "--folds", "all", "--out", tmp_path / "every")
    assert "scored are" not in every.err
    refused = xaibench(*run, "-c", "cnn-micro")
    assert "give esc10/cnn-micro, esc50/cnn-micro, synth/cnn-micro, " in refused.err
    assert ", which hear any clips, or train" in refused.err
    misread = xaibench("data", "check", folder)
    assert "a folder with a folder for each class is --dataset folder" in misread.out


def test_a_check_hears_the_folds_that_it_is_told(xaibench: Command, small_esc50: Path) -> None:
    data = ["--dataset", "esc50", "--data-dir", small_esc50]
    assert "esc50/cnn-micro" not in xaibench("classifiers", "check", "esc50/cnn-micro", *data, "--folds", "9").out
    found = xaibench("classifiers", "check", "esc50/cnn-micro", *data, "--folds", "4,5")
    assert ", 4 clips of esc50" in found.out
