"""The forest of differences to the controls: numbers, verdicts, and when there is none."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from tests.reports.test_plots import make_comparison, make_rows
from xaibench.errors import ResultsError
from xaibench.reports import plots, style
from xaibench.reports.forest import can_compare, forest
from xaibench.results.comparison import at_primary_area

METHODS = ["occlusion", "saliency", "gradcam", "uniform", "random"]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rows = make_rows(METHODS)
    same = rows["method"] == "gradcam"  # as good as random, but for chance
    at_random = rows[rows["method"] == "random"]["value"].to_numpy()
    rows.loc[same, "value"] = at_random + np.tile([0.012, -0.008], len(at_random) // 2)
    return rows


@pytest.fixture(scope="module")
def lines(rows: pd.DataFrame) -> pd.DataFrame:
    return at_primary_area(make_comparison(rows))


def points(figure: Figure) -> dict[str, tuple[float, bool]]:
    """Difference to random, and whether it is told from 0, of each method of the first panel."""
    axis = figure.axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    drawn = [line for line in axis.lines if line.get_marker() == "o" and line.get_color() == style.BLUE]
    return {
        names[round(float(np.ravel(line.get_ydata())[0]) + 0.17)]: (
            float(np.ravel(line.get_xdata())[0]),
            to_rgba(line.get_markerfacecolor()) == to_rgba(style.BLUE),
        )
        for line in drawn
    }


def test_differences_are_paired_and_hollow_where_the_board_tells_nothing_apart(
    rows: pd.DataFrame, lines: pd.DataFrame
) -> None:
    panel = (lines["classifier"] == "cnn-micro") & (lines["metric"] == "faithfulness")
    lines.loc[panel & (lines["method"] == "gradcam"), "tied_with"] = "random"
    found = points(forest(rows, lines))
    own = rows[(rows["classifier"] == "cnn-micro") & (rows["metric"] == "faithfulness") & (rows["area"] == 0.1)]
    means = own.groupby("method")["value"].mean()
    assert list(found) == ["occlusion", "saliency", "gradcam"], "no control, best first"
    for name, (difference, told) in found.items():
        assert difference == pytest.approx(means[name] - means["random"])
        assert told == (name != "gradcam")


def test_few_recordings_have_no_intervals(rows: pd.DataFrame, lines: pd.DataFrame) -> None:
    few = rows[rows["src_file"].isin(sorted(set(rows["src_file"]))[:4])]
    figure = forest(few, lines)
    assert not any(told for _, told in points(figure).values())
    assert figure._supxlabel is not None and "fewer than 8 recordings" in figure._supxlabel.get_text()
    drawn = np.concatenate([np.ravel(line.get_xdata()) for axis in figure.axes for line in axis.lines])
    assert np.nanmax(np.abs(drawn.astype(float))) < 1.5, "nothing stretches the axis"


def test_there_is_none_without_a_control(rows: pd.DataFrame, lines: pd.DataFrame) -> None:
    bare = lines[lines["method"] != "random"]
    assert can_compare(lines) and not can_compare(bare)
    with pytest.raises(ResultsError, match="add random to the methods"):
        plots.draw("forest", rows, bare)
