"""The scores of one classifier as arrays: a row for each method, metric and area, a column for each clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from xaibench.results.parts import Part
from xaibench.results.resampling import Floats

LINE = ["metric", "area", "mask", "method"]
CELL = ["metric", "area", "mask"]  # what methods are compared by
NO_AREA = -1.0  # the area of metrics and masks that have none: unlike NaN it equals itself
_READ = ["clip", "src_file", "correct", "method", "mask", "metric", "area", "value"]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one classifier; lines and clips are sorted.

    Attributes:
        lines: columns as in LINE, in the order of the rows of the arrays.
        clips: (clips,), their names.
        recordings: (clips,), the recording that each was cut from.
        values: (lines, clips), NaN where undefined or not scored.
        scored: (lines, clips), whether the method has scored the clip, defined or not.
        correct: (lines, clips), 1 where the classifier was right when the clip was scored, 0 where it was not, NaN
            where it knows no label of it.
    """

    lines: pd.DataFrame
    clips: NDArray[np.str_]
    recordings: NDArray[np.str_]
    values: Floats
    scored: NDArray[np.bool_]
    correct: NDArray[np.float16]

    def cells(self) -> list[NDArray[np.intp]]:
        """List the lines that are compared with each other."""
        found = self.lines.groupby(CELL, sort=True).indices
        return [np.asarray(index) for index in found.values()]

    def shared(self) -> tuple[ScoreTable, NDArray[np.bool_]]:
        """Keep of each cell the clips that all of its methods have scored, or all clips where there is no such clip.

        Returns:
            The table without clips of which nothing is kept; and whether each line is of shared clips.
        """
        kept, comparable = np.zeros_like(self.scored), np.zeros(len(self.lines), bool)
        for index in self.cells():
            own = self.scored[index]
            by_all = own.all(axis=0)
            comparable[index] = by_all.any()
            kept[index] = own & by_all if by_all.any() else own
        clips = np.asarray(kept.any(axis=0))
        values = np.where(kept, self.values, np.nan)
        found = ScoreTable(
            lines=self.lines,
            clips=self.clips[clips],
            recordings=self.recordings[clips],
            values=values[:, clips],
            scored=kept[:, clips],
            correct=self.correct[:, clips],
        )
        return found, comparable

    def counts(self) -> pd.DataFrame:
        """Count for each line the clips that it has, and those that it lacks and others of its cell have."""
        clips, missing = self.scored.sum(axis=1), np.zeros(len(self.lines), np.int64)
        for index in self.cells():
            missing[index] = self.scored[index].any(axis=0).sum() - clips[index]
        return pd.DataFrame({"clips": clips, "missing": missing})

    def summary(self) -> pd.DataFrame:
        """Say of each line how many scores and recordings it has, and the share of them that was classified right."""
        known = self.scored & ~np.isnan(self.correct)
        right = np.where(known, self.correct, 0).sum(axis=1, dtype=float)
        order = np.argsort(self.recordings, kind="stable")
        starts = np.unique(self.recordings[order], return_index=True)[1]
        there = np.logical_or.reduceat(self.scored[:, order], starts, axis=1)
        n = known.sum(axis=1)
        return pd.DataFrame(
            {
                "accuracy": np.divide(right, n, out=np.full(len(n), np.nan), where=n > 0),
                "size": self.scored.sum(axis=1),
                "recordings": there.sum(axis=1),
            }
        )


def score_table(parts: Iterable[Part]) -> ScoreTable:
    """Arrange the scores of one classifier's parts, of which no two have the same line and clip."""
    rows = pa.concat_tables([part.table.select(_READ) for part in parts]).unify_dictionaries()
    clips, clip = _sorted(rows["clip"])
    words = {name: _sorted(rows[name]) for name in ("metric", "mask", "method")}
    areas, area = np.unique(rows["area"].fill_null(NO_AREA).to_numpy(), return_inverse=True)
    shape = len(words["metric"][0]), len(areas), len(words["mask"][0]), len(words["method"][0])
    place = np.ravel_multi_index((words["metric"][1], area, words["mask"][1], words["method"][1]), shape)
    there = np.bincount(place, minlength=int(np.prod(shape))) > 0
    metric_of, area_of, mask_of, method_of = np.unravel_index(np.flatnonzero(there), shape)
    lines = pd.DataFrame(
        {
            "metric": words["metric"][0][metric_of],
            "area": areas[area_of],
            "mask": words["mask"][0][mask_of],
            "method": words["method"][0][method_of],
        }
    )
    line = (np.cumsum(there) - 1)[place]
    size = len(lines), len(clips)
    values, correct = np.full(size, np.nan), np.full(size, np.nan, np.float16)
    scored = np.zeros(size, bool)
    scored[line, clip] = True
    values[line, clip] = rows["value"].to_numpy()
    correct[line, clip] = rows["correct"].cast(pa.float32()).to_numpy()
    recordings, recording = _sorted(rows["src_file"])
    of_clip = np.empty(len(clips), np.intp)
    of_clip[clip] = recording
    return ScoreTable(lines, clips, recordings[of_clip], values, scored, correct)


def _sorted(column: pa.ChunkedArray) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    """Return the words that occur in a column, sorted, and the place among them of each row's word."""
    encoded = column.dictionary_encode().combine_chunks()
    codes = encoded.indices.to_numpy()
    # Where rows were filtered, the dictionary has words that no row has.
    used = np.flatnonzero(np.bincount(codes, minlength=len(encoded.dictionary)))
    words = np.array(encoded.dictionary.take(pa.array(used)).to_pylist(), dtype=str)
    order = np.argsort(words)
    place = np.empty(len(encoded.dictionary), np.intp)
    place[used[order]] = np.arange(len(used))
    return words[order], place[codes]
