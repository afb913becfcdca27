"""docs/columns.md explains every column of the files that are written, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support.made_up_maps import RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF, noise, write_run
from xaibench.papers import page
from xaibench.reports.leaderboard import wide
from xaibench.results import comparison, parts
from xaibench.sound import events

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "columns.md").read_text()
TYPES = {pa.string(): "text", pa.bool_(): "true or false", pa.int16(): "integer", pa.float64(): "number"}


def explained(heading: str) -> dict[str, str]:
    """Columns of the table below a heading, with their types; a row may have several."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    found = [(name, kind) for names, kind, _, meaning in rows for name in re.findall(r"`(\w+)`", names) if meaning]
    assert len(found) == len(dict(found)), "a column stands there twice"
    return dict(found)


def test_of_rows() -> None:
    assert explained("Rows") == {field.name: TYPES[field.type] for field in parts.SCHEMA}


def test_of_a_comparison() -> None:
    assert list(explained("comparison.csv")) == list(dict.fromkeys(comparison.COLUMNS))


def test_of_a_leaderboard(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"a": {FF: noise(1)}, "random": {FF: noise(2)}})
    written = wide(comparison.compare([run]), "synth").columns
    assert set(explained("leaderboard")) == {name.replace("faithfulness", "METRIC") for name in written}


def test_of_a_validation() -> None:
    probes = {"saliency": 0.8, "uniform": 0.0, "random": 0.0}
    lines = assessed(rows_of({FF: RIGHT, ("max_sensitivity", np.nan): probes}))
    maps = "|".join([*RIGHT, "saliency"])
    general = [re.sub(rf"^({maps})_over_({maps})", "A_over_B", name) for name in lines]
    assert set(explained("validation")) == {re.sub(rf"^({maps})(?=$|_low|_high)", "MAP", name) for name in general}


def test_of_a_paper_and_of_events() -> None:
    assert set(explained("PAPER.csv")) == set(page.COLUMNS)
    assert set(explained("Events")) == set(events.COLUMNS)


@pytest.mark.parametrize(
    ("heading", "files"),
    [("Orders", ["orders-esc10", "orders-esc10-elements"]), ("Changes of orders", ["orders-esc10-changes"])],
)
def test_of_the_orders(heading: str, files: list[str]) -> None:
    for file in files:
        assert set(explained(heading)) == set(pd.read_csv(ROOT / "results" / f"{file}.csv", nrows=0))
