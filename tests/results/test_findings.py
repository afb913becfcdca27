"""What the pages of the committed results say of them, numbers and verdicts, is what the files say."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xaibench.results import store
from xaibench.results.comparison import at_primary_area
from xaibench.results.orders import tau
from xaibench.results.parts import read_part
from xaibench.results.runs import find_runs

RESULTS = Path(__file__).parents[2] / "results"

# What the findings say that is no number: tied_with, beaten_by and better_than_random.
BETTER_THAN_CELLS_AT_EQUAL_ENERGY = {
    "cnn-micro": {
        *("input-x-gradient", "integrated-gradients", "gradient-shap"),
        *("deeplift", "occlusion", "gradcam", "gradcam-plus-plus", "layercam", "score-cam", "wam"),
    },
    "focalnet-micro": {
        *("input-x-gradient", "integrated-gradients", "gradient-shap"),
        *("occlusion", "layercam", "score-cam"),
    },
    "vit-micro": {"input-x-gradient", "integrated-gradients", "gradient-shap", "attnlrp", "wam"},
}
NOT_WORSE_THAN_ENERGY = {
    "cnn-micro": {"input-x-gradient", "integrated-gradients", "gradient-shap", "deeplift", "wam"},
    "focalnet-micro": {"input-x-gradient", "integrated-gradients", "gradient-shap", "wam"},
    "vit-micro": {"input-x-gradient", "integrated-gradients", "gradient-shap", "attnlrp", "wam"},
}
# Pairs of methods of ESC-10 that are named in the findings: whether they are told apart at equal area, at equal energy.
PAIRS_ON_ESC10 = [
    *[("vit-micro", "attnlrp", other, "==") for other in ("input-x-gradient", "integrated-gradients", "gradient-shap")],
    *[(name, "wam", "input-x-gradient", "=<") for name in ("cnn-micro", "focalnet-micro", "vit-micro")],
    *[("cnn-micro", "gradcam", other, "==") for other in ("layercam", "gradcam-plus-plus")],
    *[(name, "gradcam", "layercam", "==") for name in ("focalnet-micro", "vit-micro")],
    ("vit-micro", "attention-gradient", "vit-rollout", "=>"),
]


def test_the_verdicts_of_the_findings_are_those_of_the_file(comparisons: dict[str, pd.DataFrame]) -> None:
    lines = at_primary_area(comparisons["standard"])
    lines = lines[(lines["dataset"] == "esc10") & (lines["classifier"] != "logic-micro")]
    for classifier, own in lines.groupby("classifier"):
        by = {str(metric): one.set_index("method") for metric, one in own.groupby("metric")}
        energy, area, kept = by["faithfulness_equal_energy"], by["faithfulness"], by["fidelity_in"]

        def told_apart(table: pd.DataFrame, method: str, other: str) -> bool:
            return other not in table.loc[method, "tied_with"].split(";")

        methods = set(area.index[~area["control"]])
        above = {
            name
            for name in methods
            if energy["mean"][name] > energy["mean"]["random-cells"] and told_apart(energy, name, "random-cells")
        }
        assert above == BETTER_THAN_CELLS_AT_EQUAL_ENERGY[str(classifier)]
        assert not energy["better_than_random"]["energy"]
        apart = {name for name in methods if told_apart(area, name, "energy")}
        above = {name for name in apart if area["mean"][name] > area["mean"]["energy"]}
        assert methods - (apart - above) == NOT_WORSE_THAN_ENERGY[str(classifier)]
        assert above == ({"attnlrp"} if classifier == "vit-micro" else set())
        for _, method, other, signs in [one for one in PAIRS_ON_ESC10 if one[0] == classifier]:
            for table, expected in zip((area, energy), signs, strict=True):
                gap = table["mean"][method] - table["mean"][other]
                sign = "=" if not told_apart(table, method, other) else ">" if gap > 0 else "<"
                assert sign == expected, (classifier, method, other)
        better = set(kept.index[kept["better_than_random"].fillna(False).astype(bool)])
        assert better == ({"energy"} if classifier == "focalnet-micro" else set())
        for name in {"lmac", "piq"}:
            assert area["better_than_random"][name]
        for name in {"focalnet", "vit-attention"} & methods:
            assert not area["better_than_random"][name] and energy["better_than_random"][name]
            assert not told_apart(energy, name, "random-cells")


# Of ESC-50: better than random cells at equal energy, and worse; how pairs stand in FF and in FF(energy).
BETTER_ON_ESC50 = {
    "cnn-micro": {"input-x-gradient", "deeplift", "gradcam", "layercam", "gradcam-plus-plus"},
    "focalnet-micro": {"input-x-gradient", "gradcam", "layercam"},
    "vit-micro": {"input-x-gradient", "attnlrp", "attention-gradient", "gradcam"},
}
WORSE_ON_ESC50 = {"cnn-micro": {"piq", "lrp"}, "focalnet-micro": {"piq", "lmac"}, "vit-micro": {"piq"}}
NEAR_THE_LEAD = {"cnn-micro": {"deeplift"}, "focalnet-micro": set(), "vit-micro": {"attnlrp"}}
PAIRS_ON_ESC50 = [
    ("vit-micro", "attnlrp", "input-x-gradient", "><"),
    ("focalnet-micro", "focalnet", "piq", "<>"),
    ("focalnet-micro", "focalnet", "lmac", "<>"),
    ("focalnet-micro", "focalnet", "gradcam", "=<"),
    ("focalnet-micro", "focalnet", "random-cells", ">="),
    ("vit-micro", "vit-attention", "vit-rollout", "<>"),
    ("vit-micro", "attention-gradient", "vit-rollout", "=>"),
    ("cnn-micro", "gradcam", "layercam", "=>"),
    ("vit-micro", "gradcam", "layercam", ">>"),
]
BETTER_KEPT_ON_ESC50 = {
    "cnn-micro": {"deeplift", "input-x-gradient", "lmac"},
    "focalnet-micro": set(),
    "vit-micro": {"attnlrp", "input-x-gradient"},
}


def test_the_verdicts_of_the_findings_on_esc50_are_those_of_the_file(comparisons: dict[str, pd.DataFrame]) -> None:
    lines = at_primary_area(comparisons["standard"])
    lines = lines[lines["dataset"] == "esc50"].set_index(["classifier", "metric", "method"])

    def verdict(classifier: str, metric: str, method: str, other: str) -> str:
        own = lines.loc[(classifier, metric)]
        if other in own.loc[method, "tied_with"].split(";"):
            return "="
        return ">" if own["mean"][method] > own["mean"][other] else "<"

    area, energy, kept = "faithfulness", "faithfulness_equal_energy", "fidelity_in"
    for classifier, named in BETTER_ON_ESC50.items():
        own = lines.loc[(classifier, area)]
        methods, controls = set(own.index[~own["control"]]), set(own.index[own["control"]])
        against_cells = {name: verdict(classifier, energy, name, "random-cells") for name in methods}
        assert {name for name, sign in against_cells.items() if sign == ">"} == named
        assert {name for name, sign in against_cells.items() if sign == "<"} == WORSE_ON_ESC50[classifier]
        lead = {"input-x-gradient"} | NEAR_THE_LEAD[classifier]
        assert all(verdict(classifier, area, name, "energy") == (">" if name in lead else "<") for name in methods)
        for metric in (area, energy):
            assert all(verdict(classifier, metric, "input-x-gradient", name) == ">" for name in controls)
            rest = methods - lead
            assert all(verdict(classifier, metric, "input-x-gradient", name) == ">" for name in rest)
        assert {name for name in methods if verdict(classifier, kept, name, "random") == ">"} == (
            BETTER_KEPT_ON_ESC50[classifier]
        )
        assert verdict(classifier, energy, "energy", "random") == (">" if classifier == "vit-micro" else "=")
    for classifier, method, other, signs in PAIRS_ON_ESC50:
        found = verdict(classifier, area, method, other) + verdict(classifier, energy, method, other)
        assert found == signs, (classifier, method, other)
    assert verdict("cnn-micro", area, "gradcam", "gradcam-plus-plus") == "="
    assert verdict("cnn-micro", area, "layercam", "gradcam-plus-plus") == "="
    best = lines.loc[("focalnet-micro", kept)]
    assert all(verdict("focalnet-micro", kept, "attenuated", name) == ">" for name in best.index[~best["control"]])
    assert verdict("cnn-micro", kept, "attenuated", "deeplift") == "="


def test_what_the_findings_say_of_rules_score_cam_and_the_embedded_set(comparisons: dict[str, pd.DataFrame]) -> None:
    lines = at_primary_area(comparisons["standard"]).query("mask == 'equal area'")
    area, energy = "faithfulness", "faithfulness_equal_energy"

    def verdicts(dataset: str, classifier: str, metric: str, other: str) -> dict[str, str]:
        chosen = (lines["dataset"] == dataset) & (lines["classifier"] == classifier) & (lines["metric"] == metric)
        own = lines[chosen].set_index("method")
        tied = own.loc[other, "tied_with"].split(";")
        mean = own["mean"]
        return {name: "=" if name in tied else ">" if mean[name] > mean[other] else "<" for name in own.index}

    for metric in (area, energy):
        found = verdicts("esc10", "logic-micro", metric, "logic-rules")
        assert found["saliency"] == found["gradcam"] == "=" and found["input-x-gradient"] == ">"
        assert found["random"] == found["random-cells"] == "<"
        for classifier in ("cnn-micro", "focalnet-micro", "vit-micro"):
            found = verdicts("esc10", classifier, metric, "score-cam")
            assert found["gradcam"] == "=" and (metric == energy or found["random-cells"] == "<")
            assert found["layercam"] == ("<" if (classifier, metric) == ("vit-micro", area) else "=")
            found = verdicts("synth", classifier, metric, "score-cam")
            assert found["gradcam"] == ("<" if metric == area and classifier != "focalnet-micro" else "=")
            found = verdicts("synth", classifier, metric, "input-x-gradient")
            expected = ">" if (classifier, metric) == ("focalnet-micro", area) else "="
            assert found["integrated-gradients"] == found["gradient-shap"] == expected and found["smoothgrad"] == "<"
        assert verdicts("synth", "focalnet-micro", metric, "random-cells")["focalnet"] == ">"
    for classifier in ("cnn-micro", "focalnet-micro", "vit-micro"):
        for metric in (area, energy):
            better = {name for name, sign in verdicts("esc10", classifier, metric, "l2i").items() if sign == "<"}
            worse = {name for name, sign in verdicts("esc10", classifier, metric, "l2i").items() if sign == ">"}
            assert "random" in better and "input-x-gradient" in worse
            assert ("random-cells" in better) == (classifier == "focalnet-micro" and metric == area)
        found = {metric: verdicts("synth", classifier, metric, "l2i") for metric in (energy, "localisation_auc")}
        assert found[energy]["oracle"] == "="
        assert found[energy]["random-cells"] == ("=" if classifier == "vit-micro" else "<")
        assert found["localisation_auc"]["random"] == ("=" if classifier == "vit-micro" else "<")
    kept = lines.query("dataset == 'esc10' and metric == 'fidelity_in' and not control")
    assert list(kept.loc[kept["better_than_random"].eq(True), "method"]) == ["logic-rules"]
    better = {
        "cnn-micro": set(),
        "focalnet-micro": {"input-x-gradient", "integrated-gradients", "gradient-shap"},
        "vit-micro": {
            *("attnlrp", "input-x-gradient", "integrated-gradients", "gradient-shap"),
            *("attention-gradient", "lmac", "wam"),
        },
        "logic-micro": {"logic-rules", "integrated-gradients", "gradient-shap"},
    }
    for classifier, named in better.items():
        found = verdicts("synth", classifier, energy, "oracle")
        assert {name for name, sign in found.items() if sign == ">"} == named
        found = verdicts("synth", classifier, area, "energy")
        assert not [name for name, sign in found.items() if sign == ">"]


def test_what_the_findings_say_of_judges_is_in_their_file(comparisons: dict[str, pd.DataFrame]) -> None:
    lines = comparisons["esc10"]
    assert set(lines["n"]) == {78} and set(lines["undefined"]) == {2} and set(lines["recordings"]) == {57}
    assert lines["method"].nunique() == 9
    leading = ["input-x-gradient", "wam"]
    for metric, sign in (("f_fidelity_plus", 1), ("f_fidelity_minus", -1)):
        own = lines[lines["metric"] == metric].set_index("method")
        ties = {name: set(own.loc[name, "tied_with"].split(";")) - {""} for name in own.index}
        assert [ties[name] for name in leading] == [set(), set()]
        best = (sign * own["mean"]).sort_values(ascending=False)
        assert list(best.index[:2]) == leading
        if metric == "f_fidelity_plus":
            assert {"lrp", "saliency", "gradcam", "random-cells"} <= ties["energy"]
    (published,) = find_runs(RESULTS / "published" / "esc10-judged.run.tar.xz")
    rows = store.read_rows(published)
    (judge,) = {read_part(path)[1].judge_sha256 for path in store.parts_of(published)}
    assert len(judge) == 64
    means = rows.groupby(["metric", "method"])["value"].mean()
    assert means.to_dict() == pytest.approx(lines.set_index(["metric", "method"])["mean"].to_dict(), abs=1e-9)


def _signs(lines: pd.DataFrame, dataset: str, classifier: str, metric: str, other: str) -> dict[str, str]:
    """Say of each method whether it is better than another, worse, or not told apart, as ">", "<" or "=" ."""
    chosen = (lines["dataset"] == dataset) & (lines["classifier"] == classifier) & (lines["metric"] == metric)
    own = at_primary_area(lines[chosen & (lines["mask"] == "equal area")]).set_index("method")
    tied, up = own.loc[other, "tied_with"].split(";"), 1 if own["higher_is_better"].iloc[0] else -1
    return {
        name: "=" if name in tied else ">" if up * own["mean"][name] > up * own["mean"][other] else "<"
        for name in own.index
        if name != other
    }


def test_what_the_findings_say_of_the_sample_and_its_judge_is_in_their_files(
    comparisons: dict[str, pd.DataFrame],
) -> None:
    area, energy = "faithfulness", "faithfulness_equal_energy"
    for classifier in ("cnn-micro", "focalnet-micro", "vit-micro"):
        signs = [_signs(comparisons["sample"], "esc50", classifier, metric, "occlusion") for metric in (area, energy)]
        found = dict(zip((area, energy), signs, strict=True))
        assert found[area]["gradcam"] == ("=" if classifier == "cnn-micro" else "<") and found[energy]["gradcam"] == "="
        assert found[area]["input-x-gradient"] == found[energy]["input-x-gradient"] == ">"
        for metric, sign in ((area, "="), (energy, ">")):
            found_of = _signs(comparisons["sample"], "esc50", classifier, metric, "integrated-gradients")
            assert found_of["input-x-gradient"] == sign
    lines = comparisons["esc50"]
    assert set(lines["n"]) == {76} and set(lines["undefined"]) == {4} and set(lines["recordings"]) == {80}
    assert lines.loc[~lines["control"], "method"].nunique() == 10

    def plus(other: str) -> dict[str, str]:
        return _signs(lines, "esc50", "cnn-micro", "f_fidelity_plus", other)

    assert set(plus("input-x-gradient").values()) == {"<"}
    assert {name for name, sign in plus("deeplift").items() if sign != "<"} == {"input-x-gradient"}
    for name, other in (("guided-backprop", "guided-gradcam"), ("guided-gradcam", "guided-backprop")):
        assert plus(name)[other] == "="
        assert {one for one, sign in plus(name).items() if sign == ">"} == {"input-x-gradient", "deeplift"}
    assert {name for name, sign in plus("energy").items() if sign == "="} == {"gradcam", "layercam", "lmac", "piq"}
    assert plus("random")["saliency"] == "="
    minus = lines[lines["metric"] == "f_fidelity_minus"].set_index("method")["better_than_random"]
    assert set(minus.index[minus.eq(True)]) == {"input-x-gradient", "deeplift"}


def test_what_the_findings_say_of_mixtures_and_the_cue_is_in_the_file(comparisons: dict[str, pd.DataFrame]) -> None:
    lines = at_primary_area(comparisons["standard"])
    placed = lines[lines["metric"] == "localisation_auc"].groupby("dataset")[["n", "undefined"]].agg(set)
    assert placed.loc["synth-cue"].tolist() == [{62}, {98}] and placed.loc["esc50-mix"].tolist() == [{47}, {113}]
    for metric in ("faithfulness", "faithfulness_equal_energy"):
        found = _signs(lines, "synth-cue", "cnn-micro", metric, "energy")
        assert all(found[name] == ">" for name in ("deeplift", "input-x-gradient", "lrp", "saliency"))
        found = _signs(lines, "esc50-mix", "cnn-micro", metric, "input-x-gradient")
        assert {name for name, sign in found.items() if sign != "<"} <= {"deeplift"}
    found = _signs(lines, "synth-cue", "cnn-micro", "localisation_auc", "energy")
    assert {name for name, sign in found.items() if sign == "<"} == {"random", "random-cells", "uniform"}
    found = _signs(lines, "esc50-mix", "cnn-micro", "localisation_auc", "input-x-gradient")
    assert all(found[name] == ">" for name in ("lmac", "gradcam", "energy"))
    assert found["random-cells"] == "<"


def test_the_sanity_page_is_that_of_its_table() -> None:
    table = pd.read_csv(RESULTS / "sanity-esc10.csv")
    page = (RESULTS / "sanity-esc10.md").read_text()
    assert table.groupby("classifier")["method"].nunique().to_dict() == {
        "cnn-micro": 21,
        "focalnet-micro": 17,
        "vit-micro": 20,
    }
    for line in table.dropna(subset="mprt_mean").itertuples():
        assert f"| {line.method} | {line.mprt_mean:.2f} [{line.mprt_low:.2f}, {line.mprt_high:.2f}] |" in page
    ignoring = set(table.loc[table["verdict"].str.startswith("ignores"), "method"])
    assert ignoring == {"energy", "random", "random-cells", "centre"}


def test_what_the_findings_say_of_the_papers_claims_is_on_its_page(comparisons: dict[str, pd.DataFrame]) -> None:
    rows = [line.split(" | ") for line in (RESULTS / "focalnet-2024.md").read_text().splitlines()]
    verdicts = {row[0].removeprefix("| "): row[-1].removesuffix(" |") for row in rows if len(row) == 4}
    same = {claim: verdict for claim, verdict in verdicts.items() if claim.startswith("FF alike")}
    assert len(same) == 3 and set(same.values()) == {"does not hold"}
    assert {claim for claim, verdict in verdicts.items() if verdict == "holds"} == {
        "FocalNet is more accurate than ViT",
        "AMT-FocalNet beats AMT-ViT in Fid-In",
    }
    for family in ("FocalNet", "ViT"):
        claim = f"AMT-{family} beats PIQ-{family} in Fid-In (top 10% of either)"
        assert verdicts[claim] == "the opposite holds"
    board = at_primary_area(comparisons["standard"]).query("dataset == 'esc50' and metric == 'fidelity_in'")
    board = board.set_index(["classifier", "method"])
    page = pd.read_csv(RESULTS / "focalnet-2024.csv").query("metric == 'fidelity_in' and mask == 'equal area'")
    for line in page.itertuples():
        assert board.loc[(line.classifier, line.method), "mean"] == pytest.approx(line.mean, abs=1e-9), line.system
        assert line.control or not line.better_than_random


def test_the_changes_of_the_findings_are_those_of_the_files() -> None:
    pairs = pd.read_csv(RESULTS / "orders-esc10-changes.csv")
    lines = pd.read_csv(RESULTS / "orders-esc10.csv")
    area, energy = (pairs[pairs["budget"] == name] for name in ("10% of the area", "equal energy"))
    assert area["verdict"].value_counts().to_dict() == {"tied now": 13, "told apart now": 12}
    smoothgrad = area[["first", "second"]].eq("smoothgrad").any(axis=1)
    assert smoothgrad.sum() == 16
    turned = energy[energy["verdict"] == "reversed"]
    assert turned["classifier"].value_counts().to_dict() == {"cnn-micro": 5, "focalnet-micro": 4, "vit-micro": 8}
    for name, count in {"energy": 13, "vit-attention": 5}.items():
        assert turned[["first", "second"]].eq(name).any(axis=1).sum() == count
    of_focalnet = turned[turned["classifier"] == "focalnet-micro"]
    assert set(of_focalnet["first"]) == {"energy"}
    assert set(of_focalnet["second"]) == {"focalnet", "gradcam", "occlusion", "piq"}
    both = area[["first", "second"]].apply(set, axis=1)
    assert not ((area["classifier"] == "cnn-micro") & (both == {"saliency", "gradcam"})).any()
    sizes = lines[lines["condition"] == "sound"].groupby("classifier").size()
    assert (sizes * (sizes - 1) // 2).sum() == 274
    taus = {
        other: [round(tau(lines, name, "pictures", other), 2) for name in sorted(sizes.index)]
        for other in ("sound", "sound, equal energy")
    }
    assert taus == {"sound": [0.81, 0.92, 0.93], "sound, equal energy": [0.47, 0.49, 0.27]}


def test_what_the_findings_say_of_elements_is_in_the_file() -> None:
    lines = pd.read_csv(RESULTS / "orders-esc10-elements.csv")
    names = sorted(set(lines["classifier"]))
    taus = {
        one: [round(tau(lines, name, "sound", f"sound, {one}"), 2) for name in names]
        for one in ("path=direct", "fill=mean", "fill=noise")
    }
    assert taus == {"path=direct": [1, 1, 1], "fill=mean": [0.82, 0.47, 0.50], "fill=noise": [0.72, 0.49, 0.40]}
    controls = {"energy", "random", "random-cells", "uniform", "attenuated"}
    better = {
        key: set(own.loc[own["better_than_random"], "method"]) - controls
        for key, own in lines.groupby(["classifier", "condition"])
    }
    assert better["focalnet-micro", "sound, fill=mean"] == {"smoothgrad"}
    assert better["focalnet-micro", "sound, fill=noise"] == set()
    of_cnn = set(lines.loc[lines["classifier"] == "cnn-micro", "method"]) - controls
    assert better["cnn-micro", "sound, fill=mean"] == better["cnn-micro", "sound, fill=noise"] == of_cnn
    assert set(lines["n"]) == {40} and set(lines["recordings"]) == {38}


def test_the_verdicts_on_metrics_are_those_of_the_files() -> None:
    text = (RESULTS / "README.md").read_text()
    everywhere, against = {}, {}
    of_cue = [line for line in (RESULTS / "validation-synth-cue.md").read_text().splitlines() if line.startswith("- ")]
    assert len(of_cue) >= 4 and "\n".join(of_cue) in text
    for dataset in ("synth", "esc10-mix", "esc50-mix"):
        written = (RESULTS / f"validation-{dataset}.md").read_text()
        summary = [line for line in written.splitlines() if line.startswith("- ")]
        assert len(summary) >= 4 and "\n".join(summary) in text
        lines = pd.read_csv(RESULTS / f"validation-{dataset}.csv")
        lines = lines[(lines["area"].isna() | np.isclose(lines["area"], 0.1)) & ~lines["by_construction"]]
        verdicts = lines.groupby("metric")["verdict"].agg(set)
        everywhere[dataset] = {str(metric) for metric, found in verdicts.items() if found == {"orders"}}
        reverses = lines[(lines["verdict"] == "reverses") & (lines["metric"] != "max_sensitivity")]
        against[dataset] = set(zip(reverses["classifier"], reverses["metric"], strict=True))
        assert verdicts["max_sensitivity"] == {"reverses"}
    firm = {"faithfulness", "faithfulness_equal_energy", "deletion_auc", "mprt", "random_logit"}
    assert everywhere["synth"] == firm | {"average_drop", "insertion_auc"} and everywhere["esc10-mix"] == firm
    assert everywhere["esc50-mix"] == firm | {"average_gain", "average_increase", "insertion_auc"}
    doubtful = {("focalnet-micro", "fidelity_in"), ("focalnet-micro", "average_drop")}
    assert against == {"synth": set(), "esc10-mix": set(), "esc50-mix": doubtful}
    at_ten = pd.read_csv(RESULTS / "validation-esc50-mix.csv").query("area == 0.1").set_index(["classifier", "metric"])
    assert at_ten.loc[("focalnet-micro", "fidelity_in"), ["half", "oracle"]].round(3).tolist() == [0.854, 0.729]
    assert at_ten.loc[("focalnet-micro", "average_drop"), ["half", "oracle"]].round(1).tolist() == [18.5, 32.0]


def test_what_the_findings_say_of_stability_is_in_the_files() -> None:
    text = (RESULTS / "README.md").read_text()
    taus = pd.read_csv(RESULTS / "stability.csv").set_index(["classifier", "condition"])["tau"]
    claims = re.findall(r"([\d.]+)<!-- tau \| (.*?) \| (.*?) -->", text)
    assert len(claims) == 16
    for number, classifier, condition in claims:
        assert float(number) == pytest.approx(taus[classifier, condition], abs=0.0051), (classifier, condition)
    pairs = pd.read_csv(RESULTS / "stability-pairs.csv")
    assert pairs["classifier"].value_counts().to_dict() == {"cnn-micro": 16, "focalnet-micro": 1}
    assert set(pairs.loc[pairs["classifier"] == "cnn-micro", "worse"]) == {"random", "uniform"}
    page = (RESULTS / "stability.md").read_text()
    assert "| cnn-micro | 55 | 45 | 16 |" in page and "| focalnet-micro | 21 | 12 | 1 |" in page
    assert "| vit-micro | 28 | 21 | 0 |" in page


# Where lines of a claim are, and of which dataset, by its first word; other words are datasets.
PLACES = {
    "standard": ("standard", "esc10"),
    "sample": ("sample", "esc50"),
    "pictures": ("pictures", "esc50"),
    "judged": ("esc10", "esc10"),
    "judged50": ("esc50", "esc50"),
}
CLAIM = re.compile(r"([+-]?[\d.]+) \[([+-]?[\d.]+), ([+-]?[\d.]+)\](?:<!-- (.*?) -->)?")


def test_every_number_of_the_findings_is_that_of_the_files(comparisons: dict[str, pd.DataFrame]) -> None:
    """Findings name a mean and its interval, and behind them, unseen on the page, the line that they are of."""
    orders = {"order": "orders-esc10.csv", "element": "orders-esc10-elements.csv"}
    pairs = pd.read_csv(RESULTS / "orders-esc10-changes.csv")
    text = (RESULTS / "README.md").read_text()
    findings = text[text.index("## What the results say about ESC-50") :]
    claims = CLAIM.findall(findings)
    assert len(claims) > 10
    for *numbers, source in claims:
        kind, *key = source.split(" | ")
        if kind in orders:
            condition, classifier, method = key
            chosen = pd.read_csv(RESULTS / orders[kind])
            chosen = chosen[(chosen["condition"] == condition) & (chosen["method"] == method)]
            line = chosen[chosen["classifier"] == classifier][["mean", "low", "high"]]
        elif kind == "pair":
            budget, when, classifier, first, second = key
            chosen = pairs[(pairs["budget"] == budget) & (pairs["classifier"] == classifier)]
            chosen = chosen[(chosen["first"] == first) & (chosen["second"] == second)]
            line = chosen[[f"{name}_{when}" for name in ("difference", "low", "high")]]
        else:
            classifier, method, metric = key
            folder, dataset = PLACES.get(kind, ("standard", kind))
            chosen = at_primary_area(comparisons[folder])
            chosen = chosen[(chosen["dataset"] == dataset) & (chosen["metric"] == metric)]
            line = chosen[(chosen["classifier"] == classifier) & (chosen["method"] == method)][["mean", "low", "high"]]
        assert len(line) == 1, source
        for number, value in zip(numbers, line.to_numpy(float)[0], strict=True):
            decimals = len(number.partition(".")[2])
            assert float(number) == pytest.approx(value, abs=0.51 * 10**-decimals), source
