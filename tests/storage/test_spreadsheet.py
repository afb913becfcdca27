"""CSV files that a spreadsheet may open hold no formulas, and are read as they were written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import xaibench
from xaibench.storage.spreadsheet import csv_bytes, neutral, original, read_csv

HOSTILE = ["=1+1", "+1", "-dog", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "'=1", "''-x"]
HARMLESS = ["dog", "'quoted'", "'", "", "a=b", "5-203128-A-0"]


@pytest.mark.parametrize("text", HOSTILE + HARMLESS)
def test_no_text_is_a_formula_and_each_comes_back(text: str) -> None:
    assert neutral(text)[:1] not in {*"=+-@\t\r\n\uff1d"}
    assert original(neutral(text)) == text
    assert (neutral(text) == text) == (text in HARMLESS)


def test_a_table_keeps_its_numbers_and_types_and_reads_as_it_was(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "=name": ["=1+1", "dog"],
            "gain": [-0.5, np.nan],
            "count": pd.array([-1, None], dtype="Int64"),
            "better": pd.array([True, None], dtype="boolean"),
            "mixed": pd.Series([80, np.nan], dtype=object),
            "none": [None, None],
        }
    )
    written = csv_bytes(table)
    assert written == b"'=name,gain,count,better,mixed,none\n'=1+1,-0.5,-1,True,80,\ndog,,,,,\n"
    (tmp_path / "table.csv").write_bytes(written)
    again = read_csv(tmp_path / "table.csv")
    assert again["=name"].tolist() == ["=1+1", "dog"]
    others = [name for name in table if name != "=name"]
    pd.testing.assert_frame_equal(again[others], pd.read_csv(io.BytesIO(table[others].to_csv(index=False).encode())))


def test_whoever_writes_a_csv_file_writes_it_so() -> None:
    package = Path(xaibench.__file__).parent
    writers = {path.name: path.read_text() for path in package.rglob("*.py")}
    assert [name for name, code in writers.items() if ".to_csv(" in code] == ["spreadsheet.py"]
    assert all("neutral(" in code for name, code in writers.items() if "csv.writer(" in code)
