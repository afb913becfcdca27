"""The paper's table and its claims, against numbers made by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.explaining import fitting
from xaibench.papers import page
from xaibench.papers.paper import ACCURACY, Outcome, Paper
from xaibench.results.parts import EQUAL_AREA, SOFT
from xaibench.results.statistics import holm

RECORDINGS = 8
LABELS = {"focalnet": "focalnet-micro", "vit": "vit-micro"}
CONTROLS = [("random", EQUAL_AREA), ("energy", EQUAL_AREA)]
METHODS = {
    "focalnet": [("focalnet", EQUAL_AREA), ("piq", EQUAL_AREA), ("piq", SOFT), *CONTROLS],
    "vit": [("vit-attention", EQUAL_AREA), ("piq", EQUAL_AREA), ("piq", SOFT), *CONTROLS],
}
PAPER: Paper = registry.load("papers", "focalnet-2024")


Values = dict[tuple[str, ...], list[float]]  # (family, method, metric), or (family, method, SOFT, metric)


def rows(values: Values, correct: dict[str, list[bool]]) -> pd.DataFrame:
    """Per-clip rows: 0 where no value is given, one recording a clip, other areas full of nonsense."""
    records = []
    for family, methods in METHODS.items():
        for (method, mask), metric, clip in itertools.product(methods, PAPER.metrics, range(RECORDINGS)):
            key = (family, method, SOFT, metric) if mask == SOFT else (family, method, metric)
            value = values.get(key, [0.0] * RECORDINGS)[clip]
            for area in (None,) if mask == SOFT else (0.05, 0.1):
                records.append(
                    {
                        "dataset": "esc10",
                        "fold": 5,
                        "clip": f"clip-{clip}",
                        "src_file": f"recording-{clip}",
                        "correct": correct.get(family, [True] * RECORDINGS)[clip],
                        "classifier": LABELS[family],
                        "method": method,
                        "mask": mask,
                        "metric": metric,
                        "area": area,
                        "value": value if area != 0.05 else 99.0,
                    }
                )
    return pd.DataFrame(records).astype({"area": "float64", "value": "float64"})


def outcome(values: Values, smoke: bool = False, **correct: list[bool]) -> Outcome:
    cards = {family: [checkpoint.resolve(label, "esc10")[1]] for family, label in LABELS.items()}
    return Outcome(
        rows=rows(values, correct),
        dataset="esc10",
        classes=10,
        folds=(5,),
        labels=LABELS,
        cards=cards,
        fitted={},
        smoke=smoke,
    )


def cell(frame: pd.DataFrame, system: str, mask: str, metric: str) -> pd.Series:
    found = frame[(frame["system"] == system) & (frame["mask"] == mask) & (frame["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_means_by_hand() -> None:
    kept = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    made = outcome(
        {
            ("focalnet", "focalnet", "fidelity_in"): kept,
            ("focalnet", "piq", SOFT, "fidelity_in"): [1.0] * 8,
            ("vit", "vit-attention", "faithfulness"): [0.1, 0.3] * 4,
            ("vit", "vit-attention", "faithfulness_kept"): [0.5] * 4 + [0.7] * 4,
        },
        vit=[True, False] * 4,
    )
    frame = page.table(PAPER, made)
    assert cell(frame, "AMT-FocalNet", EQUAL_AREA, "fidelity_in")["mean"] == pytest.approx(3 / 8)
    assert cell(frame, "PIQ-FocalNet", SOFT, "fidelity_in")["mean"] == 1.0
    assert cell(frame, "PIQ-FocalNet", EQUAL_AREA, "fidelity_in")["mean"] == 0.0
    assert cell(frame, "AMT-ViT", EQUAL_AREA, "faithfulness")["mean"] == pytest.approx(0.2)
    assert cell(frame, "AMT-ViT", EQUAL_AREA, "faithfulness_kept")["mean"] == pytest.approx(0.6)
    assert cell(frame, "AMT-ViT", EQUAL_AREA, ACCURACY)["mean"] == 0.5
    assert cell(frame, "AMT-FocalNet", EQUAL_AREA, ACCURACY)["mean"] == 1.0
    assert cell(frame, "random, ViT", EQUAL_AREA, "faithfulness")["mean"] == 0.0
    assert (frame["n"].dropna() == RECORDINGS).all()


def test_intervals_are_those_of_the_recordings_drawn_again() -> None:
    values = [0.0, 0.1, 0.2, 0.4, 0.4, 0.5, 0.8, 1.0]
    frame = page.table(PAPER, outcome({("focalnet", "focalnet", "faithfulness"): values}))
    found = cell(frame, "AMT-FocalNet", EQUAL_AREA, "faithfulness")
    rng = np.random.default_rng(7)
    means = [np.mean([values[i] for i in rng.integers(8, size=8)]) for _ in range(20_000)]
    low, high = np.quantile(means, (0.025, 0.975))
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_published_numbers_are_the_papers_and_stand_apart() -> None:
    frame = page.table(PAPER, outcome({}))
    published = {
        "AMT-FocalNet": (0.774, 0.305, 0.0111),
        "AMT-ViT": (0.736, 0.225, 0.0109),
        "PIQ-FocalNet": (np.nan, 0.278, 0.0111),
        "PIQ-ViT": (np.nan, 0.110, 0.0121),
    }
    for system, expected in published.items():
        keys = (ACCURACY, "fidelity_in", "published ff")
        got = [cell(frame, system, EQUAL_AREA, key)["published"] for key in keys]
        np.testing.assert_equal(got, expected)
    # The published FF is no value of either of our polarities.
    assert frame.loc[frame["metric"].isin(["faithfulness", "faithfulness_kept"]), "published"].isna().all()
    text = page.markdown(PAPER, outcome({}), "xaibench reproduce")
    line = next(line for line in text.splitlines() if line.startswith("| AMT-FocalNet"))
    assert line.endswith("| *0.774* | *0.305* | *0.0111* |")
    assert "literature" in text


def two_sided(differences: list[float]) -> float:
    """Every flip of every sign, as the test is defined."""
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    observed = abs(sum(differences))
    as_large = sum(abs(sum(s * d for s, d in zip(f, differences, strict=True))) >= observed - 1e-12 for f in flips)
    return as_large / len(flips)


def test_claims_are_tested_on_the_same_clips() -> None:
    ones, low = [1.0] * RECORDINGS, [0.25] * RECORDINGS
    made = outcome(
        {
            ("focalnet", "focalnet", "fidelity_in"): ones,
            ("vit", "piq", SOFT, "fidelity_in"): ones,
            ("vit", "vit-attention", "faithfulness_kept"): low,
            ("vit", "piq", "faithfulness_kept"): low,
        },
        focalnet=[True] * 5 + [False] * 3,
    )
    found = page.verdicts(PAPER, made).set_index("claim")
    words = found["verdict"]
    # p = 2 / 256 of eight equal signs; nine claims; five of them differ so, and Holm leaves 9 * 2 / 256 > 0.05.
    raw = [
        two_sided([-3 / 8] * 0 + [0.0] * 5 + [-1.0] * 3),
        two_sided([1.0] * 8),
        two_sided([0.0] * 8),
    ]
    assert raw[1] == 2 / 256
    differ = 2 / 256
    expected = holm(np.array([raw[0], differ, differ, differ, 1.0, differ, differ, 1.0, 1.0]))
    assert found["p"].iloc[1] == pytest.approx(expected[1], rel=0.01)
    assert words["FocalNet is more accurate than ViT"] == "open"
    assert found.loc["FocalNet is more accurate than ViT", "mean"] == pytest.approx(-3 / 8)
    assert found.loc["AMT-ViT beats PIQ-ViT in Fid-In (PIQ's own soft mask)", "mean"] == -1.0
    assert found.loc["FF alike: AMT-FocalNet and AMT-ViT", "mean"] == -0.25
    assert words["FF alike: AMT-ViT and PIQ-ViT (top 10% of either)"] == "no difference shown"


@pytest.mark.parametrize(
    ("alike", "difference", "p", "word"),
    [
        (False, 0.1, 0.01, "holds"),
        (False, -0.1, 0.01, "the opposite holds"),
        (False, 0.1, 0.06, "open"),
        (True, 0.1, 0.01, "does not hold"),
        (True, 0.1, 0.06, "no difference shown"),
    ],
)
def test_verdicts(alike: bool, difference: float, p: float, word: str) -> None:
    claim = next(one for one in PAPER.claims if one.alike == alike)
    assert page._verdict(claim, difference, p) == word


def test_the_statement_follows_the_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "ALPHA", 0.1)  # eight recordings can reach 9 * 2 / 256 and no less
    made = outcome({("focalnet", "focalnet", "fidelity_in"): [1.0] * 8, ("vit", "piq", "fidelity_in"): [1.0] * 8})
    text = page.markdown(PAPER, made, "xaibench reproduce focalnet-2024")
    statement = text.partition("claims hold here\n\n")[2].partition("\n\n")[0].splitlines()
    assert statement[0].startswith('- Open: "FocalNet is more accurate than ViT"; "AMT-ViT beats PIQ-ViT')
    assert statement[1].startswith('- Holds: "AMT-FocalNet beats PIQ-FocalNet in Fid-In (top 10% of either)";')
    assert statement[2] == '- The opposite holds: "AMT-ViT beats PIQ-ViT in Fid-In (top 10% of either)".'
    assert statement[3].startswith('- No difference shown: "FF alike: AMT-FocalNet and AMT-ViT";')


def test_undefined_values_are_counted_and_shown() -> None:
    values = [np.nan, np.nan, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    made = outcome({("vit", "vit-attention", "faithfulness"): values, ("vit", "piq", "faithfulness"): [np.nan] * 8})
    frame = page.table(PAPER, made)
    found = cell(frame, "AMT-ViT", EQUAL_AREA, "faithfulness")
    assert (found["mean"], found["n"], found["undefined"]) == (pytest.approx(0.2), 6, 2)
    nothing = cell(frame, "PIQ-ViT", EQUAL_AREA, "faithfulness")
    assert np.isnan(nothing["mean"]) and nothing["better_than_random"] is pd.NA
    line = next(one for one in page.markdown(PAPER, made, "").splitlines() if one.startswith("| AMT-ViT"))
    assert "0.200 [0.200, 0.200]† (2 undefined)" in line


def test_a_line_beats_random_only_after_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    made = outcome({("vit", "piq", "fidelity_in"): [1.0] * 8})

    def better() -> pd.Series:
        return page.table(PAPER, made).set_index(["system", "mask", "metric"])["better_than_random"]

    monkeypatch.setattr(page, "ALPHA", 11.5 / 256)  # p is 1 / 256, and there are twelve comparisons
    assert not better()["PIQ-ViT", EQUAL_AREA, "fidelity_in"]
    monkeypatch.undo()
    found = better()
    assert found["PIQ-ViT", EQUAL_AREA, "fidelity_in"]
    assert not found["PIQ-ViT", SOFT, "fidelity_in"]
    assert found["random, ViT", EQUAL_AREA, "fidelity_in"] is pd.NA
    assert found["PIQ-ViT", EQUAL_AREA, "faithfulness_kept"] is pd.NA


def test_a_smoke_run_is_marked_as_no_result() -> None:
    text = page.markdown(PAPER, outcome({}, smoke=True), "xaibench reproduce")
    assert "are no result" in text
    assert "are no result" not in page.markdown(PAPER, outcome({}), "xaibench reproduce")


def test_the_page_says_where_all_weights_came_from() -> None:
    folder = next(path for path in fitting.found() if path.parts[-3:] == ("esc10", "vit-micro", "piq"))
    card = fitting.ExplainerCard.read(folder)
    made = replace(outcome({}), fitted={("vit", "piq"): [card]})
    weights = page.markdown(PAPER, made, "").partition("weights came from\n\n")[2].splitlines()
    assert [line.partition(":")[0] for line in weights] == [
        "- focalnet-micro, test fold 5",
        "- vit-micro, test fold 5",
        "- piq on vit-micro, test fold 5",
    ]
    assert f"SHA-256 {card.weights_sha256[:12]}, {card.parameters:,} parameters" in weights[2]


def test_only_differences_that_apply_are_told() -> None:
    made = outcome({})
    told = "\n".join(PAPER.differences(made))
    assert "esc10, 10 classes" in told
    assert "random weights" in told
    assert "softmax(30 x cosine)" in told
    whole = replace(made, dataset="esc50", classes=50, cards={})
    assert "classes" not in "\n".join(PAPER.differences(whole))
    assert "random weights" not in "\n".join(PAPER.differences(whole))
    assert "pooled" in "\n".join(PAPER.differences(replace(whole, folds=(1, 2, 3, 4, 5))))


def test_the_committed_page_says_what_its_csv_says() -> None:
    folder = Path(__file__).parents[2] / "results"
    frame = pd.read_csv(folder / "focalnet-2024.csv")
    text = (folder / "focalnet-2024.md").read_text()
    for _, row in frame[frame["metric"] == "fidelity_in"].iterrows():
        assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    assert "are no result" not in text
