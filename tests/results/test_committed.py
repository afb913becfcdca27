"""The committed results say what they must, and the README shows them as they are."""

from pathlib import Path

import pandas as pd
import pytest

from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import UnsupportedPairError
from xaibench.explaining import fitting
from xaibench.explaining.explainer import Explainer
from xaibench.reports import boards, tables
from xaibench.scoring.protocol import SPECTROGRAM

ROOT = Path(__file__).parents[2]
COMMITTED = [
    (dataset, name) for dataset, name in references.shipped() if (ROOT / f"results/leaderboard-{dataset}.md").exists()
]


# They came after the committed runs.
LATER = {"attention-gradient", "layercam", "gradcam-plus-plus", "lrp", "attnlrp"}


@pytest.fixture(scope="module")
def comparison() -> pd.DataFrame:
    table = pd.read_csv(ROOT / "results" / "comparison.csv", keep_default_na=True)
    # The committed file was written before these columns were, when a dataset was one group of whole runs.
    about = {name: registry.load("metrics", name) for name in set(table["metric"])}
    facts = {"metric_title": "title", "family": "family", "higher_is_better": "higher_is_better"}
    described = {column: [getattr(about[name], fact) for name in table["metric"]] for column, fact in facts.items()}
    later = {"group": table["dataset"], "clips": table["n"] + table["undefined"], "missing": 0, "differs_in": ""}
    titles = {name: registry.load("methods", name).title for name in set(table["method"])}
    later |= {"fill": "silence", "target": "predicted", "long": "cut", **described}
    later["method_title"] = table["method"].map(titles)
    table = table.assign(**{name: values for name, values in later.items() if name not in table})
    text = ["tied_with", "beaten_by", "differs_in"]  # an empty list, which a CSV cannot tell from nothing
    return table.assign(**{name: table[name].fillna("") for name in text})


def is_ready(name: str, method: Explainer, loaded: LoadedClassifier, dataset: str) -> bool:
    """Whether a method needs no weights, or those that it needs are shipped."""
    try:
        fitting.bind(name, method, loaded, dataset, ROOT / "nowhere")
    except UnsupportedPairError:
        return False
    return True


@pytest.mark.parametrize(("dataset", "classifier"), COMMITTED)
def test_every_sensible_pair_and_metric_is_there_on_80_clips(
    comparison: pd.DataFrame, dataset: str, classifier: str
) -> None:
    here = comparison[(comparison["dataset"] == dataset) & (comparison["classifier"] == classifier)]
    model, card = checkpoint.resolve(classifier, dataset)
    known = dataset == "synth"
    methods = {name: registry.create("methods", name) for name in registry.names("methods")}
    sensible = {
        name
        for name, method in methods.items()
        # The committed runs were made under this protocol, before the costly black-box methods were there.
        if SPECTROGRAM.name in method.protocols and method.forwards_parameter is None
        if method.refusal(model, known) is None
    }
    every = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    metrics = {
        name
        for name, metric in every.items()
        if metric.in_default_set and SPECTROGRAM.name in metric.protocols and (known or not metric.needs_ground_truth)
    }
    # Plugins that happen to be installed were not part of the committed run.
    built_in = {name for name in sensible - LATER if registry.origin("methods", name) == "xaibench"}
    loaded = LoadedClassifier(classifier, model, card.weights_sha256)
    taking_part = {name for name in built_in if is_ready(name, methods[name], loaded, dataset)}
    assert taking_part >= {"piq", "lmac"}, "shipped for every shipped classifier"
    assert set(here["method"]) == taking_part
    assert set(here.loc[here["mask"] == "soft", "method"]) == {n for n in taking_part if methods[n].native_mask}
    assert set(here["metric"]) == {name for name in metrics if registry.origin("metrics", name) == "xaibench"}
    assert (here["n"] + here["undefined"] == 80).all()
    assert here["accuracy"].iloc[0] == pytest.approx(card.test_accuracy)


@pytest.mark.parametrize(("dataset", "classifier"), COMMITTED)
def test_the_written_boards_are_those_of_the_comparison(
    comparison: pd.DataFrame, dataset: str, classifier: str
) -> None:
    written = (ROOT / "results" / f"leaderboard-{dataset}.md").read_text()
    # No marks: the validations in the same folder are of another protocol.
    assert tables.markdown(boards.board(comparison, dataset, classifier)).strip() in written


def test_the_readme_shows_a_board_of_the_results() -> None:
    shown = (ROOT / "README.md").read_text().partition("<!-- leaderboard -->")[2].partition("<!-- end -->")[0]
    rows = [row for row in shown.splitlines() if row.startswith("|")]
    written = (ROOT / "results" / "leaderboard-esc10.md").read_text()
    assert len(rows) > 10
    assert all(row in written for row in rows)
