"""What a report holds: the boards' own numbers, clips chosen by what came out, the sound that was scored."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import xaibench as xb
from tests.support.command_line import Command
from tests.support.made_up_runs import AD, FF, SPS, noise, write_run
from tests.support.objects import LoudBins, bells, sounds


def content(page: Path) -> dict[str, Any]:
    """The data of a page."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def made_up(folder: Path, **about: Any) -> Path:
    both = [("faithfulness", 0.2), FF]
    methods = {
        name: {key: noise(seed, mean) for key in both}
        for seed, (name, mean) in enumerate({"good": 0.8, "poor": 0.3, "random": 0.1}.items())
    }
    methods["good"] |= {AD: noise(7, 5.0), SPS: noise(8, 0.5)}
    return write_run(folder, methods, **about)


def test_the_cells_are_those_of_the_board_at_every_area(tmp_path: Path) -> None:
    results = xb.load_results(made_up(tmp_path / "run"))
    boards = {
        board["area"]: board
        for board in content(results.report(tmp_path / "report.html", clips=0))["groups"][0]["boards"]
    }
    assert sorted(boards) == [0.1, 0.2]
    (table,) = results.leaderboard().tables
    heads = [one["head"] for one in boards[0.1]["columns"]]
    place = heads.index("Overall ↓")  # which boards for people have where somebody asks for it
    assert heads[:place] + heads[place + 1 :] == list(table.columns)
    for row, shown in zip(table.rows, boards[0.1]["rows"], strict=True):
        overall = shown["cells"].pop(place)
        assert [(one.text, one.tail.strip(), one.best) for one in row.cells] == [
            (one["t"], one["s"].strip(), one["b"]) for one in shown["cells"]
        ]
        line = results.comparison().set_index("method").loc[row.name].iloc[0]
        assert overall["v"] == pytest.approx(line["overall"], rel=1e-5) and overall["of"] == "faithfulness"
        first = shown["cells"][0]
        assert [first[key] for key in ("r", "rl", "rh")] == [line[key] for key in ("rank", "rank_low", "rank_high")]
    lines = results.comparison()
    lines = lines[(lines["metric"] == "faithfulness") & (lines["area"] == 0.2)].set_index("method")
    for row in boards[0.2]["rows"]:
        assert row["cells"][0]["v"] == pytest.approx(lines.at[row["name"], "mean"], rel=1e-5)
        assert row["cells"][0]["hi"] == pytest.approx(lines.at[row["name"], "high"], rel=1e-5)
    assert any("top 20%" in note for note in boards[0.2]["notes"])


def test_a_profile_has_means_of_classes_and_decisions_and_metrics_agree(tmp_path: Path) -> None:
    results = xb.load_results(made_up(tmp_path / "run"))
    group = content(results.report(tmp_path / "report.html", clips=0))["groups"][0]
    (profile,) = group["profiles"]["cnn-micro"]  # there is one class, and one fold
    assert profile["kinds"] == ["all clips", "classified right", "classified wrong"]
    rows = results.rows[(results.rows["metric"] == "faithfulness") & (results.rows["area"] == 0.1)]
    own = rows[rows["method"] == "good"]
    for (mean, low, high, n), kept in zip(
        profile["metrics"]["faithfulness"]["good"], [own, own[own["correct"]], own[~own["correct"]]], strict=True
    ):
        assert (mean, n) == (pytest.approx(kept["value"].mean(), rel=1e-5), len(kept)) and low < mean < high
    assert group["agreement"] == {"metrics": [], "values": []}, "three rows are too few for an order"


def test_maps_agree_where_they_rank_alike_and_masks_where_they_overlap() -> None:
    from scipy.stats import spearmanr

    from xaibench.reports.report_agreement import MapAgreement

    draw = np.random.default_rng(0)
    first, noise = draw.random((20, 30)), draw.random((20, 30))
    second = first + noise
    masks = {name: one > np.quantile(one, 0.9) for name, one in {"a": first, "b": second, "flat": first}.items()}
    audible = np.arange(30) < 25
    found = MapAgreement()
    maps = {"a": (first, masks["a"]), "b": (second, masks["b"]), "flat": (0 * first, masks["flat"])}
    found.add(maps, audible)
    tables = found.tables()
    assert tables["methods"] == ["a", "b", "flat"] and tables["clips"] == 1
    expected = spearmanr(first[:, audible].ravel(), second[:, audible].ravel()).statistic
    assert tables["correlation"][0][1] == tables["correlation"][1][0] == pytest.approx(expected, rel=1e-5)
    assert tables["correlation"][0][2] is None and tables["overlap"][0][2] == 1
    shared = (masks["a"] & masks["b"]).sum() / (masks["a"] | masks["b"]).sum()
    assert tables["overlap"][0][1] == pytest.approx(shared, rel=1e-5)


def test_clips_are_chosen_by_what_came_out_and_named_so() -> None:
    from xaibench.reports.report_choice import ClipScores, choose

    clips = [f"clip{i:02d}" for i in range(40)]
    level = np.linspace(0, 1, 40)
    spread = np.where(np.arange(40) == 20, 0.4, 0.0)
    values = pd.DataFrame([level + spread, level - spread, 1 - level], ["a", "b", "random"], clips)
    correct = pd.Series([clip != "clip11" for clip in clips], clips)
    scores = ClipScores("faithfulness", "FF", 1, values, correct)
    found = choose(scores, {"random"}, 5, 0)
    assert found["clip39"][0] == "best explained" and found["clip00"][0] == "worst explained"
    assert "most disagreed about" in found["clip20"] and "misclassified" in found["clip11"]
    assert len(found) == 5 and sum("at random" in why for why in found.values()) >= 1
    assert choose(scores, {"random"}, 5, 0) == found
    falling = choose(ClipScores("average_drop", "AD", -1, values, correct), {"random"}, 5, 0)
    assert falling["clip00"][0] == "best explained"
    assert len(choose(scores, set(), 100, 0)) == 40


def test_a_report_without_sound_says_which_option_gives_it(xaibench: Command, tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", dataset="esc10")
    done = xaibench("report", run, "--out", "report.html")
    assert done.code == 0 and "clips of esc10 are not shown: give its sound with --data-dir" in done.err
    page = tmp_path / "report.html"
    assert "give its sound with --data-dir" in page.read_text() and content(page)["shown"] == []
    assert "--data-dir" not in xaibench("report", run, "--clips", "0").err


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> xb.Results:
    """A run of a method that no package registers, with its maps."""
    out = tmp_path_factory.mktemp("run")
    methods = [LoudBins, "random"]
    return xb.evaluate(
        xb.toy_classifier(), bells(), methods, "faithfulness", out=out, keep_maps=True, progress=False, controls=False
    )


def test_other_sound_and_other_weights_are_not_shown_as_those_of_the_run(heard: xb.Results, tmp_path: Path) -> None:
    data, other = bells(), xb.toy_classifier()
    louder = xb.clips([2 * one for one in sounds()], 16_000, ["bell", "crow", "rain"], data.classes)
    results = xb.load_results(heard.path)
    with pytest.warns(UserWarning, match="is another sound here than in the run"):
        results.report(tmp_path / "a.html", data=louder, model=xb.toy_classifier(), progress=False)
    for weights in other.parameters():
        weights.data.mul_(1.01)
    with pytest.warns(UserWarning, match="has other weights, temperature or classes here than in the run"):
        results.report(tmp_path / "b.html", data=data, model=other, progress=False)
    assert content(tmp_path / "b.html")["groups"], "the boards are there all the same"


def test_a_method_that_cannot_be_made_again_is_shown_by_the_maps_that_were_kept(
    heard: xb.Results, tmp_path: Path
) -> None:
    for clip in content(heard.report(tmp_path / "report.html", progress=False))["shown"][0]["clips"]:
        assert set(clip["methods"]) == {"loud-bins", "random"}
        rows = heard.rows[(heard.rows["clip"] == clip["id"]) & (heard.rows["area"] == 0.1)].set_index("method")
        for name, one in clip["methods"].items():  # faithfulness is p minus p of the removed part
            assert clip["p"] - one["p"][1] == pytest.approx(rows.at[name, "value"], abs=1e-5)
    shutil.rmtree(heard.path / "maps")
    with pytest.warns(UserWarning, match=r"loud-bins: unknown method .*, and the run kept no maps"):
        page = heard.report(tmp_path / "report.html", progress=False)
    assert set(content(page)["shown"][0]["clips"][0]["methods"]) == {"random"}


def test_a_classifier_that_was_named_is_known_and_pictures_that_were_fed_have_no_sound(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = xb.evaluate(
            "cnn-micro",
            "synth",
            "energy",
            "sparseness",
            protocol="spectrogram",
            limit=1,
            progress=False,
            controls=False,
        )
        (shown,) = content(results.report(tmp_path / "report.html", progress=False))["shown"]
    assert shown["about"]["heard"] is False and shown["clips"][0]["methods"]["energy"]["gains"] == []


def test_authors_are_those_of_the_licence_file(small_esc50: Path) -> None:
    data = xb.dataset("esc10", small_esc50)
    clip = data.clips[0]
    assert data.credit(clip) == "Freesound 1000 (https://freesound.org/s/1000)"
    line = "- [1-1000-A.ogg]: clip derived from dog.wav (http://www.freesound.org/people/me/sounds/1000/) by me [CC0]"
    (small_esc50 / "LICENSE").write_text(f"101 - Dog:\n{line}\n")
    assert xb.dataset("esc10", small_esc50).credit(clip) == line.partition("clip ")[2]


def test_text_of_strangers_stays_inside_its_script_and_its_element() -> None:
    from xaibench.reports.report_page import as_json

    evil = "</script><!--<script>\u2028"
    assert "<" not in as_json({"a": evil}) and json.loads(as_json({"a": evil})) == {"a": evil}
