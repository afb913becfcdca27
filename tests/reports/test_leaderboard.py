"""Boards of comparisons, and the tables made of them."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.support.evaluating import config_of, run
from tests.support.made_up_runs import AD, CLIPS, FF, SPS, Scores, cell, five_methods, noise, write_run
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.commands.console import show
from xaibench.errors import ResultsError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.reports import boards, latex, leaderboard, tables
from xaibench.reports.tables import Cell, Row, Table
from xaibench.results import store
from xaibench.results.comparison import CONDITIONS, compare
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return five_methods(tmp_path_factory.mktemp("five") / "run")


def test_methods_that_a_control_beats_are_marked_but_not_for_losing_to_the_oracle(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {
        "good": {FF: noise(1, 0.8)},
        "poor": {FF: noise(2, 0.2)},
        "energy": {FF: noise(3, 0.5)},
        "oracle": {FF: noise(4, 0.95)},
        "random": {FF: noise(5)},
    }
    run = write_run(tmp_path / "run", methods, controls=("energy", "oracle", "random"))
    comparison = compare([run])
    lines = cell(comparison, *FF)
    assert lines.loc["poor", "beaten_by"] == "energy"
    assert lines.loc["good", "beaten_by"] == ""
    table = boards.board(comparison, "synth", "cnn-micro")
    assert [row.head for row in table.rows if not row.control] == ["good", "poor" + tables.DOUBLE_DAGGER]
    assert any(note.startswith(tables.DOUBLE_DAGGER) for note in table.notes)


def test_a_method_scored_on_fewer_clips_is_marked(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"whole": {FF: noise(1, 0.8)}, "stopped": {FF: noise(2, 0.9, clips=CLIPS // 2)}}
    table = boards.board(compare([write_run(tmp_path / "run", methods)]), "synth", "cnn-micro")
    assert [row.head for row in table.rows] == ["stopped" + tables.PARTIAL, "whole"]
    assert f"{CLIPS // 2} of {CLIPS} clips" in table.caption
    assert any(note.startswith(tables.PARTIAL) for note in table.notes)
    assert f"FF: compared on the clips that all methods have, {CLIPS // 2} of {CLIPS}." in table.findings


def test_methods_without_a_shared_clip_are_not_ranked(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "one", {"b": {FF: noise(1, 0.8)}}),
        write_run(tmp_path / "two", {"a": {FF: noise(2, 0.1)}}, first_clip=CLIPS),
    ]
    table = boards.board(compare(runs), "synth", "cnn-micro")
    assert [row.head for row in table.rows] == ["a" + tables.PARTIAL, "b" + tables.PARTIAL]
    assert not any(cell.best for row in table.rows for cell in row.cells)
    assert "FF: not ranked, because no clip is shared by all methods." in table.findings


def test_a_method_made_otherwise_is_marked_and_the_note_says_how(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {name: {FF: noise(i, 0.8)} for i, name in enumerate(["a", "b", "random"])}
    run = write_run(tmp_path / "run", methods, made={"b": {"device": "cuda (H100)", "shared_code_sha256": "x"}})
    comparison = compare([run])
    table = boards.board(comparison, "synth", "cnn-micro")
    assert {row.head for row in table.rows} == {"a", "b" + tables.OTHERWISE, "random"}
    assert (
        f"{tables.OTHERWISE}: made with other code, versions or devices than most: b (code, device)." in table.findings
    )
    assert any("'xaibench verify RUN --rescore N'" in note for note in table.notes)
    assert latex.latex(table).isascii()
    wide = leaderboard.wide(comparison, "synth").set_index("method")
    assert wide["differs_in"].to_dict() == {"a": "", "b": "code;device", "random": ""}
    expected = ["group", *CONDITIONS, "clips", "differs_in"]
    assert list(wide.columns[-len(expected) :]) == expected


def test_a_metric_scored_on_fewer_clips_is_marked(tmp_path: Path) -> None:
    """A metric that was added to a finished run, and stopped."""
    first: dict[str, Scores] = {"a": {FF: noise(1, 0.8, 16), SPS: noise(2, 0.9, 16)}, "b": {FF: noise(3, 0.8, 16)}}
    rest: dict[str, Scores] = {"a": {FF: noise(4, 0.8)}, "b": {FF: noise(5, 0.8)}}
    runs = [write_run(tmp_path / "first", first), write_run(tmp_path / "rest", rest, first_clip=16)]
    table = boards.board(compare(runs), "synth", "cnn-micro")
    cells = {row.name: dict(zip(table.columns, row.cells, strict=True)) for row in table.rows}
    assert set(cells) == {"a", "b"}
    assert tables.PARTIAL in cells["a"]["SPS ↑"].tail
    assert tables.PARTIAL not in cells["a"]["FF ↑"].tail
    assert any(note.startswith(tables.PARTIAL) for note in table.notes)


def test_boards_are_sorted_by_faithfulness_and_controls_stand_below(comparison: pd.DataFrame) -> None:
    board = boards.board(comparison, "synth", "cnn-micro")
    means = cell(comparison, *FF)["mean"]
    assert [row.name for row in board.rows if not row.control] == sorted(
        ["good", "twin", "poor"], key=lambda m: -means[m]
    )
    assert [row.control for row in board.rows] == [False] * 3 + [True] * 2
    assert board.columns == ("FF ↑", "AD ↓", "SPS ↑", "s/clip ↓")
    assert "40 clips, accuracy 0.750" in board.caption


def test_boards_without_faithfulness_are_sorted_by_mean_rank(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"bad": {AD: noise(1, 90)}, "fine": {AD: noise(1, 10)}}
    comparison = compare([write_run(tmp_path / "run", methods)])
    assert leaderboard.method_order(comparison) == ["fine", "bad"]


def test_cells_are_rounded_to_their_uncertainty_and_marked(comparison: pd.DataFrame) -> None:
    board = boards.board(comparison, "synth", "cnn-micro")
    cells = {row.name: dict(zip(board.columns, row.cells, strict=True)) for row in board.rows}
    assert re.fullmatch(r"0\.\d{3}", cells["good"]["FF ↑"].text)
    assert re.fullmatch(r" ±0\.0\d\d\W*", cells["good"]["FF ↑"].tail)
    assert cells["good"]["FF ↑"].best and cells["twin"]["FF ↑"].best and not cells["poor"]["FF ↑"].best
    assert "(3)" in cells["poor"]["FF ↑"].tail and "†" not in cells["poor"]["FF ↑"].tail
    assert "†" in cells["uniform"]["FF ↑"].tail and "†" not in cells["random"]["FF ↑"].tail
    assert cells["uniform"]["SPS ↑"].text == tables.MISSING and "(40)" in cells["uniform"]["SPS ↑"].tail
    assert cells["good"]["s/clip ↓"].text == "0.1"
    notes = " ".join(board.notes)
    assert "†: not significantly better than random" in notes and "(n)" in notes and "top 10%" in notes


@pytest.fixture
def with_soft(tmp_path: Path) -> pd.DataFrame:
    """Two trained methods whose maps are masks, one that is not trained, and controls."""
    soft_ff, area = ("faithfulness", None), ("mask_area", None)
    methods: dict[str, Scores] = {
        "piq": {FF: noise(1, 0.5), AD: noise(1, 5.0)},
        "piq-soft": {soft_ff: noise(2, 0.6), area: noise(2, 0.3)},
        "lmac": {FF: noise(3, 0.05), AD: noise(3, 9.0)},
        "lmac-soft": {soft_ff: noise(4, 0.95), area: noise(4, 0.9)},
        "saliency": {FF: noise(5, 0.2), AD: noise(5, 7.0)},
        "random": {FF: noise(6), AD: noise(6, 60.0)},
        "uniform": {FF: noise(7), AD: noise(7, 60.0)},
    }
    costs = {
        "piq": {"training_seconds": 184.0, "trained_parameters": 350_421},
        "lmac": {"training_seconds": 5400.0, "trained_parameters": 1_260_000},
    }
    info: dict[str, dict[str, Any]] = {name: costs.get(name.removesuffix("-soft"), {}) for name in methods}
    return compare([write_run(tmp_path / "soft", methods, info=info)])


def test_soft_masks_stand_between_methods_and_controls_and_are_not_judged(with_soft: pd.DataFrame) -> None:
    board = boards.board(with_soft, "synth", "cnn-micro")
    assert [row.name for row in board.rows][:5] == [
        *("piq", "saliency", "lmac"),
        *("lmac", "piq"),  # the soft masks, best first
    ]
    assert [(row.apart, row.control) for row in board.rows] == (
        [(False, False)] * 3 + [(True, False)] * 2 + [(False, True)] * 2
    )
    assert board.columns == ("FF ↑", "AD ↓", "s/clip ↓", "Training", "Area ↓")
    cells = {(row.name, row.apart): dict(zip(board.columns, row.cells, strict=True)) for row in board.rows}
    assert cells["piq", False]["FF ↑"].best  # though a soft mask has more
    for name in ("piq", "lmac"):
        assert not any(one.best or tables.DAGGER in one.tail for one in cells[name, True].values())
        assert cells[name, True]["AD ↓"].text == "" and float(cells[name, True]["Area ↓"].text) > 0.2
    assert cells["piq", False]["Area ↓"].text == ""
    assert any(note.startswith("Soft masks: the method's own mask, of any size") for note in board.notes)
    markdown = tables.markdown(board).splitlines()
    assert [line.split("|")[1].strip() for line in markdown if line.startswith("| *")][:2] == [
        "*Soft masks*",
        "*Controls*",
    ]
    assert latex.latex(board).count(r"\midrule") == 3
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(tables.terminal(board))
    lines = [line.split()[:1] for line in console.export_text().splitlines()]
    assert lines.index(["Soft"]) < lines.index(["Controls"]) < lines.index(["random"])


def test_what_training_cost_is_a_column_where_a_method_is_trained(
    with_soft: pd.DataFrame, comparison: pd.DataFrame
) -> None:
    board = boards.board(with_soft, "synth", "cnn-micro")
    place = board.columns.index("Training")
    rows = [(row.name, row.cells[place].text) for row in board.rows]
    assert [text for name, text in rows if name == "piq"] == ["3 min, 350k"] * 2  # its soft mask is as dear
    training = dict(rows)
    assert training["lmac"] == "1.5 h, 1.3M"
    assert training["saliency"] == training["random"] == tables.MISSING
    assert "Training" not in boards.board(comparison, "synth", "cnn-micro").columns


@pytest.mark.parametrize(
    ("seconds", "parameters", "said"),
    [
        (44.6, 900, "45 s, 900"),
        (59.7, 1000, "1 min, 1k"),
        (3569, 999_499, "59 min, 999k"),
        (3571, 999_600, "1.0 h, 1.0M"),
        (float("nan"), float("nan"), tables.MISSING),
    ],
)
def test_costs_of_training_as_people_say_them(seconds: float, parameters: float, said: str) -> None:
    assert boards._training(seconds, parameters) == said


def test_the_wide_table_ranks_no_soft_mask(with_soft: pd.DataFrame) -> None:
    wide = leaderboard.wide(with_soft, "synth").set_index(["method", "mask"])
    soft = wide.index.get_level_values("mask") == "soft"
    assert wide.loc[soft, "overall"].isna().all() and wide.loc[~soft, "overall"].notna().all()
    assert wide.loc[("piq", "equal area"), ["faithfulness_rank", "faithfulness_rank_low"]].tolist() == [1, 1]
    assert wide.loc[("piq", "soft"), "trained_parameters"] == 350_421
    line = with_soft[(with_soft["method"] == "piq") & (with_soft["metric"] == "mask_area")]
    assert wide.loc[("piq", "soft"), "mask_area"] == line["mean"].item()


class Loudness(Explainer):
    """The share of the loudest bin: a mask as it is, and no control."""

    title = "Loudness"
    reference = "tests"
    description = "the spectrogram on a scale from 0 to 1"
    polarity = "positive"
    native_mask = True

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(batch.x / batch.x.amax(dim=(1, 2), keepdim=True), batch.picture_shape)


def test_a_real_run_of_a_mask_has_both_rows(synth: Synth, trained: LoadedClassifier, tmp_path: Path) -> None:
    methods: dict[str, Explainer] = {"loud": Loudness(), "random": registry.create("methods", "random")}
    plan = config_of(synth, methods, ("faithfulness", "mask_area", "sparseness"), clips=3)
    assert {event.kind for event in run(plan, trained, tmp_path)} == {"scored"}
    lines = compare([tmp_path])
    found = lines[lines["mask"] == "soft"]
    assert set(found["method"]) == {"loud"} and set(found["metric"]) == {"faithfulness", "mask_area"}
    rows = store.read_rows(tmp_path)
    scored = rows[(rows["mask"] == "soft") & (rows["metric"] == "mask_area")]
    maps = [audio.spectrogram(torch.from_numpy(synth.waveform(clip))[None])[0] for clip in plan.clips]
    np.testing.assert_allclose(scored["value"], [float((x / x.max()).mean()) for x in maps], rtol=1e-5)
    board = boards.board(lines, "synth", "cnn")
    assert [row.name for row in board.rows] == ["loud", "loud", "random"]
    assert "Training" not in board.columns


@pytest.mark.parametrize(
    ("half", "largest", "decimals"),
    [(0.031, 0.4, 3), (0.31, 4, 2), (3.4, 80, 1), (12, 80, 0), (0.0042, 1, 3), (0.0003, 1, 4), (float("nan"), 1, 3)],
)
def test_decimals(half: float, largest: float, decimals: int) -> None:
    assert boards._decimals(half, largest) == decimals


def test_written_tables(comparison: pd.DataFrame, tmp_path: Path) -> None:
    paths = boards.write(comparison, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"leaderboard-synth.{suffix}" for suffix in ("csv", "md", "tex")]
    wide = pd.read_csv(paths[0]).set_index("method")
    line = cell(comparison, *FF).loc["good"]
    for key, value in {"": line["mean"], "_low": line["low"], "_high": line["high"]}.items():
        assert wide.loc["good", f"faithfulness{key}"] == pytest.approx(value, rel=1e-15)  # not rounded
    assert wide.loc["poor", "faithfulness_undefined"] == 3
    markdown = paths[1].read_text()
    assert "| *random* |" in markdown and "**0." in markdown
    widths = {line.count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {6}


def test_latex_is_balanced_and_escaped() -> None:
    rows = (
        Row("a_b & 50%", False, (Cell("1", " ±2†", best=True),)),
        Row("[x]", True, (Cell("2", "\N{FIGURE SPACE}"),)),
    )
    text = latex.latex(Table("x_y {#1}", ("FF ↑",), rows, ("†: ~worse^2\\",)))
    assert r"a\_b \& 50\% & \textbf{1} $\pm$2$^{\dagger}$ \\" in text
    assert r"\textit{{[}x{]}} & 2\phantom{$^{\dagger}$} \\" in text
    assert r"\caption{x\_y \{\#1\}}" in text
    assert r"$^{\dagger}$: \textasciitilde{}worse\textasciicircum{}2\textbackslash{}" in text
    assert text.isascii()
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    assert re.findall(r"\\(toprule|midrule|bottomrule)", text) == ["toprule", "midrule", "midrule", "bottomrule"]
    rows = [line for line in text.replace(r"\&", "").splitlines() if line.endswith(r"\\") and "multicol" not in line]
    assert all(line.count(" & ") == 1 for line in rows)


def test_columns_that_have_no_place_are_left_out_and_named() -> None:
    columns = tuple(f"c{i}" for i in range(14))
    cells = tuple(Cell(f"{i:07d}", " ±0.1234") for i in range(14))
    table = Table("t", columns, (Row("m" * 14, False, cells),), ("note",), first=("c9",))
    fitting = table.fit(14 + 4 * 17, "this way")  # a column is 15 wide, and two apart
    assert fitting.columns == ("c0", "c1", "c2", "c9")
    assert [cell.text[-1] for cell in fitting.rows[0].cells] == ["0", "1", "2", "9"]
    named = "c3, c4, c5, c6, c7, c8, c10, c11, c12, c13"
    assert fitting.notes == ("note", f"Not shown, as 82 characters are too few: {named} (this way).")
    assert fitting.width == 82
    assert table.fit(5).columns == ("c9",), "nothing is cut: one column stays, however narrow"
    assert table.fit(14 + 14 * 17) is table


def test_notes_and_abbreviations_are_said_once() -> None:
    rows = (Row("m", False, (Cell("1"), Cell("2"))),)
    legend = (("FF ↑", "FF: faithfulness"), ("AD ↓", "AD: average drop"))
    first = Table(
        "one", ("FF ↑", "AD ↓"), rows, ("both", "†: of a mark that no cell has", "of the first"), legend=legend
    )
    first = replace(first, findings=("3 recordings",))
    last = Table("two", ("FF ↑", "c"), rows, ("both",), legend=legend[:1], findings=("3 recordings",))
    once = tables.say_once([first, last])
    assert [one.explanations for one in once] == [
        ("AD: average drop.", "3 recordings", "of the first"),
        ("FF: faithfulness.", "3 recordings", "both"),
    ]


@pytest.fixture
def wide_run(tmp_path: Path) -> pd.DataFrame:
    """Every metric there is."""
    names = ["integrated-gradients", "guided-backprop", "random"]
    keys = [(name, 0.1 if registry.load("metrics", name).per_area else None) for name in registry.names("metrics")]
    methods: dict[str, Scores] = {
        name: {key: noise(10 * i + j, 40.0 if "average" in key[0] else 0.5) for j, key in enumerate(keys)}
        for i, name in enumerate(names)
    }
    return compare([write_run(tmp_path / "run", methods)])


def test_a_board_fits_the_terminal_and_a_pipe_gets_all_of_it(
    wide_run: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    made = boards.boards(wide_run, "synth")
    headings = [leaderboard.metric_heading(name, wide_run) for name in registry.names("metrics")]
    for width in (30, 60, 80, 120, 200):
        console = Console(width=width, file=io.StringIO(), highlight=False)
        show(*made.values(), remedy="--columns chooses", console=console)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        lines = text.splitlines()
        assert max(map(len, lines)) <= max(width, 41), "a name and one column are 41 wide"
        assert "…" not in text and text.count("integrated-gradients") == 1
        said = " ".join(text.split())
        assert f"Not shown, as {width} characters are too few: " in said and "(--columns chooses)" in said
        assert all(heading in said for heading in headings)
    show(*made.values())
    lines = capsys.readouterr().out.splitlines()
    (head,) = [line for line in lines if line.startswith("Method")]
    assert all(heading in head for heading in headings)
    assert len([line for line in lines if line.startswith(("integrated-", "guided-", "random"))]) == 3
    with pytest.raises(ResultsError, match="no results of the group 'esc51'; there are results of synth"):
        boards.boards(wide_run, "esc51")


def test_columns_rows_and_order_are_chosen(comparison: pd.DataFrame) -> None:
    config = boards.BoardConfig(columns=["seconds_per_clip", "sps", "average_drop"], methods=["random", "twin", "poor"])
    whole = boards.board(comparison, "synth", "cnn-micro")
    board = boards.board(comparison, "synth", "cnn-micro", config=config)
    assert board.columns == ("s/clip ↓", "SPS ↑", "AD ↓")
    assert [row.name for row in board.rows] == ["twin", "poor", "random"]
    at = {row.name: row.cells for row in whole.rows}
    assert board.rows[0].cells == tuple(at["twin"][whole.columns.index(head)] for head in board.columns)
    assert board.explanations[0] == "SPS: sparseness; AD: average drop."
    by_drop = boards.board(comparison, "synth", "cnn-micro", config=boards.BoardConfig(sort="AD"))
    means = cell(comparison, *AD)["mean"]
    assert [row.name for row in by_drop.rows if row.control] == sorted(["random", "uniform"], key=lambda m: means[m])
    for wrong in (
        {"columns": ["FFF"]},
        {"methods": ["god"]},
        {"sort": "seconds_per_clip"},
    ):
        with pytest.raises(ResultsError, match=r"there is no .* to show; there are .*(faithfulness \(FF\)|good)"):
            boards.boards(comparison, "synth", config=boards.BoardConfig(**wrong))


def test_latex_has_classifiers_side_by_side_in_one_table(tmp_path: Path) -> None:
    scores: dict[str, Scores] = {
        "piq": {FF: noise(1, 0.2), AD: noise(1, 5.0)},
        "energy": {FF: noise(3, 0.6), AD: noise(3, 9.0)},
        "random": {FF: noise(4), AD: noise(4, 90.0)},
    }
    write_run(tmp_path / "runs" / "one", scores, controls=("energy", "random"), info={"piq": {"title": "PIQ"}})
    good: dict[str, Scores] = {**scores, "gradcam": scores["piq"], "piq": {FF: noise(8, 0.8), AD: noise(8, 4.0)}}
    about = {"piq": {"title": "PIQ"}, "gradcam": {"title": "Grad-CAM"}}
    write_run(tmp_path / "runs" / "two", good, classifier="vit-micro", controls=("energy", "random"), info=about)
    comparison = compare([tmp_path / "runs" / "one", tmp_path / "runs" / "two"])
    (_, _, path) = boards.write(comparison, tmp_path / "out")
    text = path.read_text()
    assert text.count(r"\begin{table*}") == text.count(r"\begin{tabular}") == text.count(r"\caption{") == 1
    assert r"\begin{adjustbox}{max width=\textwidth}" in text, "never wider than the text"
    assert r" & \multicolumn{3}{c}{cnn-micro} & \multicolumn{3}{c}{vit-micro} \\" in text
    assert r"\cmidrule(lr){2-4}\cmidrule(lr){5-7}" in text
    assert r"\label{tab:synth}" in text and text.count("Bold: ") == 1 and text.isascii()
    piq, gradcam = (next(line for line in text.splitlines() if line.startswith(name)) for name in ("PIQ", "Grad-CAM"))
    assert r"\ddagger" in piq.split(" & ")[1] and r"\ddagger" not in piq.split(" & ")[4], "beaten on one of the two"
    assert gradcam.split(" & ")[1:4] == ["", "", ""], "it was not scored there"
    assert all(line.count(" & ") == 6 for line in text.splitlines() if line.endswith(r"\\") and "multi" not in line)
    config = boards.BoardConfig(columns=["AD"])
    paper = latex.PaperConfig(caption=r"Ours, \cite{us}", label="tab:ours")
    text = boards.write(comparison, tmp_path / "out", config=config, paper=paper)[2].read_text()
    assert r"\caption{Ours, \cite{us}}" in text and r"\label{tab:ours}" in text
    assert r"Method & AD $\downarrow$ & AD $\downarrow$ \\" in text and r"\ddagger" not in text.split("midrule")[0]


def test_latex_says_of_which_classifier_a_finding_is(tmp_path: Path) -> None:
    clear: dict[str, Scores] = {"a": {FF: noise(1, 0.8)}, "b": {FF: noise(2, 0.4)}, "random": {FF: noise(3, 0.1)}}
    alike: dict[str, Scores] = {name: {FF: noise(i, 0.5)} for i, name in enumerate(clear)}
    runs = [write_run(tmp_path / "one", clear), write_run(tmp_path / "two", alike, classifier="vit-micro")]
    (_, _, path) = boards.write(compare(runs), tmp_path / "out")
    text = " ".join(path.read_text().split())
    assert "vit-micro: No two rows can be told apart" in text and "cnn-micro: No two rows" not in text
    assert "cnn-micro: 25 recordings show" in text and "vit-micro: 25 recordings show" in text


def test_bold_is_what_no_other_method_is_found_better_than(tmp_path: Path) -> None:
    """A method with the largest mean, of two clips, is not told apart from the rest, and makes the rest no better."""
    few = np.full(CLIPS, np.nan)
    few[:2] = 0.97
    scores: dict[str, Scores] = {
        "few": {FF: few},
        "a": {FF: noise(1, 0.8)},
        "b": {FF: noise(2, 0.5)},
        "random": {FF: noise(3, 0.1)},
    }
    comparison = compare([write_run(tmp_path / "run", scores)])
    lines = comparison.set_index("method")
    assert lines.loc["few", "rank"] == 1 and "b" in lines.loc["few", "tied_with"]
    table = boards.board(comparison, "synth", "cnn-micro")
    assert [row.name for row in table.rows if row.cells[0].best] == ["a"]
    assert lines.loc["few", "least_difference"] == lines.loc["a", "least_difference"]
    alone = compare([write_run(tmp_path / "alone", {"a": scores["a"]})])
    assert not any(row.cells[0].best for row in boards.board(alone, "synth", "cnn-micro").rows)


def test_accuracy_that_nobody_knows_is_left_out(comparison: pd.DataFrame) -> None:
    board = boards.board(comparison.assign(accuracy=np.nan), "synth", "cnn-micro")
    assert "accuracy" not in board.caption


def test_importing_it_costs_no_torch() -> None:
    code = "import sys, xaibench.reports.boards; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_board_says_what_its_recordings_can_show_and_when_that_is_nothing(tmp_path: Path) -> None:
    """Where nothing is told apart, no cell is bold and no mark of random's is there."""

    def made(name: str, means: tuple[float, ...], clips: int) -> Table:
        scores = zip(("a", "b", "random"), means, strict=True)
        methods: dict[str, Scores] = {method: {FF: noise(i, mean, clips)} for i, (method, mean) in enumerate(scores)}
        return boards.board(compare([write_run(tmp_path / name, methods)]), "synth", "cnn-micro")

    clear = made("clear", (0.8, 0.5, 0.1), CLIPS)
    assert re.match(r"25 recordings show a difference in FF of 0\.\d+ or more, 4 times in 5\.", clear.findings[0])
    alike = made("alike", (0.50, 0.51, 0.50), CLIPS)
    assert alike.findings[0].startswith("No two rows can be told apart") and "25 recordings show" in alike.findings[1]
    few = made("few", (0.8, 0.5, 0.1), 4)
    assert few.findings[1] == "4 recordings can show no difference, however large: 3 rows take 7 at least."
    for board in (alike, few):
        assert not any(one.best or tables.DAGGER in one.tail for row in board.rows for one in row.cells)
        assert not any(note.startswith(("Bold", tables.DAGGER)) for note in board.notes)


def test_the_order_over_families_is_a_column_for_those_who_ask(comparison: pd.DataFrame) -> None:
    config = boards.BoardConfig(columns=["FF", "overall"])
    asked = boards.board(comparison, "synth", "cnn-micro", config=config)
    usual = boards.board(comparison, "synth", "cnn-micro")
    assert asked.columns[1] == "Overall ↓" and "Overall ↓" not in usual.columns
    place = comparison.loc[comparison["method"] == "good", "overall"].iloc[0]
    (good,) = [row for row in asked.rows if row.name == "good"]
    assert good.cells[1].text == f"{place:.1f}" and good.cells[1].tail.startswith(" ±")


def test_seconds_of_another_machine_are_marked(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {name: {FF: noise(i, 0.8)} for i, name in enumerate(["a", "b", "random"])}
    made = {"b": {"device": "cpu (x86_64, 8 threads)"}, "a": {"device": "cpu (x86_64, 1 threads)"}}
    run = write_run(tmp_path / "run", methods, made=made | {"random": made["a"]})
    table = boards.board(compare([run]), "synth", "cnn-micro")
    place = next(i for i, head in enumerate(table.columns) if head.startswith("s/clip"))
    assert {row.name: row.cells[place].tail for row in table.rows} == {"a": "", "b": tables.OTHERWISE, "random": ""}
