"""Tables, figure, page and leaderboard name the metrics that fail, for the classifiers of which it is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from tests.support.made_up_maps import CLIPS, RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF, noise, write_run
from xaibench.errors import ResultsError
from xaibench.reports import boards
from xaibench.reports.heatmap import heatmap
from xaibench.reports.marks import OPEN, REVERSED, marks_at, read_marks
from xaibench.results.comparison import at_primary_area, compare_groups
from xaibench.results.selection import Group, group
from xaibench.validation import assess, report
from xaibench.validation import figure as figure_module

AG = ("average_gain", 0.1)
TURNED = {name: -mean for name, mean in RIGHT.items()}
VERDICTS = [assess.ORDERS, assess.REVERSES, assess.NOT_SHOWN, assess.NOT_JUDGED]


@pytest.fixture(scope="module")
def assessment() -> pd.DataFrame:
    noisy = dict.fromkeys(RIGHT, 5.0)
    scores = {FF: RIGHT, AG: TURNED, ("fidelity_in", 0.1): noisy}
    scores |= {("relevance_rank", np.nan): RIGHT, ("sparseness", np.nan): RIGHT}
    scores |= {("max_sensitivity", np.nan): {"saliency": 0.8, "uniform": 0.0, "random": 0.0}}
    scores |= {("faithfulness", 0.4): noisy}
    better = scores | {AG: RIGHT}
    return assessed(pd.concat([rows_of(scores), rows_of(better, classifier="vit-micro", seed=1)], ignore_index=True))


def test_tables_and_summary_name_the_failures(assessment: pd.DataFrame, tmp_path: Path) -> None:
    said = dict(line.split(": ", 1) for line in report.summary(assessment))
    assert list(said) == [*VERDICTS, "by construction, shown apart"]
    assert said[assess.ORDERS] == "FF ↑, AG ↑ (vit-micro)"
    assert said[assess.REVERSES] == "AG ↑ (cnn-micro), Max-Sens ↓"
    assert said["by construction, shown apart"] == "Rank ↑"
    maps, probes = report.tables_of(assessment, "cnn-micro")
    assert {row.name: row.cells[-2].text for row in maps.rows} == {
        "FF ↑": "orders",
        "Fid-In ↑": f"not shown{OPEN}",
        "AG ↑": f"reverses{REVERSED}",
        "SPS ↑": "",
        "Rank ↑": "orders",
    }
    apart = [(row.name, row.apart, row.control) for row in maps.rows if row.apart or row.control]
    assert apart == [("SPS ↑", False, True), ("Rank ↑", True, False)]
    assert maps.rows[0].cells[-1].text == "40%: not shown"
    assert any(note.startswith("§ AG ↑: random > oracle") for note in maps.notes)
    assert probes.columns[:3] == ("saliency", "uniform", "random") and probes.rows[0].cells[-2].text == "reverses§"
    paths = report.write(assessment, tmp_path / "new")
    names = [f"validation-synth.{suffix}" for suffix in ("csv", "md", "png", "pdf")]
    assert [path.name for path in paths] == [*names, "validation.md"]
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], keep_default_na=True)[["metric"]], assessment[["metric"]])
    text = paths[1].read_text()
    assert "| Metric | oracle |" in text and "| *Not judged* |" in text and f"{CLIPS} recordings" in text
    again = report.write(assessment, tmp_path / "again")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again, strict=True))
    assert b"/CIDFontType2" in paths[3].read_bytes()  # text, not the shapes of letters, which publishers refuse


def test_the_page_of_all_datasets_says_which_metrics_hold_where(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assessment.to_csv(tmp_path / "validation-synth.csv", index=False)
    assessment.assign(dataset="other").to_csv(tmp_path / "validation-other.csv", index=False)
    page = report.overview(tmp_path)
    assert page.columns == ("other", "synth")
    cells = {row.name: row.cells[0].text for row in page.rows}
    assert cells["FF ↑"] == "orders" and cells["AG ↑"] == "orders (vit-micro); reverses (cnn-micro)"
    assert "SPS ↑" not in cells and [row.name for row in page.rows if row.apart] == ["Rank ↑"]
    with pytest.raises(ResultsError, match="holds no validation"):
        report.overview(tmp_path / "nowhere")


def test_the_figure_marks_what_fails_where_it_fails(assessment: pd.DataFrame) -> None:
    figure = figure_module.validation(at_primary_area(assessment))
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert {"FF ↑", "AG ↑", "SPS ↑", "1  cnn-micro", "2  vit-micro", "saliency", *RIGHT} <= set(texts)
    marks = [sorted(text.get_text() for text in axis.texts) for axis in figure.axes]
    assert marks == [[OPEN, REVERSED, REVERSED], [OPEN, REVERSED], [], ["by construction", "not judged"]]
    # The oracle is drawn at the best end of a metric that sees the order, at its own height.
    black = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert float(np.ravel(black[0].get_xdata())[0]) == pytest.approx(1)


def runs(
    folder: Path, protocol: str = "standard-2", sha256: str = "sha of cnn-micro", dataset: str = "synth"
) -> list[Group]:
    """Runs of cnn-micro by two metrics, with the weights and protocol of `assessed`."""
    methods = {name: {FF: noise(i), AG: noise(i, 0.5)} for i, name in enumerate(("a", "random"))}
    return group([write_run(folder, methods, protocol=protocol, sha256=sha256, dataset=dataset)])


def test_the_legend_of_the_figure_names_all_maps_inside_it_and_numbers_stand_for_classifiers(
    assessment: pd.DataFrame,
) -> None:
    shown = [*figure_module._LOOKS]
    known = assessment.assign(**{f"{name}{end}": 0.5 for name in shown for end in ("", "_low", "_high")})
    third = known[known["classifier"] == "vit-micro"].assign(classifier="focalnet-micro")
    figure = figure_module.validation(at_primary_area(pd.concat([known, third])))
    figure.canvas.draw()
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {*shown}
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == [
        "1  cnn-micro",
        "2  focalnet-micro",
        "3  vit-micro",
    ]
    numbered = {line.get_marker() for line in figure.axes[3].lines} - {"None"}
    assert numbered == {"$1$", "$2$", "$3$"}
    said = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert "spreads (log)" in said and "log axis" in said and "synth, " in said and " recordings per clas" in said


def test_the_axis_of_effects_shows_that_it_is_logarithmic(assessment: pd.DataFrame) -> None:
    lines = at_primary_area(assessment)
    wide = lines.assign(effect=np.linspace(-20, 20, len(lines)))
    axis = figure_module.validation(wide).axes[-2]
    assert axis.get_xscale() == "symlog"
    assert [text.get_text() for text in axis.get_xticklabels()] == [
        "\N{MINUS SIGN}10",
        "\N{MINUS SIGN}1",
        "0",
        "1",
        "10",
    ]


def test_boards_mark_metrics_that_fail_with_the_same_classifier(assessment: pd.DataFrame, tmp_path: Path) -> None:
    groups = runs(tmp_path / "run")
    assert read_marks(tmp_path, groups) == {}
    assessment.to_csv(tmp_path / "validation-synth.csv", index=False)
    marks = read_marks(tmp_path, groups)
    assert marks_at(marks, "synth", "cnn-micro")["average_gain"] == REVERSED
    assert FF[0] not in marks_at(marks, "synth", "cnn-micro")
    far = marks_at(marks, "synth", "cnn-micro", 0.4)
    assert "average_gain" not in far and FF[0] in far, "a verdict is of its area"
    comparison = compare_groups(groups)
    plain = boards.board(comparison, "synth", "cnn-micro")
    marked = boards.board(comparison, "synth", "cnn-micro", marks)
    assert [b for a, b in zip(plain.columns, marked.columns, strict=True) if a != b] == ["AG ↑§"]
    assert plain.rows == marked.rows and marked.notes[:-1] == plain.notes
    assert marked.notes[-1].startswith("§: ") and "xaibench validate" in marked.notes[-1]
    boards.write(comparison, tmp_path, marks)
    assert "| AG ↑§ |" in (tmp_path / "leaderboard-synth.md").read_text()
    latex = (tmp_path / "leaderboard-synth.tex").read_text()
    assert r"AG $\uparrow$$^{\S}$" in latex and "§" not in latex
    shown = [text.get_text() for text in heatmap(at_primary_area(comparison), marks).findobj(Text)]
    assert "cnn-micro: AG ↑§" in shown
    # A metric that was not scored here leaves no note.
    only = comparison[comparison["metric"] == FF[0]]
    assert boards.board(only, "synth", "cnn-micro", marks) == boards.board(only, "synth", "cnn-micro")


def test_verdicts_of_other_weights_and_protocols_mark_nothing(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assessment.to_csv(tmp_path / "validation-synth.csv", index=False)
    others = [
        runs(tmp_path / "a", sha256="sha of vit-micro"),
        runs(tmp_path / "b", sha256="x"),
        runs(tmp_path / "c", protocol="standard-1"),
    ]
    for groups in others:
        assert "average_gain" not in marks_at(read_marks(tmp_path, groups), "synth", "cnn-micro")
    elsewhere = runs(tmp_path / "far", dataset="far")  # no validation there: that of the same weights counts
    assert marks_at(read_marks(tmp_path, elsewhere), "far", "cnn-micro")["average_gain"] == REVERSED
    fine = assessment[assessment["metric"] != "average_gain"].assign(dataset="far")
    fine.to_csv(tmp_path / "validation-far.csv", index=False)
    assert "average_gain" not in marks_at(read_marks(tmp_path, elsewhere), "far", "cnn-micro")


def test_a_damaged_validation_is_named(tmp_path: Path) -> None:
    groups = runs(tmp_path / "run")
    for text in ("a,b\n1,2\n", ""):
        (tmp_path / "validation-synth.csv").write_text(text)
        with pytest.raises(ResultsError, match=r"validation-synth.csv is damaged .*xaibench validate"):
            read_marks(tmp_path, groups)
