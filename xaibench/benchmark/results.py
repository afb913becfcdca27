"""What came out of a run: rows, comparison, leaderboard and plots, read from its folder."""

from __future__ import annotations

import io
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from xaibench.benchmark.models import Model
from xaibench.benchmark.naming import as_list
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import ResultsError
from xaibench.reports import boards, plots, style, tables
from xaibench.reports.leaderboard import chosen
from xaibench.results import selection, store
from xaibench.results.archives import pack, unpacked
from xaibench.results.comparison import compare_groups, compared_rows
from xaibench.results.runs import find_runs
from xaibench.results.selection import Group
from xaibench.sound.dataset import Dataset


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

    Args:
        heard: what was scored, where these are the results of this very program.
        others: folders of runs that stand beside it.
    """

    def __init__(
        self,
        path: Path,
        failures: tuple[Failure, ...] = (),
        left_out: Mapping[str, Mapping[str, str]] | None = None,
        temporary: TemporaryDirectory[str] | None = None,
        heard: tuple[Dataset, tuple[LoadedClassifier, ...]] | None = None,
        others: tuple[Path, ...] = (),
    ) -> None:
        self.path, self.failures = path, failures
        self.left_out = dict(left_out or {})
        self._temporary, self._heard, self._others = temporary, heard, others

    @cached_property
    def rows(self) -> pd.DataFrame:
        """One row for each clip, classifier, method, metric and area.

        Raises:
            ResultsError: nothing was scored.
        """
        return self._group.rows().drop(columns="group") if self._others else store.read_rows(self.path)

    def beside(self, *places: str | Path) -> Results:
        """Put the results of other runs beside these: all are compared on the clips that all have scored.

        Args:
            places: run folders, folders with run folders below them, or archives that `publish` wrote.

        Raises:
            ResultsError: no run is there, or the runs may not be compared.
        """
        others = (*self._others, *find_runs(*map(Path, places)))
        joined = Results(self.path, self.failures, self.left_out, self._temporary, self._heard, others)
        if store.parts_of(self.path):
            _ = joined._group  # refused here, and not where somebody draws it
        return joined

    def publish(self, path: str | Path) -> Path:
        """Pack the run into one small file, which others can compare theirs with, as `xaibench publish` does.

        Args:
            path: of the file; `.run.tar.xz` is added.

        Raises:
            ResultsError: nothing was scored, or the file cannot be written.
        """
        return pack(self.path, Path(path))

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
        self,
        kind: Literal["heatmap", "ranks", "agreement", "forest", "distribution", "cost", "curves"] = "heatmap",
        classifier: str | None = None,
        *,
        methods: Sequence[str] = (),
        metrics: Sequence[str] = (),
        width: float = style.WIDTH,
    ) -> Figure:
        """Draw the comparison.

        Args:
            kind: "heatmap": methods by metrics; "ranks": the places that the tests leave open, as a diagram of
                critical differences; "agreement": which metrics place the methods alike; "forest":
                differences in faithfulness to random and to energy;
                "distribution": the clips behind the means of faithfulness; "cost": faithfulness against the time of
                explaining; "curves": faithfulness over the mask's area.
            classifier: draw this one only. None: all; "curves" draws the first.
            methods: draw these only; what is compared stays the same. Empty: all.
            metrics: likewise; of one only, "ranks" is by that.
            width: in inches, such as 3.3 for a column of two.

        Raises:
            ResultsError: nothing was scored, or nothing that this plot shows.
        """
        lines = chosen(self._comparison, [] if classifier is None else [classifier], methods, metrics)
        return plots.draw(kind, plots.rows_behind(compared_rows([self._group]), lines), lines, width=width)

    def report(
        self,
        path: str | Path = "report.html",
        *,
        data: Dataset | None = None,
        model: Model | Sequence[Model] | None = None,
        clips: int = 30,
        seed: int = 0,
        folder: bool = False,
        title: str | None = None,
        device: str = "auto",
        progress: bool = True,
    ) -> Path:
        """Write a report that one can read and hear, as `xaibench report` does; what it lacks is warned of.

        Args:
            path: of the HTML file, or of the folder.
            data: the sound. None: that of `evaluate`; of results that were loaded, that of a dataset without a folder.
            model: whose clips are shown: a classifier, its name, a checkpoint folder, or several. None: the first.
            clips: most clips to show.
            seed: of those that are drawn at random.
            folder: write a folder whose page loads clips one by one, for many clips.
            title: of the page.
            device: of models that are named, for maps that the run has not kept.
            progress: whether a progress bar is shown.

        Returns:
            The page.

        Raises:
            ResultsError: nothing was scored.
        """
        from xaibench.benchmark import reporting

        group, (known, loaded) = self._group, self._heard or (None, ())
        config = reporting.ReportConfig(
            data=data or known,
            models=() if model is None else as_list(model, "model"),
            loaded=loaded,
            clips=clips,
            seed=seed,
            device=device,
            title=title,
            folder=folder,
            progress=progress,
        )
        written = reporting.write_report([group], Path(path), config)
        for sentence in written.missing:
            warnings.warn(sentence, stacklevel=2)
        return written.page

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
        found = selection.group([self.path, *self._others])
        if len(found) > 1:
            names = "; ".join(f"{one.name} ({', '.join(map(str, one.runs))})" for one in found)
            raise ResultsError(
                f"these runs may not stand in one table: {names}; they differ in what their names say, or score "
                "a method twice"
            )
        return found[0]

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


def load_results(place: str | Path) -> Results:
    """Read the results of a run, written by `xaibench.evaluate` or `xaibench run`.

    Args:
        place: the run folder, or the archive that `xaibench publish` made of it.

    Raises:
        ResultsError: no run is there.
    """
    folder = unpacked(Path(place)) if Path(place).is_file() else Path(place)
    store.read_manifest(folder)
    return Results(folder)
