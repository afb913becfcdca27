"""`verify` finds what is wrong with a run folder, and nothing where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.made_up_runs import FF, SPS, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.comparison import compare
from xaibench.results.parts import PART_CLIPS, PartInfo, frame, read_part, write_part
from xaibench.results.verify import verify


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """One part of a method and one of a control."""
    scores = {
        "good": {FF: noise(1, 0.5, PART_CLIPS), SPS: noise(2, 0.5, PART_CLIPS)},
        "random": {FF: noise(3, 0.0, PART_CLIPS), SPS: noise(4, 0.3, PART_CLIPS)},
    }
    return write_run(tmp_path / "run", scores)


def test_a_run_as_it_was_written_is_as_it_should_be(run: Path) -> None:
    found = verify(run)
    assert found.findings == ()
    assert (found.parts, found.pairs) == (2, 2)


def test_classifiers_may_hear_at_different_rates(run: Path) -> None:
    far = write_run(run, {"good": {FF: noise(1, 0.5, PART_CLIPS), SPS: noise(2, 0.5, PART_CLIPS)}}, classifier="far")
    part = next(far.glob("far/good/*.json"))
    info = json.loads(part.read_text())
    part.write_text(json.dumps(info | {"audio_sha256": dict.fromkeys(info["audio_sha256"], "b")}))
    assert any("is of other sound" in one for one in verify(run).findings)
    other = info | {"audio_sha256": dict.fromkeys(info["audio_sha256"], "b"), "sample_rate": 32_000}
    part.write_text(json.dumps(other))
    assert not any("is of other sound" in one for one in verify(run).findings)


def change(run: Path, edit: Callable[[pd.DataFrame], Any]) -> None:
    """Write a part again with other rows, hash and all, as a careful forger would."""
    path = run / "cnn-micro" / "good" / "part-000.parquet"
    table, info = read_part(path)
    rows = frame([table])
    edit(rows)
    write_part(path, rows, info)


def value(number: float) -> Callable[[pd.DataFrame], Any]:
    def edit(rows: pd.DataFrame) -> None:
        rows.loc[rows["metric"] == "faithfulness", "value"] = number

    return edit


def cell(column: str, content: Any) -> Callable[[pd.DataFrame], Any]:
    def edit(rows: pd.DataFrame) -> None:
        rows.loc[0, column] = content

    return edit


def half(rows: pd.DataFrame) -> None:
    rows.drop(index=range(10), inplace=True)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (value(55.0), "faithfulness is 55, which is not within [-1, 1]"),
        (value(float("inf")), "a value is infinite"),
        (value(float("nan")), "a value and a reason for having none exclude each other"),
        (cell("correct", True), "correct does not say whether label and prediction are the same"),
        (cell("predicted", "bird"), "the same clip has two labels"),
        (half, "a metric has not all clips"),
        (cell("method", "better"), "the method of its rows is"),
        (cell("protocol", "mine"), "the protocol of its rows is"),
        (cell("fill", "mean"), "the fill of its rows is"),
        (cell("target", "label"), "the target of its rows is"),
        (cell("audible_share", 1.5), "audible_share is not between 0 and 1"),
        (cell("p_fill", None), "nothing in the column p_fill"),
        (cell("dataset", None), "nothing in the column dataset"),
        (cell("metric", "sparseness"), "a metric has not all clips"),
        (cell("area", 7.0), "an area is not between 0 and 1"),
    ],
)
def test_what_is_malformed_is_found_and_never_compared(
    run: Path, edit: Callable[[pd.DataFrame], Any], words: str
) -> None:
    change(run, edit)
    findings = verify(run).findings
    assert any(words in line for line in findings), findings
    assert all("\n" not in line for line in findings)
    with pytest.raises(ResultsError, match=r"is malformed .*'xaibench verify") as caught:
        compare([run])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [0.05, 0.3, 0.5, 0.9])
def test_a_single_bit_is_noticed(run: Path, place: float) -> None:
    path = run / "cnn-micro" / "good" / "part-000.parquet"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 16
    path.write_bytes(data)
    assert len(verify(run).findings) == 1
    with pytest.raises(ResultsError):
        compare([run])


def test_what_is_missing_or_strange_is_found(run: Path) -> None:
    folder = run / "cnn-micro" / "good"
    (folder / "part-000.json").rename(folder / "part-002.json")
    (folder / "part-000.parquet").rename(folder / "part-002.parquet")
    (folder / "notes.txt").write_text("mine")
    (run / "cnn-micro" / "random" / "part-000.json").unlink()
    findings = "\n".join(verify(run).findings)
    assert "cnn-micro/good/notes.txt: it is no part of a run" in findings
    assert "cnn-micro/good: 1 of 1 parts are not there (part 0, ...)" in findings
    assert "cnn-micro/random/part-000.parquet: it has no description" in findings


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="holds no manifest"):
        verify(tmp_path)


def test_parts_are_in_the_order_of_their_numbers(run: Path) -> None:
    folder = run / "cnn-micro" / "good"
    for number in ("001", "010", "999", "1000", "1001"):
        for suffix in ("parquet", "json"):
            (folder / f"part-{number}.{suffix}").write_bytes((folder / f"part-000.{suffix}").read_bytes())
    stems = [path.stem for path in store.parts_of(run) if path.parent == folder]
    assert stems == [f"part-{number}" for number in ("000", "001", "010", "999", "1000", "1001")]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"clips": "many"}', '{"method": {}}', "\x00\x01"])
def test_a_hostile_description_is_one_line(run: Path, content: str) -> None:
    (run / "cnn-micro" / "good" / "part-000.json").write_text(content)
    (finding,) = verify(run).findings
    assert "is damaged" in finding and "\n" not in finding


def test_the_hash_is_of_the_file(run: Path) -> None:
    path = run / "cnn-micro" / "good" / "part-000.parquet"
    described = json.loads(path.with_suffix(".json").read_text())
    assert len(described["scores_sha256"]) == 64
    assert isinstance(read_part(path)[1], PartInfo)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ResultsError, match=r"part-000\.parquet"):
        read_part(path)


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        *(("explain_seconds", seconds) for seconds in (-1.0, float("nan"), float("inf"))),
        ("peak_memory_bytes", 10**400),
        ("forwards", -1),
    ],
)
def test_costs_that_cannot_be_are_found_and_never_compared(run: Path, name: str, cost: float) -> None:
    path = run / "cnn-micro" / "good" / "part-000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: cost}))
    assert any("expected a number from 0" in line or "is damaged" in line for line in verify(run).findings)
    with pytest.raises(ResultsError):
        compare([run])
