"""The diagram of places: bars are the board's own ties, whatever the width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.reports.test_plots import METHODS, make_comparison, make_rows, texts
from tests.support.command_line import Command
from tests.support.made_up_runs import AD, FF, Scores, noise, write_run
from xaibench.errors import ResultsError
from xaibench.reports import plots
from xaibench.reports.ranks import cliques, ranks
from xaibench.results.comparison import at_primary_area


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    """The first two are tied, the second and the last three, and the first with the fourth over the third's head."""
    tied = {0: [1, 3], 1: [0, 2, 3], 2: [1, 3, 4], 3: [0, 1, 2, 4], 4: [2, 3]}
    names = {METHODS[i]: ";".join(METHODS[j] for j in others) for i, others in tied.items()}
    found = at_primary_area(make_comparison(make_rows(METHODS)))
    places = {name: i + 1 for i, name in enumerate(METHODS)}
    own = found["method"].map(places)
    return found.assign(tied_with=found["method"].map(names), rank=own, rank_low=1, rank_high=own)


def test_a_bar_joins_those_of_which_no_two_are_told_apart(lines: pd.DataFrame) -> None:
    expected = [[0, 1, 3], [1, 2, 3], [2, 3, 4]]
    tied = {line["method"]: set(line["tied_with"].split(";")) for line in lines.to_dict("records")}
    assert cliques(tied, METHODS) == [[METHODS[i] for i in one] for one in expected]
    assert cliques({"a": set(), "b": set()}, ["a", "b"]) == []
    axis = ranks(lines).axes[0]
    bars = [line for line in axis.lines if np.ptp(line.get_ydata()) > 0]
    assert [list(line.get_ydata()) for line in bars] == expected
    assert len({line.get_xdata()[0] for line in bars}) == 3, "bars that overlap stand beside each other"


@pytest.mark.parametrize("width", [3.3, 7.0])
def test_a_figure_is_as_wide_as_asked_and_nothing_sticks_out(lines: pd.DataFrame, width: float) -> None:
    figure = ranks(lines, width)
    found = texts(figure)
    assert {*METHODS, "25%"} <= set(found) and any("12 clips of 12 recordings" in text for text in found)
    assert figure.get_figwidth() <= width
    box = figure.get_tightbbox()
    assert box.x0 >= -0.01 and box.x1 <= width + 0.01


def test_one_metric_that_is_chosen_is_drawn_and_without_places_there_is_no_figure(lines: pd.DataFrame) -> None:
    chosen = lines[lines["metric"] == "sparseness"]
    assert any("place by SPS ↑" in text for text in texts(plots.draw("ranks", make_rows(METHODS), chosen)))
    with pytest.raises(ResultsError, match="no ranks"):
        plots.draw("ranks", make_rows(METHODS), lines.assign(rank=np.nan))


def test_a_figure_of_chosen_methods_is_written_with_its_caption(xaibench: Command, tmp_path: Path) -> None:
    methods: dict[str, Scores] = {
        name: {FF: noise(i, 0.1 * i), AD: noise(i, 9.0)} for i, name in enumerate(["random", "a", "b", "c"])
    }
    run = write_run(tmp_path / "run", methods)
    done = xaibench("plot", "ranks", run, "--out", "figures", "--methods", "a,b,c", "--metrics", "ad", "--width", "3.3")
    assert done.code == 0, done.err
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    assert files == {f"ranks-synth.{suffix}" for suffix in ("pdf", "png", "txt")}
    caption = (tmp_path / "figures" / "ranks-synth.txt").read_text()
    assert caption.startswith("Places of the methods") and "place by AD ↓" in caption and "25 recordings" in caption
    assert "no metric FFF was scored; there are" in xaibench("plot", "ranks", run, "--metrics", "FFF").err
    assert "there is no plot 'pie'" in xaibench("plot", "pie", run).err
