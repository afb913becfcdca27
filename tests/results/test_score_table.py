"""Scores as arrays: what pandas makes of the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.made_up_runs import write_run
from xaibench.results.score_table import CELL, LINE, NO_AREA, score_table
from xaibench.results.selection import Group, classified_right, group

FF, FF20, SPS = ("faithfulness", 0.1), ("faithfulness", 0.2), ("sparseness", None)


def noise(seed: int, clips: int, undefined: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.where(draw.random(clips) < undefined, np.nan, draw.random(clips))


@pytest.fixture
def made(tmp_path: Path) -> Group:
    """Methods of 40 and 33 clips, with soft masks, metrics without an area and values that are undefined."""
    methods = {
        "random": {FF: noise(0, 40), SPS: noise(1, 40)},
        "a": {FF: noise(2, 40, 0.3), FF20: noise(3, 40), SPS: noise(4, 40)},
        "a-soft": {("fidelity_in", None): noise(5, 40)},
        "b": {FF: noise(6, 33), FF20: noise(7, 33, 0.2)},
    }
    (found,) = group([write_run(tmp_path / "run", methods)])
    return found


def long(made: Group) -> pd.DataFrame:
    return made.rows().assign(area=lambda rows: rows["area"].fillna(NO_AREA))


def test_every_score_is_in_its_place(made: Group) -> None:
    table, rows = score_table(made.parts), long(made)
    lines = pd.MultiIndex.from_frame(table.lines)
    wide = rows.set_index([*LINE, "clip"])["value"].unstack("clip")
    assert list(wide.index) == list(lines) and list(wide.columns) == list(table.clips)
    np.testing.assert_array_equal(table.values, wide.to_numpy(float))
    counted = rows.groupby([*LINE, "clip"]).size().unstack("clip", fill_value=0)
    np.testing.assert_array_equal(table.scored, counted.to_numpy() == 1)
    np.testing.assert_array_equal(
        table.recordings, rows.drop_duplicates("clip").set_index("clip")["src_file"][table.clips]
    )
    right = rows.set_index([*LINE, "clip"])["correct"].astype(float).unstack("clip")
    np.testing.assert_array_equal(table.correct, right.to_numpy())


def test_cells_keep_the_clips_that_all_methods_have(made: Group) -> None:
    whole, rows = score_table(made.parts), long(made)
    table, comparable = whole.shared()
    assert comparable.all()
    methods = rows.groupby(CELL)["method"].transform("nunique")
    kept = rows[rows.groupby([*CELL, "clip"])["method"].transform("size") == methods]
    np.testing.assert_array_equal(table.scored.sum(axis=1), kept.groupby(LINE).size())
    expected = kept.groupby(LINE).agg(correct=("correct", "mean"), recordings=("src_file", "nunique"))
    found = table.summary()
    np.testing.assert_allclose(found["accuracy"], expected["correct"].astype(float))
    np.testing.assert_array_equal(found["recordings"], expected["recordings"])
    known = rows.groupby(CELL)["clip"].nunique().reindex(pd.MultiIndex.from_frame(whole.lines[CELL])).to_numpy()
    counts = whole.counts()
    np.testing.assert_array_equal(counts["clips"], rows.groupby(LINE).size())
    np.testing.assert_array_equal(counts["missing"], known - counts["clips"])


def test_methods_without_a_common_clip_keep_their_own(tmp_path: Path) -> None:
    parts = []
    for name, first in (("a", 0), ("b", 100)):
        (one,) = group([write_run(tmp_path / name, {name: {FF: noise(first, 20)}}, first_clip=first)])
        parts += one.parts
    table, comparable = score_table(parts).shared()
    assert not comparable.any() and table.scored.sum() == 40


def test_clips_that_are_left_out_are_not_there(made: Group) -> None:
    (right,) = classified_right([made])
    table, rows = score_table(right.parts), long(right)
    assert list(table.clips) == sorted(set(rows["clip"])) and len(table.clips) < 40
