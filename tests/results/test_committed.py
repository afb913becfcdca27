"""The committed results say what they must, and the README shows them as they are."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from tests.results.conftest import FOLDERS, RESULTS
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import UnsupportedPairError
from xaibench.explaining import fitting
from xaibench.explaining.explainer import Explainer
from xaibench.reports import boards, tables
from xaibench.reports.marks import read_marks
from xaibench.results.runs import find_runs
from xaibench.results.selection import Group, group

ROOT = Path(__file__).parents[2]
COMMITTED = [
    (place, dataset, name)
    for place, folder in FOLDERS.items()
    for dataset, name in references.shipped()
    if (folder / f"leaderboard-{dataset}.md").exists() and name != "logic-micro"  # it came later
]
PROTOCOLS = {"standard": "standard", "spectrogram": "spectrogram", "sample": "standard", "pictures": "spectrogram"}
# What a run leaves out of what would make sense. Of `centre` something is to be said only where there are events.
NO_EVENTS = {"centre", "logic-rules", "l2i"}
LATER = {"attention-gradient", "layercam", "gradcam-plus-plus", "lrp", "attnlrp", "wam"}  # than the boards of pictures
COSTLY = {"integrated-gradients", "gradient-shap", "smoothgrad", "occlusion", "wam"}  # seconds a clip
ONLY = {
    ("standard", "synth-cue"): {
        *("random", "random-cells", "energy", "uniform", "attenuated", "oracle", "input-x-gradient", "saliency"),
        *("deeplift", "guided-backprop", "guided-gradcam", "lrp", "gradcam", "layercam", "gradcam-plus-plus"),
    },
    ("pictures", "esc50"): {
        *("random", "energy", "saliency", "input-x-gradient", "lrp", "gradcam", "focalnet", "vit-attention"),
        *("vit-rollout", "attnlrp", "piq", "lmac"),
    },
}
LEFT_OUT = {
    ("spectrogram", "esc10"): NO_EVENTS | LATER,
    ("spectrogram", "synth"): NO_EVENTS | LATER,
    ("standard", "esc10"): NO_EVENTS,
    ("standard", "esc50"): NO_EVENTS | COSTLY,
    ("standard", "synth"): {"l2i"},
    ("sample", "esc50"): NO_EVENTS | COSTLY - {"integrated-gradients", "occlusion"},
}
# And what it has nevertheless: a black box.
BESIDE = {("standard", "esc10"): {"score-cam"}, ("standard", "synth"): {"score-cam"}}
# And what was scored with weights that are not shipped.
FITTED = {("standard", "esc10"): {"l2i"}, ("standard", "synth"): {"l2i"}}
# Runs of which a board is made.
RUNS = {
    ("standard", "esc10"): ("esc10", "esc10-later", "esc10-last"),
    ("standard", "esc50"): ("esc50",),
    ("standard", "synth"): ("synth",),
    ("standard", "synth-cue"): ("synth-cue",),
    ("standard", "esc50-mix"): ("esc50-mix",),
    ("sample", "esc50"): ("esc50", "esc50-sample"),
}
# Metrics of boards that have not those of the default set.
METRICS = {
    ("standard", "synth-cue"): {
        *("faithfulness", "faithfulness_equal_energy", "fidelity_in", "average_drop", "sparseness", "complexity"),
        *("relevance_mass", "relevance_rank", "pointing_game", "localisation_auc"),
    },
    ("pictures", "esc50"): {"faithfulness"},
}
CURVES = {"deletion_auc", "insertion_auc"}  # 38 passes a clip
# Clips and recordings that methods are compared on, and clips that were scored of some.
CLIPS = {"esc10": (80, 57), "synth": (80, 80), "esc50": (400, 310), "synth-cue": (160, 80), "esc50-mix": (160, 160)}
SHARED = {"sample": (80, 80)}


def is_ready(name: str, method: Explainer, loaded: LoadedClassifier, dataset: str) -> bool:
    """Whether a method needs no weights, or those that it needs are shipped."""
    try:
        fitting.bind(name, method, loaded, dataset, ROOT / "nowhere")
    except UnsupportedPairError:
        return False
    return True


@pytest.mark.parametrize(("place", "dataset", "classifier"), COMMITTED)
def test_every_sensible_pair_and_metric_is_there_on_all_clips(
    comparisons: dict[str, pd.DataFrame], place: str, dataset: str, classifier: str
) -> None:
    comparison, protocol = comparisons[place], PROTOCOLS[place]
    here = comparison[(comparison["dataset"] == dataset) & (comparison["classifier"] == classifier)]
    model, card = checkpoint.resolve(classifier, dataset)
    known = dataset.startswith("synth")
    methods = {name: registry.create("methods", name) for name in registry.names("methods")}
    sensible = {
        name
        for name, method in methods.items()
        # The costly black-box methods are left out of the committed runs.
        if protocol in method.protocols and method.forwards_parameter is None
        if method.refusal(model, known) is None
    }
    every = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    metrics = {
        name
        for name, metric in every.items()
        if metric.in_default_set and protocol in metric.protocols and not metric.needs_events
        if known or not metric.needs_ground_truth
    }
    # Plugins that happen to be installed were not part of the committed run.
    chosen = sensible & ONLY.get((place, dataset), sensible) - LEFT_OUT.get((place, dataset), set())
    built_in = {name for name in chosen if registry.origin("methods", name) == "xaibench"}
    loaded = LoadedClassifier(classifier, model, card.weights_sha256)
    taking_part = {name for name in built_in if is_ready(name, methods[name], loaded, dataset)}
    if dataset != "synth-cue":
        assert taking_part >= {"piq", "lmac"}, "shipped for every other shipped classifier"
    beside = BESIDE.get((place, dataset), set()) | FITTED.get((place, dataset), set())
    assert set(here["method"]) == taking_part | beside
    assert set(here.loc[here["mask"] == "soft", "method"]) == {
        n for n in taking_part | beside if methods[n].native_mask
    }
    if (place, dataset) == ("standard", "synth"):
        metrics = metrics - CURVES
    if dataset == "esc50":
        metrics = metrics - CURVES | {"faithfulness_kept"}
    metrics = METRICS.get((place, dataset), metrics)
    assert set(here["metric"]) == {name for name in metrics if registry.origin("metrics", name) == "xaibench"}
    clips, recordings = SHARED.get(place, CLIPS[dataset])
    if place in SHARED:  # by their own masks, methods are not compared, and have all clips that they were scored on
        here = here[here["mask"] != "soft"]
    else:
        assert here["accuracy"].iloc[0] == pytest.approx(card.test_accuracy)
    assert (here["n"] + here["undefined"] == clips).all()
    assert place == "spectrogram" or set(here["recordings"]) == {recordings}


@pytest.mark.parametrize(("place", "dataset", "classifier"), [*COMMITTED, ("standard", "esc50-mix", "cnn-micro")])
def test_the_written_boards_are_those_of_the_comparison(
    comparisons: dict[str, pd.DataFrame], place: str, dataset: str, classifier: str
) -> None:
    written = (FOLDERS[place] / f"leaderboard-{dataset}.md").read_text()
    marks = read_marks(FOLDERS[place], groups(place, dataset)) if place == "standard" else {}
    assert tables.markdown(boards.board(comparisons[place], dataset, classifier, marks)).strip() in written


@cache
def groups(place: str, dataset: str) -> list[Group]:
    runs = RUNS[place, dataset]
    return group(find_runs(*(RESULTS / "published" / f"{name}.run.tar.xz" for name in runs)))


@pytest.mark.parametrize(("place", "dataset"), sorted(RUNS))
def test_the_committed_rows_are_those_of_the_comparison(
    comparisons: dict[str, pd.DataFrame], place: str, dataset: str
) -> None:
    (one,) = groups(place, dataset)
    keys = ["classifier", "method", "mask", "metric", "area"]
    rows = one.rows().assign(area=lambda table: table["area"].fillna(-1))
    assert rows["clip"].nunique() == CLIPS[dataset][0] and rows["src_file"].nunique() == CLIPS[dataset][1]
    if place in SHARED:
        few = set(rows.loc[rows["method"] == "occlusion", "clip"])
        assert len(few) == SHARED[place][0]
        rows = rows[rows["clip"].isin(few) | (rows["mask"] == "soft")]
    means = rows.groupby(keys)["value"].mean()
    lines = comparisons[place]
    lines = lines[lines["dataset"] == dataset].assign(area=lambda table: table["area"].fillna(-1)).set_index(keys)
    assert set(means.index) == set(lines.index)
    pd.testing.assert_series_equal(means, lines["mean"].reindex(means.index), check_names=False, rtol=1e-9, atol=1e-12)


def test_the_readme_shows_a_board_of_the_results() -> None:
    shown = (ROOT / "README.md").read_text().partition("<!-- leaderboard -->")[2].partition("<!-- end -->")[0]
    board = shown.partition("**esc50, focalnet-micro: ")[2].partition("![")[0].strip()
    written = (RESULTS / "leaderboard-esc50.md").read_text()
    assert board.count("\n") > 20
    # As a whole: rows, heading and notes of different boards differ by a mark only.
    assert board == written.partition("**esc50, focalnet-micro: ")[2].partition("\n**esc50, ")[0].strip()


PAPER = r"""\documentclass[%s]{article}
\usepackage{booktabs,adjustbox}
\begin{document}
%s
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("style", ["onecolumn", "twocolumn"])
def test_the_tables_for_papers_compile_and_nothing_sticks_out(style: str, tmp_path: Path) -> None:
    found = [path.read_text() for folder in FOLDERS.values() for path in sorted(folder.glob("leaderboard-*.tex"))]
    (tmp_path / "paper.tex").write_text(PAPER % (style, "\n".join(found)))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Output written on paper.pdf" in done.stdout, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
