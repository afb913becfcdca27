"""The steps that repeat a paper: train or load, fit, score; each is done once and survives a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from xaibench import registry
from xaibench.classifiers import checkpoint, references, training
from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, UnsupportedPairError, XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.fitting import ExplainerCard
from xaibench.explaining.trainable import Epoch, Setting, TrainableExplainer
from xaibench.papers.paper import Architecture, Facts, Paper
from xaibench.results.store import Manifest, RunFolder, read_rows
from xaibench.scoring import protocol
from xaibench.scoring.evaluate import Event, RunConfig, evaluate
from xaibench.sound.dataset import Dataset, Split
from xaibench.storage.user_folders import cache_folder

SMOKE_CLIPS = 10  # of every fold
SMOKE_EPOCHS = 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Request:
    """What to repeat, and how.

    Attributes:
        paper: the comparison.
        dataset: sound; of a smoke run a handful of it.
        size: of the classifiers.
        folds: the test folds, each with classifiers that have not seen it.
        work: folder of all that is trained, fitted and scored.
        command: as typed, for the cards.
        explainers: folder with what the user fitted earlier.
        seed: of every random draw.
        device: where to compute.
        precision: of training and fitting; scores are float32.
        pretrained: whether trainings start from the paper's image models.
        given: classifiers to load instead of training them, by family.
        smoke: trains and fits all anew, for few epochs.
    """

    paper: Paper
    dataset: Dataset
    size: str
    folds: tuple[int, ...]
    work: Path
    command: str
    explainers: Path = fitting.ROOT
    seed: int = 0
    device: torch.device = CPU
    precision: torch.dtype = torch.float32
    pretrained: bool = False
    given: Mapping[str, tuple[LoadedClassifier, checkpoint.Card]] = field(default_factory=dict)
    smoke: bool = False

    def split(self, fold: int) -> Split:
        """The folds for training, validation and test when `fold` is the test fold."""
        return Split.testing(fold, sorted({clip.fold for clip in self.dataset.clips}))


Kind = Literal["train", "fit", "score"]


@dataclass(frozen=True)
class Step:
    """One thing to do for one test fold.

    Attributes:
        kind: what.
        fold: the test fold.
        architecture: whose classifier.
        method: what is fitted, or "" .
        found: where the result is already, in words; empty for what is still to do.
    """

    kind: Kind
    fold: int
    architecture: Architecture
    method: str = ""
    found: str = ""

    def title(self, size: str) -> str:
        """A line for people."""
        what = f"{self.kind} {self.method} on" if self.method else self.kind
        return f"{what} {self.architecture.sizes[size]}, fold {self.fold}"


@dataclass(frozen=True)
class Tick:
    """Progress within a step."""

    step: Step
    done: int
    total: int
    text: str = ""


Report = Callable[[Tick], None]


@dataclass(frozen=True)
class Outcome:
    """Per-clip rows of all folds, pooled, and what they were made with."""

    rows: pd.DataFrame
    labels: dict[str, str]
    facts: Facts


def plan(request: Request) -> list[Step]:
    """All steps in their order; nothing is trained, fitted or scored."""
    steps = []
    for fold in request.folds:
        for one in request.paper.architectures:
            folder, origin = _known(request, fold, one)
            steps.append(Step("train", fold, one, found=origin))
            loaded = _subject(request, one, folder)[0] if origin else None
            for method in one.methods:
                kind = registry.load("methods", method)
                if isinstance(kind, type) and issubclass(kind, TrainableExplainer):
                    found = "" if loaded is None else _fitted(request, fold, loaded, method)[1]
                    steps.append(Step("fit", fold, one, method, found))
            steps.append(Step("score", fold, one))
    return steps


def run(request: Request, report: Report) -> Outcome:
    """Do what is still to do, and read the scores.

    Args:
        report: called as steps advance.

    Raises:
        XaibenchError: a method failed on a classifier.
        CheckpointError: weights found in the folder were made of other sound.
    """
    frames = []
    labels: dict[str, str] = {}
    cards: dict[str, list[checkpoint.Card]] = {}
    fits: dict[tuple[str, str], list[ExplainerCard]] = {}
    for fold in request.folds:
        folder = _open(request, fold)
        for one in request.paper.architectures:
            loaded, card = _classifier(request, fold, one, report)
            labels[one.family] = loaded.label
            cards.setdefault(one.family, []).append(card)
            roots: dict[Path, list[str]] = {}
            for method in (*one.methods, *request.paper.controls):
                root, explainer_card = _explainer(request, fold, one, loaded, method, report)
                roots.setdefault(root, []).append(method)
                if explainer_card is not None:
                    fits.setdefault((one.family, method), []).append(explainer_card)
            _score(request, fold, one, loaded, roots, folder, report)
        frames.append(read_rows(folder.path))
    rows = pd.concat(frames, ignore_index=True)
    facts = Facts(
        request.dataset.name,
        len(request.dataset.classes),
        request.folds,
        rows["clip"].nunique(),
        {family: tuple(found) for family, found in cards.items()},
        {pair: tuple(found) for pair, found in fits.items()},
        request.smoke,
    )
    return Outcome(rows, labels, facts)


def recipe(request: Request, one: Architecture) -> Recipe:
    """How a classifier is trained."""
    own = checkpoint.build(one.sizes[request.size], request.dataset.classes).recipe
    return replace(own, epochs=SMOKE_EPOCHS) if request.smoke else own


def settings(request: Request, method: str) -> dict[str, Setting]:
    """How an explainer is fitted."""
    own = dict(registry.load("methods", method).settings)
    return own | dict(request.paper.brief[method]) if request.smoke else own


def _fold_folder(request: Request, fold: int) -> Path:
    return request.work / f"fold-{fold}"


def _open(request: Request, fold: int) -> RunFolder:
    data = request.dataset
    manifest = Manifest(
        dataset=data.name,
        dataset_fingerprint=data.fingerprint(),
        folds=(fold,),
        limit=None,
        clips=len(data.in_folds((fold,))),
        seed=request.seed,
        protocol=protocol.default().id,
    )
    return RunFolder(_fold_folder(request, fold) / "scores", manifest)


def _known(request: Request, fold: int, one: Architecture) -> tuple[Path, str]:
    """The checkpoint folder of a classifier, and where it comes from if it is there already."""
    name, split = one.sizes[request.size], request.split(fold)
    folder = _fold_folder(request, fold) / "checkpoints" / name
    if one.family in request.given:
        return folder, f"given: {request.given[one.family][0].label}"
    if (folder / checkpoint.CARD).is_file():
        return folder, "trained earlier"
    shipped = None
    if not request.smoke and not request.pretrained:
        shipped = references.shipped_folder(name, request.dataset.name)
    if shipped is not None:
        card = checkpoint.Card.read(shipped)
        if (card.train_folds, card.validation_folds, card.test_folds) == (split.train, split.validation, split.test):
            return shipped, "shipped weights"
    return folder, ""


def _subject(request: Request, one: Architecture, folder: Path) -> tuple[LoadedClassifier, checkpoint.Card]:
    if one.family in request.given:
        return request.given[one.family]
    classifier, card = checkpoint.load(folder)
    if card.classes != request.dataset.classes:
        raise CheckpointError(f"{folder} was trained on other classes; delete it or choose another --out")
    name, device = one.sizes[request.size], request.device
    return LoadedClassifier(name, classifier.to(device), card.weights_sha256, card.geometry), card


def _classifier(
    request: Request, fold: int, one: Architecture, report: Report
) -> tuple[LoadedClassifier, checkpoint.Card]:
    folder, origin = _known(request, fold, one)
    if not origin:
        step = Step("train", fold, one)
        config = training.TrainingConfig(
            classifier=one.sizes[request.size],
            dataset=request.dataset.name,
            seed=request.seed,
            recipe=recipe(request, one),
            precision=request.precision,
            device=request.device,
            command=request.command,
            init=one.pretrained[request.size] if request.pretrained else None,
            split=request.split(fold),
        )

        def tell(epoch: training.Progress) -> None:
            text = f"loss {epoch.loss:.3f}, validation {epoch.validation_accuracy:.3f}"
            report(Tick(step, epoch.epoch, epoch.epochs, text))

        report(Tick(step, 0, config.recipe.epochs, "reading sound"))
        training.train(request.dataset, config, folder, tell)
    loaded, card = _subject(request, one, folder)
    own = one.family not in request.given and origin != "shipped weights"
    if own and card.dataset_fingerprint != request.dataset.fingerprint():
        raise CheckpointError(f"{folder} was trained on other clips; delete it or choose another --out")
    if fold in (*card.train_folds, *card.validation_folds) and card.dataset == request.dataset.name:
        how = "trained on" if fold in card.train_folds else "selected by"
        raise CheckpointError(f"{loaded.label} was {how} fold {fold} and cannot be tested on it")
    return loaded, card


def _fitted(request: Request, fold: int, loaded: LoadedClassifier, method: str) -> tuple[Path | None, str]:
    """The root below which a method's weights for a classifier are, and where that is in words."""
    own = _fold_folder(request, fold) / "explainers"
    roots = [root for root in (own, request.explainers) if fitting.fitted_by_user(method, loaded, root)]
    for root in (*roots, own):
        explainer = registry.create("methods", method)
        try:
            card = fitting.bind(method, explainer, loaded, request.dataset.name, root)
        except UnsupportedPairError:
            continue
        if card is None:
            return own, "needs no fit"
        if fold not in (*card.train_folds, *card.validation_folds) or card.dataset != request.dataset.name:
            return root, "fitted earlier" if root in roots else "shipped weights"
    return None, ""


def _explainer(
    request: Request, fold: int, one: Architecture, loaded: LoadedClassifier, method: str, report: Report
) -> tuple[Path, ExplainerCard | None]:
    """The root below which a method's weights are, after fitting them where there are none."""
    root, _ = _fitted(request, fold, loaded, method)
    if root is None:
        root = _fold_folder(request, fold) / "explainers"
        step = Step("fit", fold, one, method)
        config = fitting.FittingConfig(
            method=method,
            settings=settings(request, method),
            seed=request.seed,
            precision=request.precision,
            command=request.command,
            split=request.split(fold),
        )

        def tell(epoch: Epoch) -> None:
            text = f"loss {epoch.train_loss:.3f}, validation {epoch.valid_loss:.3f}"
            report(Tick(step, epoch.epoch, epoch.epochs, text))

        report(Tick(step, 0, 1, "reading sound"))
        folder = fitting.folder_of(root, request.dataset.name, loaded.label, method)
        fitting.fit(registry.create("methods", method), loaded, request.dataset, config, folder, tell)
    card = fitting.bind(method, registry.create("methods", method), loaded, request.dataset.name, root)
    return root, card


def _score(
    request: Request,
    fold: int,
    one: Architecture,
    loaded: LoadedClassifier,
    roots: dict[Path, list[str]],
    folder: RunFolder,
    report: Report,
) -> None:
    step = Step("score", fold, one)
    clips = request.dataset.in_folds([fold])
    failures: dict[str, str] = {}
    done = 0
    total = sum(_rows_of(method) for methods in roots.values() for method in methods) * len(clips)

    def tell(event: Event) -> None:
        nonlocal done
        done += event.clips
        if event.kind == "failed":
            failures[event.method] = event.reason
        report(Tick(step, done, total, event.method))

    report(Tick(step, 0, total, "reading sound"))
    for root, names in roots.items():
        work = RunConfig(
            dataset=request.dataset,
            clips=clips,
            methods={name: registry.create("methods", name) for name in names},
            metrics={name: registry.create("metrics", name) for name in request.paper.metrics},
            seed=request.seed,
            batch_size=automatic_batch_size(request.device),
            cache=ExplanationCache(cache_folder() / "explanations"),
            explainers=root,
        )
        evaluate(work, loaded, folder, tell)
    if failures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise XaibenchError(f"failed on {loaded.label}: {reasons}; everything else is saved")


def _rows_of(method: str) -> int:
    """How often a method takes part: twice where it has a soft mask."""
    return 2 if registry.load("methods", method).native_mask else 1


def untrained(request: Request) -> Iterator[tuple[Architecture, Classifier]]:
    """The classifiers with the weights they start from, or that were given, one after the other."""
    for one in request.paper.architectures:
        if one.family in request.given:
            yield one, request.given[one.family][0].classifier
        else:
            fresh = checkpoint.build(one.sizes[request.size], request.dataset.classes)
            yield one, checkpoint.freeze(fresh).to(request.device)
