"""The steps that repeat a paper: train or load, fit, score; each is done once and survives a kill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from xaibench import registry
from xaibench.classifiers import checkpoint, references, training
from xaibench.classifiers.checkpoint import Card
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import CheckpointError, UnsupportedPairError, XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.fitting import ExplainerCard
from xaibench.explaining.trainable import Epoch, TrainableExplainer
from xaibench.papers.config import ReproductionConfig
from xaibench.papers.paper import Architecture, Outcome
from xaibench.results.store import LOG, Manifest, RunFolder, read_rows
from xaibench.scoring import protocol
from xaibench.scoring.config import methods_on
from xaibench.scoring.evaluate import Event, RunConfig, evaluate
from xaibench.storage.user_folders import cache_folder

SHIPPED = "shipped weights"

Kind = Literal["train", "fit", "score"]


@dataclass(frozen=True)
class Step:
    """One thing to do for one test fold.

    Attributes:
        kind: what to do.
        fold: the test fold.
        architecture: of the classifier.
        classifier: its registry name.
        method: the explainer to fit, else "".
        found: says where the result exists already; empty for what is still to do.
    """

    kind: Kind
    fold: int
    architecture: Architecture
    classifier: str
    method: str = ""
    found: str = ""

    @property
    def title(self) -> str:
        """A line for people."""
        what = f"{self.kind} {self.method} on" if self.method else self.kind
        return f"{what} {self.classifier}, fold {self.fold}"


@dataclass(frozen=True)
class Tick:
    """Progress within a step."""

    step: Step
    done: int
    total: int
    text: str = ""


Report = Callable[[Tick], None]


def steps_of(config: ReproductionConfig) -> list[Step]:
    """List all steps in their order; nothing is trained, fitted or scored.

    Raises:
        CheckpointError: weights found in the folder, or given, cannot be used.
    """
    steps = []
    for here in _places(config):
        origin = here.find_weights()[1]
        steps.append(here.step("train", found=origin))
        loaded = here.load()[0] if origin else None
        for method in here.architecture.methods:
            if isinstance(registry.create("methods", method), TrainableExplainer):
                fit = None if loaded is None else here.find_fit(loaded, method)
                steps.append(here.step("fit", method, "" if fit is None else fit.origin))
        steps.append(here.step("score"))
    return steps


def run(config: ReproductionConfig, report: Report) -> Outcome:
    """Do what is still to do, and read the scores.

    Args:
        report: called as steps advance.

    Raises:
        XaibenchError: a method failed on a classifier.
        CheckpointError: weights found in the folder, or given, cannot be used.
    """
    labels: dict[str, str] = {}
    cards: dict[str, list[Card]] = defaultdict(list)
    fits: dict[tuple[str, str], list[ExplainerCard]] = defaultdict(list)
    for here in _places(config):
        family = here.architecture.family
        folder, origin = here.find_weights()
        if not origin:
            here.train(folder, report)
        loaded, card = here.load()
        labels[family] = loaded.label
        cards[family].append(card)
        methods: dict[Path, list[str]] = defaultdict(list)
        for method in (*here.architecture.methods, *config.paper.controls):
            fit = here.find_fit(loaded, method) or here.fit(loaded, method, report)
            methods[fit.root].append(method)
            if fit.card is not None:
                fits[family, method].append(fit.card)
        here.score(loaded, methods, report)
    rows = pd.concat([read_rows(_folder(config, fold) / "scores") for fold in config.folds], ignore_index=True)
    return Outcome(
        rows=rows,
        dataset=config.dataset.name,
        classes=len(config.dataset.classes),
        folds=config.folds,
        labels=labels,
        cards=cards,
        fitted=fits,
        smoke=config.smoke,
    )


@dataclass(frozen=True)
class _Fit:
    """The weights of an explainer: the folder below which they are, their card if there are any, and their origin."""

    root: Path
    card: ExplainerCard | None
    origin: str


@dataclass(frozen=True)
class _Place:
    """A classifier of the paper and the fold that it is tested on."""

    config: ReproductionConfig
    fold: int
    architecture: Architecture

    @property
    def name(self) -> str:
        """Registry name of the classifier."""
        return self.architecture.sizes[self.config.size]

    @property
    def own_fits(self) -> Path:
        """Folder of the explainers that are fitted here."""
        return _folder(self.config, self.fold) / "explainers"

    def step(self, kind: Kind, method: str = "", found: str = "") -> Step:
        return Step(kind, self.fold, self.architecture, self.name, method, found)

    def find_weights(self) -> tuple[Path, str]:
        """Find the classifier's folder, and say where its weights come from if they exist already."""
        folder = _folder(self.config, self.fold) / "checkpoints" / self.name
        given = self.config.given_for(self.architecture)
        if given is not None:
            return folder, f"given: {given[0].label}"
        if (folder / checkpoint.CARD).is_file():
            return folder, "trained earlier"
        if not self.config.smoke and not self.config.pretrained:
            shipped = references.shipped_folder(self.name, self.config.dataset.name)
            if shipped is not None:
                card, split = checkpoint.Card.read(shipped), self.config.split(self.fold)
                folds = (card.train_folds, card.validation_folds, card.test_folds)
                if folds == (split.train, split.validation, split.test):
                    return shipped, SHIPPED
        return folder, ""

    def load(self) -> tuple[LoadedClassifier, Card]:
        """Load the classifier and its card.

        Raises:
            CheckpointError: it was trained on other sound, or on the fold to test.
        """
        folder, origin = self.find_weights()
        given = self.config.given_for(self.architecture)
        data = self.config.dataset
        if given is not None:
            loaded, card = given
        else:
            classifier, card = checkpoint.load(folder)
            if card.classes != data.classes or (origin != SHIPPED and card.dataset_fingerprint != data.fingerprint()):
                raise CheckpointError(f"{folder} was trained on other clips; delete it or choose another --out")
            classifier = classifier.to(self.config.device)
            loaded = LoadedClassifier(self.name, classifier, card.weights_sha256, card.geometry)
        if self.fold in (*card.train_folds, *card.validation_folds) and card.dataset == data.name:
            how = "trained on" if self.fold in card.train_folds else "selected by"
            raise CheckpointError(f"{loaded.label} was {how} fold {self.fold} and cannot be tested on it")
        return loaded, card

    def train(self, folder: Path, report: Report) -> None:
        """Train the classifier, or go on where a stopped training was."""
        config, step = self.config, self.step("train")
        training_config = training.TrainingConfig(
            classifier=self.name,
            dataset=config.dataset.name,
            seed=config.seed,
            recipe=config.recipe(self.architecture),
            precision=config.precision,
            device=config.device,
            command=config.command,
            init=self.architecture.pretrained[config.size] if config.pretrained else None,
            split=config.split(self.fold),
        )

        def tell(epoch: training.Progress) -> None:
            text = f"loss {epoch.loss:.3f}, validation {epoch.validation_accuracy:.3f}"
            report(Tick(step, epoch.epoch, epoch.epochs, text))

        report(Tick(step, 0, training_config.recipe.epochs, "reading sound"))
        training.train(config.dataset, training_config, folder, tell)

    def find_fit(self, loaded: LoadedClassifier, method: str) -> _Fit | None:
        """Find the weights of a method for the classifier that have not seen the fold; the user's own come first."""
        own, dataset = self.own_fits, self.config.dataset.name
        roots = [root for root in (own, self.config.explainers) if fitting.fitted_by_user(method, loaded, root)]
        for root in (*roots, own):
            try:
                card = fitting.bind(method, registry.create("methods", method), loaded, dataset, root)
            except UnsupportedPairError:
                continue
            if card is None:
                return _Fit(own, None, "needs no fit")
            if self.fold not in (*card.train_folds, *card.validation_folds) and card.dataset == dataset:
                return _Fit(root, card, "fitted earlier" if root in roots else SHIPPED)
        return None

    def fit(self, loaded: LoadedClassifier, method: str, report: Report) -> _Fit:
        """Fit a method to the classifier, or go on where a stopped fit was."""
        config, step = self.config, self.step("fit", method)
        fitting_config = fitting.FittingConfig(
            method=method,
            settings=config.settings(method),
            seed=config.seed,
            precision=config.precision,
            command=config.command,
            split=config.split(self.fold),
        )

        def tell(epoch: Epoch) -> None:
            text = f"loss {epoch.train_loss:.3f}, validation {epoch.valid_loss:.3f}"
            report(Tick(step, epoch.epoch, epoch.epochs, text))

        report(Tick(step, 0, 1, "reading sound"))
        folder = fitting.folder_of(self.own_fits, config.dataset.name, loaded.label, method)
        card = fitting.fit(registry.create("methods", method), loaded, config.dataset, fitting_config, folder, tell)
        return _Fit(self.own_fits, card, "")

    def score(self, loaded: LoadedClassifier, methods: dict[Path, list[str]], report: Report) -> None:
        """Score methods on the clips of the fold, leaving out what is scored already.

        Args:
            methods: names by the folder below which their weights are.

        Raises:
            XaibenchError: a method failed.
        """
        config, step = self.config, self.step("score")
        data = config.dataset
        clips = data.in_folds([self.fold])
        manifest = Manifest(
            dataset=data.name,
            dataset_fingerprint=data.fingerprint(),
            folds=(self.fold,),
            limit=None,
            clips=len(clips),
            seed=config.seed,
            protocol=protocol.default().id,
        )
        folder = RunFolder(_folder(config, self.fold) / "scores", manifest)
        runs = [
            RunConfig(
                dataset=data,
                clips=clips,
                methods={name: registry.create("methods", name) for name in names},
                metrics={name: registry.create("metrics", name) for name in config.paper.metrics},
                seed=config.seed,
                batch_size=automatic_batch_size(config.device),
                cache=ExplanationCache(cache_folder() / "explanations"),
                explainers=root,
            )
            for root, names in methods.items()
        ]
        total = len(clips) * sum(len(methods_on(run, loaded)[0]) for run in runs)
        failures: dict[str, str] = {}
        done = 0

        def tell(event: Event) -> None:
            nonlocal done
            done += event.clips
            if event.kind == "failed":
                failures[event.method] = event.reason
            report(Tick(step, done, total, event.method))

        report(Tick(step, 0, total, "reading sound"))
        for run in runs:
            evaluate(run, loaded, folder, tell)
        if failures:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
            log = folder.path / LOG
            raise XaibenchError(f"failed on {loaded.label}: {reasons} (see {log}); everything else is saved")


def _places(config: ReproductionConfig) -> Iterator[_Place]:
    return (_Place(config, fold, one) for fold in config.folds for one in config.paper.architectures)


def _folder(config: ReproductionConfig, fold: int) -> Path:
    return config.work / f"fold-{fold}"
