"""The paper's table and its claims, against numbers made by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.papers import page as reproduction_table
from xaibench.papers.paper import ACCURACY, Facts, Paper
from xaibench.papers.steps import Outcome
from xaibench.results.parts import EQUAL_AREA, SOFT
from xaibench.results.statistics import holm

RECORDINGS = 8
LABELS = {"focalnet": "focalnet-micro", "vit": "vit-micro"}
METHODS = {
    "focalnet": ["focalnet", "piq", "piq-soft", "random", "energy"],
    "vit": ["vit-attention", "piq", "piq-soft", "random", "energy"],
}
PAPER: Paper = registry.load("papers", "focalnet-2024")


def rows(values: dict[tuple[str, str, str], list[float]], correct: dict[str, list[bool]]) -> pd.DataFrame:
    """Per-clip rows: 0 where no value is given, one recording a clip, other areas full of nonsense."""
    records = []
    for family, methods in METHODS.items():
        for method, metric, clip in itertools.product(methods, PAPER.metrics, range(RECORDINGS)):
            value = values.get((family, method, metric), [0.0] * RECORDINGS)[clip]
            soft = method.endswith("-soft")
            for area in (None,) if soft else (0.05, 0.1):
                records.append(
                    {
                        "dataset": "esc10",
                        "fold": 5,
                        "clip": f"clip-{clip}",
                        "src_file": f"recording-{clip}",
                        "correct": correct.get(family, [True] * RECORDINGS)[clip],
                        "classifier": LABELS[family],
                        "method": method.removesuffix("-soft"),
                        "mask": SOFT if soft else EQUAL_AREA,
                        "metric": metric,
                        "area": area,
                        "value": value if area != 0.05 else 99.0,
                    }
                )
    return pd.DataFrame(records).astype({"area": "float64", "value": "float64"})


def outcome(values: dict[tuple[str, str, str], list[float]], smoke: bool = False, **correct: list[bool]) -> Outcome:
    cards = {family: (checkpoint.resolve(label, "esc10")[1],) for family, label in LABELS.items()}
    return Outcome(rows(values, correct), LABELS, Facts("esc10", 10, (5,), RECORDINGS, cards, {}, smoke))


def cell(frame: pd.DataFrame, system: str, mask: str, metric: str) -> pd.Series:
    found = frame[(frame["system"] == system) & (frame["mask"] == mask) & (frame["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_means_by_hand() -> None:
    kept = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    made = outcome(
        {
            ("focalnet", "focalnet", "fidelity_in"): kept,
            ("focalnet", "piq-soft", "fidelity_in"): [1.0] * 8,
            ("vit", "vit-attention", "faithfulness"): [0.1, 0.3] * 4,
            ("vit", "vit-attention", "faithfulness_kept"): [0.5] * 4 + [0.7] * 4,
        },
        vit=[True, False] * 4,
    )
    frame = reproduction_table.table(PAPER, made)
    assert cell(frame, "AMT-FocalNet", "top 10%", "fidelity_in")["mean"] == pytest.approx(3 / 8)
    assert cell(frame, "PIQ-FocalNet", "its own, soft", "fidelity_in")["mean"] == 1.0
    assert cell(frame, "PIQ-FocalNet", "top 10%", "fidelity_in")["mean"] == 0.0
    assert cell(frame, "AMT-ViT", "top 10%", "faithfulness")["mean"] == pytest.approx(0.2)
    assert cell(frame, "AMT-ViT", "top 10%", "faithfulness_kept")["mean"] == pytest.approx(0.6)
    assert cell(frame, "AMT-ViT", "top 10%", ACCURACY)["mean"] == 0.5
    assert cell(frame, "AMT-FocalNet", "top 10%", ACCURACY)["mean"] == 1.0
    assert cell(frame, "random, ViT", "top 10%", "faithfulness")["mean"] == 0.0
    assert (frame["n"].dropna() == RECORDINGS).all()


def test_intervals_are_those_of_the_recordings_drawn_again() -> None:
    values = [0.0, 0.1, 0.2, 0.4, 0.4, 0.5, 0.8, 1.0]
    frame = reproduction_table.table(PAPER, outcome({("focalnet", "focalnet", "faithfulness"): values}))
    found = cell(frame, "AMT-FocalNet", "top 10%", "faithfulness")
    rng = np.random.default_rng(7)
    means = [np.mean([values[i] for i in rng.integers(8, size=8)]) for _ in range(20_000)]
    low, high = np.quantile(means, (0.025, 0.975))
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_published_numbers_are_the_papers_and_stand_apart() -> None:
    frame = reproduction_table.table(PAPER, outcome({}))
    published = {
        "AMT-FocalNet": (0.774, 0.305, 0.0111),
        "AMT-ViT": (0.736, 0.225, 0.0109),
        "PIQ-FocalNet": (np.nan, 0.278, 0.0111),
        "PIQ-ViT": (np.nan, 0.110, 0.0121),
    }
    for system, expected in published.items():
        keys = (ACCURACY, "fidelity_in", "published ff")
        got = [cell(frame, system, "top 10%", key)["published"] for key in keys]
        np.testing.assert_equal(got, expected)
    # The published FF is no value of either of our polarities.
    assert frame.loc[frame["metric"].isin(["faithfulness", "faithfulness_kept"]), "published"].isna().all()
    page = reproduction_table.markdown(PAPER, outcome({}), "xaibench reproduce")
    line = next(line for line in page.splitlines() if line.startswith("| AMT-FocalNet"))
    assert line.endswith("| *0.774* | *0.305* | *0.0111* |")
    assert "literature" in page


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
            ("vit", "piq-soft", "fidelity_in"): ones,
            ("vit", "vit-attention", "faithfulness_kept"): low,
            ("vit", "piq", "faithfulness_kept"): low,
        },
        focalnet=[True] * 5 + [False] * 3,
    )
    found = {one.claim.text: one for one in reproduction_table.verdicts(PAPER, made)}
    words = {text: one.word for text, one in found.items()}
    # p = 2 / 256 of eight equal signs; nine claims; five of them differ so, and Holm leaves 9 * 2 / 256 > 0.05.
    raw = [
        two_sided([-3 / 8] * 0 + [0.0] * 5 + [-1.0] * 3),
        two_sided([1.0] * 8),
        two_sided([0.0] * 8),
    ]
    assert raw[1] == 2 / 256
    differ = 2 / 256
    expected = holm(np.array([raw[0], differ, differ, differ, 1.0, differ, differ, 1.0, 1.0]))
    got = [one.p for one in found.values()]
    assert got[1] == pytest.approx(expected[1], rel=0.01)
    assert words["FocalNet is more accurate than ViT"] == "open"
    assert found["FocalNet is more accurate than ViT"].difference == pytest.approx(-3 / 8)
    assert found["AMT-ViT beats PIQ-ViT in Fid-In (PIQ's own soft mask)"].difference == -1.0
    assert found["FF alike: AMT-FocalNet and AMT-ViT"].difference == -0.25
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
    assert reproduction_table._word(claim, difference, p) == word


def test_the_statement_follows_the_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduction_table, "ALPHA", 0.1)  # eight recordings can reach 9 * 2 / 256 and no less
    made = outcome({("focalnet", "focalnet", "fidelity_in"): [1.0] * 8, ("vit", "piq", "fidelity_in"): [1.0] * 8})
    page = reproduction_table.markdown(PAPER, made, "xaibench reproduce focalnet-2024")
    statement = page.partition("claims hold here\n\n")[2].partition("\n")[0]
    holds, _, rest = statement.partition(" Does not hold, the opposite does: ")
    assert holds.startswith("Holds here: AMT-FocalNet beats PIQ-FocalNet in Fid-In (top 10% of either);")
    assert rest.startswith("AMT-ViT beats PIQ-ViT in Fid-In (top 10% of either). Left open by these 8 clips:")


def test_a_smoke_run_is_marked_as_no_result() -> None:
    page = reproduction_table.markdown(PAPER, outcome({}, smoke=True), "xaibench reproduce")
    assert "are no result" in page
    assert "are no result" not in reproduction_table.markdown(PAPER, outcome({}), "xaibench reproduce")


def test_only_differences_that_apply_are_told() -> None:
    facts = outcome({}).facts
    told = "\n".join(PAPER.differences(facts))
    assert "esc10, 10 classes" in told
    assert "random weights" in told
    assert "softmax(30 x cosine)" in told
    whole = Facts("esc50", 50, (5,), 400, {}, {})
    assert "classes" not in "\n".join(PAPER.differences(whole))
    assert "random weights" not in "\n".join(PAPER.differences(whole))
    assert "pooled" in "\n".join(PAPER.differences(Facts("esc50", 50, (1, 2, 3, 4, 5), 2000, {}, {})))


def test_the_committed_page_says_what_its_csv_says() -> None:
    folder = Path(__file__).parents[2] / "results"
    frame = pd.read_csv(folder / "focalnet-2024.csv")
    page = (folder / "focalnet-2024.md").read_text()
    for _, row in frame[frame["metric"] == "fidelity_in"].iterrows():
        assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in page
    assert "are no result" not in page
