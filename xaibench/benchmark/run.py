"""A run: what is scored on which classifiers, who takes part, and the folder that it fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from xaibench.benchmark.models import seen_folds
from xaibench.classifiers import judge
from xaibench.classifiers.base import PictureClassifier
from xaibench.classifiers.check import GLANCE, glance
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import UnsupportedPairError, named
from xaibench.explaining.precomputed import Precomputed
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring import lengths
from xaibench.scoring.config import MethodOnClassifier, RunConfig, methods_on
from xaibench.scoring.engine import Engine
from xaibench.scoring.evaluate import evaluate
from xaibench.scoring.local import Local
from xaibench.scoring.loop import Event
from xaibench.scoring.targets import PREDICTED


@dataclass(frozen=True)
class Run:
    """What is scored on which classifiers.

    Attributes:
        config: of the run.
        loaded: the classifiers.
        folds: of the clips.
        limit: how many clips were asked for, or None for all.
        threads: CPU threads of each process that scores; None: torch's number where this process scores, else 1. Their
            number moves the last digits of scores.
        engine: who scores.
    """

    config: RunConfig
    loaded: tuple[LoadedClassifier, ...]
    folds: tuple[int, ...]
    limit: int | None
    threads: int | None = None
    engine: Engine = field(default_factory=Local)

    @cached_property
    def taking_part(self) -> dict[str, list[MethodOnClassifier]]:
        """The methods that make sense, by classifier."""
        return {label: pairs for label, (pairs, _) in self._found.items()}

    @cached_property
    def left_out(self) -> dict[str, dict[str, str]]:
        """What is asked for and makes no sense, by classifier, with the reasons, which read after the method's name."""
        return {label: refused for label, (_, refused) in self._found.items()}

    @property
    def pairs(self) -> int:
        """Number of pairs that are scored."""
        return sum(map(len, self.taking_part.values()))

    def gaps(self, remedy: str | None) -> list[str]:
        """Say which pairs are left out: one with its reason, several in one sentence.

        Args:
            remedy: how to see all of them; None to say each with its reason.
        """
        each = [
            f"left out: {name} on {label} ({reason})"
            for label, refused in self.left_out.items()
            for name, reason in refused.items()
        ]
        if len(each) < 2 or remedy is None:
            return each
        return [f"{len(each)} pairs left out, since the method does not fit the classifier or the data: {remedy}"]

    def beside(self, remedy: str) -> list[str]:
        """Say which controls are scored that nobody asked for, if there are any.

        Args:
            remedy: how to leave them out.
        """
        names = {pair.name for pairs in self.taking_part.values() for pair in pairs if pair.name in self.config.beside}
        if not names:
            return []
        return [f"scored beside, to compare with: {' and '.join(sorted(names))} (without them: {remedy})"]

    def warnings(self) -> list[str]:
        """Say what is odd about what takes part."""
        return [*self.seen(), *self.judges(), *self.doubts(), *self.unknown_labels(), *self.lengths()]

    def lengths(self) -> list[str]:
        """Say of each classifier with a fixed input length how many clips are cut to it, or padded."""
        with_one = [loaded for loaded in self.loaded if loaded.classifier.samples is not None]
        seconds = [self.config.dataset.length(clip) for clip in self.config.clips] if with_one else []
        return [
            sentence
            for loaded in with_one
            for sentence in lengths.sentences(seconds, loaded, self.config.protocol.long)
        ]

    def unknown_labels(self) -> list[str]:
        """Say of each classifier how many clips have a label that it does not know, where labels are explained."""
        said, count = [], len(self.config.clips)
        for loaded in self.loaded:
            unknown = self._unknown_labels(loaded)
            if unknown:
                few = ", ".join(sorted(set(unknown))[:3])
                said.append(
                    f"{len(unknown)} of {count} clips have a label that is none of {loaded.label}'s classes ({few}): "
                    "there is nothing to explain, and they have no scores"
                )
        return said

    def seen(self) -> list[str]:
        """Say which methods were fitted on, or selected by, folds that are scored."""
        return [
            sentence
            for label, pairs in self.taking_part.items()
            for pair in pairs
            if pair.card is not None and not pair.soft and pair.card.dataset == self.config.dataset.name
            for sentence in seen_folds(f"{pair.name} for {label}", "fitted", self.folds, pair.card)
        ]

    def judges(self) -> list[str]:
        """Say of each classifier without a judge which metrics are left out for that."""
        names = " and ".join(name for name, metric in self.config.metrics.items() if metric.needs_judge)
        said = []
        for loaded in self.loaded if names else ():
            try:
                judge.find(loaded, self.config.dataset.name, self.config.explainers)
            except UnsupportedPairError as error:
                said.append(f"left out: {names} on {loaded.label}, which {error}")
        return said

    def doubts(self) -> list[str]:
        """Say of each model that does not read the picture whether a check of few clips found something wrong.

        A wrapped model may hear at a wrong rate or through a wrong front end: it must not be scored in silence.
        """
        # All of them: `limit` may leave too few to tell.
        every, unreadable = self.config.dataset.in_folds(self.folds), set(self.config.unreadable)
        clips = [clip for clip in every if clip.id not in unreadable]
        said = []
        for loaded in self.loaded:
            if isinstance(loaded.classifier, PictureClassifier):
                continue
            try:
                found = glance(loaded.classifier, self.config.dataset, clips)
            except Exception as error:  # a stranger's model may raise anything, and fails again when it is scored
                said.append(f"{loaded.label} cannot be checked: {named(error)}")
                continue
            if found:
                few = min(GLANCE, len(clips))
                said.append(f"{loaded.label}, checked on {few} clips: {'; '.join(found)}")
        return said

    def check(self) -> None:
        """Refuse a run of which nothing is left.

        Raises:
            UnsupportedPairError: no pair makes sense, or no clip has a label that a classifier knows.
            ExplanationError: maps made elsewhere lack clips.
        """
        for method in self.config.methods.values():
            if isinstance(method, Precomputed):
                method.require(clip.id for clip in self.config.clips)
        for loaded in self.loaded:
            if len(self._unknown_labels(loaded)) == len(self.config.clips):
                raise UnsupportedPairError(
                    f"none of the labels of {len(self.config.clips)} clips is a class of {loaded.label}; explain the "
                    "predicted class instead (--target predicted)"
                )
        if not all(len(refused) == len(self.config.asked) for refused in self.left_out.values()):
            return
        reasons = {name: reason for refused in self.left_out.values() for name, reason in refused.items()}
        if len(reasons) == 1:
            ((name, reason),) = reasons.items()
            raise UnsupportedPairError(f"{name} cannot run here: it {reason}")
        lines = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        raise UnsupportedPairError(f"no pair of method and classifier is left to run: {lines}")

    def open(self, out: Path) -> RunFolder:
        """Open the run folder, or make it.

        Raises:
            ResultsError: it holds another run, or cannot be written.
        """
        config = self.config
        return RunFolder(
            out,
            Manifest(
                dataset=config.dataset.name,
                dataset_fingerprint=config.dataset.fingerprint(),
                folds=self.folds,
                limit=self.limit,
                clips=len(config.clips),
                unreadable=config.unreadable,
                seed=config.seed,
                protocol=config.protocol.id,
                fill=config.protocol.fill,
                target=config.protocol.target,
                long=config.protocol.long,
                precision=str(config.precision).removeprefix("torch."),
                compiled=config.compiled,
            ),
        )

    @property
    def threads_each(self) -> int:
        """CPU threads of each process that scores."""
        return self.threads or (torch.get_num_threads() if self.engine.here else 1)

    def score(self, folder: RunFolder, report: Callable[[Event], None]) -> None:
        """Score all pairs into a folder; `report` is told of everything that happens."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads_each)
        try:
            for loaded in self.loaded:
                if len(self.left_out[loaded.label]) < len(self.config.asked):
                    evaluate(self.config, loaded, folder, report, self.engine)
        finally:
            torch.set_num_threads(before)

    def _unknown_labels(self, loaded: LoadedClassifier) -> list[str]:
        """Return the labels to explain that are none of a classifier's classes, one a clip."""
        if self.config.protocol.target == PREDICTED:
            return []
        labels = [self.config.dataset.classes[clip.label] for clip in self.config.clips]
        return [label for label in labels if label not in loaded.classifier.classes]

    @cached_property
    def _found(self) -> dict[str, tuple[list[MethodOnClassifier], dict[str, str]]]:
        return {loaded.label: methods_on(self.config, loaded) for loaded in self.loaded}
