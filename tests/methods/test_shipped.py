"""The fitted explainers in the package: for every shipped classifier, small, whole, and not collapsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.explaining import fitting

NOWHERE = Path("nowhere")
EVERY = references.shipped()
# No explainer is fitted to those of the planted cue, whose boards need none, and to the logic network.
SHIPPED = [(dataset, name) for dataset, name in EVERY if not dataset.startswith("synth-cue") and name != "logic-micro"]
METHODS = ("piq", "lmac")
MEGABYTES = 20


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dataset", "name"), SHIPPED)
def test_every_shipped_classifier_has_one(dataset: str, name: str, method: str) -> None:
    classifier, classifier_card = checkpoint.resolve(name, dataset)
    loaded = LoadedClassifier(name, classifier, classifier_card.weights_sha256)
    card = fitting.bind(method, registry.create("methods", method), loaded, dataset, NOWHERE)  # checks the hashes
    assert card is not None
    assert (card.dataset, card.train_folds, card.validation_folds) == (dataset, (1, 2, 3), (4,))
    best = min(card.losses, key=lambda losses: losses["valid"])
    assert best["valid"] < card.losses[0]["valid"], "no epoch was better than the first"
    assert card.best_epoch in [losses["epoch"] for losses in card.losses]
    assert card.licence == classifier_card.licence


@pytest.mark.parametrize(("dataset", "name"), SHIPPED)
def test_most_of_a_codebook_is_used(dataset: str, name: str) -> None:
    folder = fitting.folder_of(references.shipped_folder(name, dataset).parent.parent, dataset, name, "piq")
    assert fitting.ExplainerCard.read(folder).measures["codes_in_use"] > 0.5


def test_they_are_small() -> None:
    folders = [folder for folder in fitting.found(NOWHERE) if folder.name in METHODS]
    assert len(folders) == len(METHODS) * len(SHIPPED)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < MEGABYTES * 2**20


@pytest.mark.parametrize(("dataset", "name"), EVERY)
def test_weights_are_offered_under_the_licence_of_what_they_learned_from(dataset: str, name: str) -> None:
    """The strictest of the data's, and of the data's that the weights started from."""
    folder = references.shipped_folder(name, dataset)
    _, card = checkpoint.resolve(name, dataset)
    # docs/classifiers.md: these were trained in stages, of which the first started from the weights for ESC-10.
    staged = "CC BY 3.0" if dataset == "synth" and "--init" in card.command and name != "logic-micro" else ""
    sources = f"{card.data_licence} {card.taught_by} {staged}"
    strictest = next((one for one in ("CC BY-NC 3.0", "CC BY 3.0") if one in sources), "Apache-2.0")
    assert card.licence == strictest
    assert card.licence in (folder.parent / "LICENSE").read_text()


def test_all_weights_fit_into_44_megabytes() -> None:
    folders = {references.shipped_folder(name, dataset) for dataset, name in EVERY}
    assert sum(path.stat().st_size for folder in folders for path in folder.rglob("*")) < 44e6
