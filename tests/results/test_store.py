"""Parts on disk: one schema, written whole, refused when damaged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xaibench.errors import ResultsError
from xaibench.results import parts, store
from xaibench.results.parts import MethodFacts, MetricFacts, PartInfo
from xaibench.results.store import Manifest, RunFolder

MANIFEST = Manifest(
    dataset="synth", dataset_fingerprint="0123", folds=(4, 5), limit=None, clips=3, seed=0, protocol="standard-1"
)
INFO = PartInfo(
    clips=2,
    classifier_sha256="abc",
    weights_sha256="abd",
    method=MethodFacts(
        name="saliency",
        title="Saliency",
        polarity="absolute",
        control=False,
        parameters={"steps": 3, "window": [1, 2]},
        code="package.module:Saliency",
        native_shape=(8, 16),
    ),
    metrics={
        "faithfulness": MetricFacts(
            title="FF", family="faithfulness", higher_is_better=True, low=-1.0, high=1.0, needs_ground_truth=False
        ),
        "sparseness": MetricFacts(
            title="SPS", family="complexity", higher_is_better=True, low=0.0, high=1.0, needs_ground_truth=False
        ),
    },
    sample_rate=16_000,
    samples=80_000,
    audio_sha256={"a": "d", "b": "e"},
    ground_truth_sha256={},
    code_sha256="ghi",
    shared_code_sha256="gh",
    metrics_sha256={"faithfulness": "j", "sparseness": "k"},
    versions={"torch": "2.11"},
    device="cpu",
    batch_size=16,
    explain_seconds=1.0,
    score_seconds=3.0,
    forwards=10,
    peak_memory_bytes=1000,
)


def rows(method: str = "saliency", classifier: str = "cnn-micro", clips: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """Rows of one metric with a mask and one without, whose last clip is undefined."""
    frames = []
    for metric, area in (("faithfulness", 0.1), ("sparseness", None)):
        undefined = [area is None and clip == clips[-1] for clip in clips]
        frames.append(
            pd.DataFrame(
                {
                    "dataset": "synth",
                    "fold": 5,
                    "clip": list(clips),
                    "src_file": [f"recording-{clip}" for clip in clips],
                    "label": "bells",
                    "predicted": "siren",
                    "correct": False,
                    "classifier": classifier,
                    "method": method,
                    "mask": "equal area",
                    "protocol": "standard-1",
                    "fill": "silence",
                    "target": "predicted",
                    "audible_share": 1.0,
                    "p_fill": 0.1,
                    "metric": metric,
                    "area": area,
                    "value": [None if flag else 0.1 + 0.2 for flag in undefined],
                    "reason": ["the map is zero" if flag else None for flag in undefined],
                }
            ).astype({"area": float, "value": float})
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run with two parts of one method and one of another."""
    made = RunFolder(tmp_path / "runs" / "one", MANIFEST)
    made.write("cnn-micro", "saliency", 0, rows(), INFO)
    made.write("cnn-micro", "saliency", 1, rows(clips=("c",)), replace(INFO, clips=1, audio_sha256={"c": "f"}))
    other = replace(INFO.method, name="random", control=True, native_shape=(513, 431))
    made.write("cnn-micro", "random", 0, rows("random"), replace(INFO, method=other, peak_memory_bytes=None))
    return made


def test_a_part_is_read_as_it_was_written(folder: RunFolder) -> None:
    found = folder.finished("cnn-micro", "saliency", 0)
    assert found is not None
    table, info = found
    digest = hashlib.sha256(folder.part("cnn-micro", "saliency", 0).read_bytes()).hexdigest()
    assert info == replace(INFO, scores_sha256=digest)
    expected = rows()
    pd.testing.assert_frame_equal(table.drop(columns="reason"), expected.drop(columns="reason"), check_dtype=False)
    assert table["reason"].dropna().to_dict() == expected["reason"].dropna().to_dict() == {3: "the map is zero"}
    assert table["value"][0] == 0.1 + 0.2, "full doubles, not rounded"
    stored = pq.read_table(folder.part("cnn-micro", "saliency", 0))
    assert stored.schema.names == parts.SCHEMA.names
    assert stored.schema.types == parts.SCHEMA.types
    assert stored.column("value").null_count == 1, "undefined is null, not NaN"
    assert not np.isnan(stored.column("value").drop_null().to_numpy()).any()
    assert stored.column("area").null_count == 2
    assert stored.column("reason").null_count == 3
    assert folder.finished("cnn-micro", "saliency", 2) is None
    assert folder.finished("cnn-micro", "gradcam", 0) is None
    assert folder.part("cnn-micro", "saliency", 12) == folder.path / "cnn-micro" / "saliency" / "part-012.parquet"


def test_the_same_rows_give_the_same_bytes(folder: RunFolder, tmp_path: Path) -> None:
    again = RunFolder(tmp_path / "again", MANIFEST)
    again.write("cnn-micro", "saliency", 0, rows(), replace(INFO, explain_seconds=9.0))
    one, two = (f.part("cnn-micro", "saliency", 0) for f in (folder, again))
    assert one.read_bytes() == two.read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_with_an_equals_sign_is_no_column(tmp_path: Path) -> None:
    made = RunFolder(tmp_path / "seed=1" / "fold=9", MANIFEST)
    made.write("cnn-micro", "saliency", 0, rows(), INFO)
    assert list(store.read_rows(made.path)["fold"].unique()) == [5]
    assert made.finished("cnn-micro", "saliency", 0) is not None


def break_scores(path: Path) -> None:
    """Cut the scores in half."""
    path.write_bytes(path.read_bytes()[:200])


def empty_scores(path: Path) -> None:
    """An empty file, as a full disk leaves it."""
    path.write_bytes(b"")


def other_columns(path: Path) -> None:
    """A Parquet file of something else."""
    pq.write_table(pa.table({"x": [1]}), path)


def fewer_columns(path: Path) -> None:
    """Scores of an older version, without the area."""
    pq.write_table(pq.read_table(path).drop_columns(["area"]), path)


def break_info(path: Path) -> None:
    """Half of the info."""
    path.with_suffix(".json").write_text('{"clips": 2, ')


def empty_info(path: Path) -> None:
    """Valid JSON that is no info."""
    path.with_suffix(".json").write_text("[]")


def bare_method(path: Path) -> None:
    """An info that does not say how the method was set."""
    info = path.with_suffix(".json")
    info.write_text(json.dumps(json.loads(info.read_text()) | {"method": {}}))


def one_bit(path: Path) -> None:
    """A flipped bit in what is described as something else."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_scores(path: Path) -> None:
    """Scores that are whole, but of another part."""
    path.write_bytes(path.with_name("part-001.parquet").read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        break_scores,
        empty_scores,
        other_columns,
        fewer_columns,
        break_info,
        empty_info,
        bare_method,
        one_bit,
        other_scores,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_part_counts_as_not_written_and_is_never_read(folder: RunFolder, damage: Any) -> None:
    path = folder.part("cnn-micro", "saliency", 0)
    damage(path)
    assert folder.finished("cnn-micro", "saliency", 0) is None
    assert folder.finished("cnn-micro", "random", 0) is not None
    with pytest.raises(
        ResultsError,
        match=r"part-000\.(parquet|json) (is damaged|does not hold .*) .*; delete it and run again",
    ) as caught:
        store.read_rows(folder.path)
    assert "\n" not in str(caught.value)
    if "info" in damage.__name__ or "method" in damage.__name__:
        with pytest.raises(ResultsError, match=r"part-000\.json is damaged"):
            store.read_costs(folder.path)
    folder.write("cnn-micro", "saliency", 0, rows(), INFO)
    assert len(store.read_rows(folder.path)) == 10


def test_a_part_killed_between_its_two_files_is_not_finished(
    tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = parts.write_atomically, []

    def once(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(parts, "write_atomically", once)
    with pytest.raises(KeyboardInterrupt):
        folder.write("cnn-micro", "gradcam", 0, rows("gradcam"), INFO)
    assert folder.finished("cnn-micro", "gradcam", 0) is None
    assert "gradcam" not in set(store.read_rows(folder.path)["method"])
    assert "gradcam" not in set(store.read_costs(folder.path)["method"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dataset", "esc10"),
        ("dataset_fingerprint", "9"),
        ("folds", (5,)),
        ("limit", 2),
        ("seed", 1),
        ("protocol", "x"),
        ("fill", "mean"),
        ("target", "label"),
    ],
)
def test_another_manifest_is_refused(folder: RunFolder, key: str, value: object) -> None:
    before = (folder.path / store.MANIFEST).read_bytes()
    with pytest.raises(ResultsError, match=f"holds a run with {key} .*choose another --out"):
        RunFolder(folder.path, replace(MANIFEST, **{key: value}))  # type: ignore[arg-type]
    assert (folder.path / store.MANIFEST).read_bytes() == before
    RunFolder(folder.path, MANIFEST)


def test_manifest_round_trip_and_errors(folder: RunFolder, tmp_path: Path) -> None:
    assert store.read_manifest(folder.path) == MANIFEST
    with pytest.raises(ResultsError, match=r"holds no manifest\.json; expected a folder written by 'xaibench run'"):
        store.read_manifest(tmp_path)
    target = folder.path / store.MANIFEST
    for text in ("", "{", "[]", "{}", json.dumps({"folds": [1], "x": 2})):
        target.write_text(text)
        with pytest.raises(ResultsError, match=r"manifest\.json is not a run manifest"):
            store.read_manifest(folder.path)
        with pytest.raises(ResultsError, match=r"manifest\.json is not a run manifest"):
            RunFolder(folder.path, MANIFEST)
    target.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ResultsError, match=r"manifest\.json is not a run manifest"):
        store.read_manifest(folder.path)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultsError, match=r"taken cannot be written .*choose another --out"):
        RunFolder(tmp_path / "taken", MANIFEST)


def test_read_rows(folder: RunFolder, tmp_path: Path) -> None:
    table = store.read_rows(folder.path)
    assert list(table.columns) == parts.SCHEMA.names
    assert len(table) == 10  # 2 metrics of 2 + 1 + 2 clips
    assert set(table["method"]) == {"saliency", "random"}
    assert table["value"].isna().sum() == (table["reason"].notna()).sum()
    empty = RunFolder(tmp_path / "empty", MANIFEST)
    with pytest.raises(ResultsError, match=r"holds no scores yet; finish it with 'xaibench run --out .*empty'"):
        store.read_rows(empty.path)


def test_read_costs_are_per_clip(folder: RunFolder) -> None:
    costs = store.read_costs(folder.path).set_index("method")
    assert list(costs.index) == ["random", "saliency"]
    saliency = costs.loc["saliency"]
    # Two parts of 2 and 1 clips, 1 s and 3 s and 10 forwards each.
    assert saliency["clips"] == 3
    assert saliency["explain_seconds_per_clip"] == pytest.approx(2 / 3)
    assert saliency["score_seconds_per_clip"] == pytest.approx(6 / 3)
    assert saliency["forwards_per_clip"] == pytest.approx(20 / 3)
    assert saliency["peak_memory_bytes"] == 1000
    assert (saliency["native_freq"], saliency["native_time"]) == (8, 16)
    assert not saliency["control"]
    assert costs.loc["random", "control"]
    assert costs.loc["random", "polarity"] == "absolute"
    assert np.isnan(float(costs.loc["random", "peak_memory_bytes"]))
