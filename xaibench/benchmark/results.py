"""What came out of a run: rows, comparison, leaderboard and plots, read from its folder."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from xaibench.errors import ResultsError
from xaibench.reports import boards, plots, tables
from xaibench.results import selection, store
from xaibench.results.comparison import compare_groups, compared_rows
from xaibench.results.selection import Group


@dataclass(frozen=True)
class Failure:
    """A method, or one metric of it, that failed on a classifier.

    Attributes:
        metric: that failed; "" where the method itself did.
        reason: one line.
        traceback: as far as it is known.
    """

    classifier: str
    method: str
    metric: str
    reason: str
    traceback: str = ""


class Leaderboard:
    """Leaderboards, one for each classifier; they print as tables, in notebooks as HTML.

    Attributes:
        tables: the boards.
    """

    def __init__(self, boards: tuple[tables.Table, ...]) -> None:
        self.tables = boards

    def __str__(self) -> str:
        """As wide as the terminal; whole where there is none."""
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        remedy = "a notebook shows all; leaderboard(metric=...) shows one"
        shown = [one if width is None else one.fit(width, remedy) for one in self.tables]
        written = io.StringIO()
        for one in tables.say_once(shown):
            console = Console(file=written, width=max(width or 0, one.width), highlight=False, emoji=False)
            console.print(tables.terminal(one))
        return written.getvalue()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "\n".join(map(tables.html, tables.say_once(self.tables)))


class Results:
    """The scores of a run folder.

    Attributes:
        path: the run folder. A temporary one lives as long as this object.
        failures: what failed; the rest is there.
        left_out: methods that make no sense for a classifier, by classifier, with the reasons.
    """

    def __init__(
        self,
        path: Path,
        failures: tuple[Failure, ...] = (),
        left_out: Mapping[str, Mapping[str, str]] | None = None,
        temporary: TemporaryDirectory[str] | None = None,
    ) -> None:
        self.path, self.failures = path, failures
        self.left_out = dict(left_out or {})
        self._temporary = temporary

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row for each clip, classifier, method, metric and area.

        Raises:
            ResultsError: nothing was scored.
        """
        return store.read_rows(self.path)

    def comparison(self) -> pd.DataFrame:
        """Compare the methods: one line for each classifier, method, metric and area, as `xaibench compare` writes it.

        Raises:
            ResultsError: nothing was scored.
        """
        return self._comparison.copy()

    def leaderboard(self, metric: str | None = None, classifier: str | None = None) -> Leaderboard:
        """Make the leaderboards.

        Args:
            metric: show this one only, and sort by it. None: all, sorted by faithfulness where it was scored.
            classifier: show this one only. None: all.

        Raises:
            ResultsError: nothing was scored, or not by this metric or on this classifier.
        """
        lines = self._chosen(classifier, metric)
        return Leaderboard(tuple(boards.boards(lines, self._group.name).values()))

    def plot(
        self, kind: Literal["heatmap", "distribution", "cost", "curves"] = "heatmap", classifier: str | None = None
    ) -> Figure:
        """Draw the comparison.

        Args:
            kind: "heatmap": methods by metrics; "distribution": the clips behind the means of faithfulness; "cost":
                faithfulness against the time of explaining; "curves": faithfulness and others over the mask's area.
            classifier: draw this one only. None: all; "curves" draws the first.

        Raises:
            ResultsError: nothing was scored, or nothing that this plot shows.
        """
        lines = self._chosen(classifier, None)
        rows = compared_rows([self._group])
        return plots.draw(kind, rows[rows["classifier"].isin(set(lines["classifier"]))], lines)

    def __repr__(self) -> str:
        if not store.parts_of(self.path):
            return f"Results({self.path}: no scores)"
        failed = f", {len(self.failures)} failed" if self.failures else ""
        lines = self._comparison
        counts = ", ".join(f"{lines[what].nunique()} {what}(s)" for what in ("method", "classifier", "metric"))
        return f"Results({self.path}: {counts}{failed})"

    def _repr_html_(self) -> str:
        if not store.parts_of(self.path):
            return tables.html_text(repr(self))
        return self.leaderboard()._repr_html_() + tables.html_text(repr(self))

    @cached_property
    def _group(self) -> Group:
        if self.failures and not store.parts_of(self.path):
            first = self.failures[0]
            raise ResultsError(
                f"nothing was scored: {first.method} on {first.classifier} failed ({first.reason}); results.failures "
                "has all that failed"
            )
        (group,) = selection.group([self.path])
        return group

    @cached_property
    def _comparison(self) -> pd.DataFrame:
        return compare_groups([self._group])

    def _chosen(self, classifier: str | None, metric: str | None) -> pd.DataFrame:
        lines = self._comparison
        for column, value in (("classifier", classifier), ("metric", metric)):
            known = sorted(set(lines[column]))
            if value is not None and value not in known:
                raise ResultsError(f"no {column} {value} was scored; there are {', '.join(known)}")
            lines = lines if value is None else lines[lines[column] == value]
        return lines


def load_results(folder: str | Path) -> Results:
    """Read the results of a run folder, written by `xaibench.evaluate` or `xaibench run`.

    Raises:
        ResultsError: the folder holds no run.
    """
    store.read_manifest(Path(folder))
    return Results(Path(folder))
