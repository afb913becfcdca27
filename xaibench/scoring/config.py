"""What a run scores: clips, methods and metrics, and who takes part for one classifier."""

from __future__ import annotations

import contextlib
import copy
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import torch

from xaibench import registry
from xaibench.classifiers import judge as judges
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import RegistryError, UnsupportedPairError
from xaibench.explaining import fitting
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Polarity
from xaibench.explaining.settings import MARK, registered_name
from xaibench.results.areas import AREAS
from xaibench.results.parts import PART_CLIPS
from xaibench.scoring import protocol as protocols
from xaibench.scoring.metric import Metric
from xaibench.scoring.protocol import Protocol
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.fills import FILLS, SILENCE
from xaibench.storage.cards import NAME

TIMEOUT_SECONDS = 3600.0
_SOFT_SUFFIX = "-soft"
_LABEL = f"{NAME}({MARK}[A-Za-z0-9._@+=,-]+)?"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What to score.

    Attributes:
        dataset: where the clips come from.
        clips: in their order; all of them can be read (`sound.readable`).
        unreadable: ids of clips that are left out because they cannot be read.
        methods: explainers by name.
        beside: names of those that nobody asked for: controls that are scored beside the others, on the classifiers
            that one of these fits, and wherever they fit themselves.
        metrics: metrics by name.
        seed: of every random draw.
        batch_size: inputs per forward pass.
        precision: of the forward passes that score; explanations are always float32.
        compiled: whether these forward passes are compiled.
        cache: where explanations of earlier runs are, and this one's are kept; None to make all anew.
        protocol: how sound becomes input and logits become probabilities; the metrics are its own.
        explainers: folder with the weights that the user fitted, and with judges.
        keep_maps: whether maps are written into the run folder, for others to read.
        timeout: seconds that a part by others' code may take in a worker process, or None for any time.
    """

    dataset: Dataset
    clips: Sequence[Clip]
    methods: dict[str, Explainer]
    metrics: dict[str, Metric]
    seed: int
    batch_size: int
    precision: torch.dtype = torch.float32
    compiled: bool = False
    cache: ExplanationCache | None = None
    protocol: Protocol = field(default_factory=protocols.default)
    explainers: Path = fitting.ROOT
    unreadable: tuple[str, ...] = ()
    keep_maps: bool = False
    timeout: float | None = TIMEOUT_SECONDS
    beside: frozenset[str] = frozenset()

    @property
    def asked(self) -> list[str]:
        """Names of the methods that somebody asked for."""
        return [name for name in self.methods if name not in self.beside]

    def parts_on(self, classifier: Classifier) -> list[Sequence[Clip]]:
        """Divide the clips, in their order, into parts of at most 16 that a classifier hears at one length.

        Args:
            classifier: as the protocol's `listening` returns it.

        Raises:
            AudioError: a clip cannot be read.
        """
        of_length: dict[int | None, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            one_length = classifier.samples is not None or self.dataset.seconds is not None
            heard = None if one_length else len(self.protocol.waveform(self.dataset, clip, classifier))
            of_length[heard].append(clip)
        return [clips[i : i + PART_CLIPS] for clips in of_length.values() for i in range(0, len(clips), PART_CLIPS)]


@dataclass(frozen=True, kw_only=True)
class MethodOnClassifier:
    """A method with one kind of mask, as it is scored on one classifier.

    Attributes:
        name: in the results: its registry name, or NAME:setting=value where a run has several of this name.
        method: with the weights that belong to the classifier, if it is a trained one.
        soft: scored with its own soft mask instead of the top bins of equal area.
        card: of its weights, if it has any.
        judged: whether the classifier has a judge, which is looked for where a metric needs one.
    """

    name: str
    method: Explainer
    soft: bool = False
    card: fitting.ExplainerCard | None = None
    judged: bool = False

    @property
    def label(self) -> str:
        """METHOD, or METHOD-soft: the name of its folder and of what is reported of it."""
        return self.name + _SOFT_SUFFIX * self.soft

    @property
    def areas(self) -> tuple[float | None, ...]:
        """What metrics of a mask are scored at; None is the method's own soft mask."""
        return (None,) if self.soft else AREAS


def methods_on(config: RunConfig, loaded: LoadedClassifier) -> tuple[list[MethodOnClassifier], dict[str, str]]:
    """The methods that make sense for a classifier and dataset, and the reasons against the others that are asked for.

    A method whose map is a mask is scored twice, the second time by its own soft mask. Controls are there only beside
    another method.

    Raises:
        CheckpointError: weights that belong to the classifier are damaged.
        RegistryError: a method is called METHOD-soft.
    """
    found, refused = [], {}
    asked = any(metric.needs_judge for metric in config.metrics.values())
    judged = asked and judge_of(config, loaded) is not None
    for name in config.methods:
        try:
            whole = replace(bound(config, loaded, name), judged=judged)
        except UnsupportedPairError as error:
            if name not in config.beside:
                refused[name] = str(error)
            continue
        soft = replace(whole, soft=True)
        if soft.label in registry.names("methods"):
            raise RegistryError(f"method '{soft.label}' has the name of {name}'s soft mask; rename it")
        masks = [whole, soft] if whole.method.native_mask else [whole]
        found += [one for one in masks if applicable(config.metrics, config.dataset, one)]
    return (found if any(one.name not in config.beside for one in found) else []), refused


def bound(config: RunConfig, loaded: LoadedClassifier, name: str) -> MethodOnClassifier:
    """Give a method of a run the weights that belong to a classifier, if it is a trained one.

    Raises:
        UnsupportedPairError: it makes no sense here; the message says why, as a refusal does.
        CheckpointError: the weights are damaged.
    """
    unbound = config.methods[name]
    reason = _unfit(name, unbound) or unbound.refusal(loaded.classifier, config.dataset.has_ground_truth)
    if reason is None and config.protocol.name not in unbound.protocols:
        reason = f"is not scored by the protocol {config.protocol.name}"
    if reason is None and not config.protocol.heard and "picture" not in loaded.classifier.capabilities:
        reason = (
            f"is not scored by the protocol {config.protocol.name}, which feeds pictures: {loaded.classifier.name} "
            "hears sound; use --protocol standard"
        )
    baseline = unbound.parameters.get("baseline", SILENCE) if reason is None else SILENCE
    if baseline in FILLS and baseline != SILENCE and not config.protocol.heard:
        reason = (
            f"has the baseline {baseline}, a sound, and the protocol {config.protocol.name} feeds pictures; use "
            "--protocol standard"
        )
    if reason is not None:
        raise UnsupportedPairError(reason)
    method = copy.copy(unbound)  # each classifier has weights of its own
    card = fitting.bind(registered_name(name), method, loaded, config.dataset.name, config.explainers)
    return MethodOnClassifier(name=name, method=method, card=card)


def judge_of(config: RunConfig, loaded: LoadedClassifier) -> judges.Judge | None:
    """Find the judge of a classifier, or None where it has none that is accepted."""
    with contextlib.suppress(UnsupportedPairError):
        return judges.find(loaded, config.dataset.name, config.explainers)
    return None


def _unfit(name: str, method: object) -> str | None:
    """Say why something is no method to score at all, or nothing."""
    if not re.fullmatch(_LABEL, name):
        return "has a name that cannot be that of a folder; use letters, digits, dots, dashes and underscores"
    if not isinstance(method, Explainer):
        return f"is no Explainer but a {type(method).__name__}; derive its class from xaibench.Explainer"
    polarity = getattr(method, "polarity", None)
    if polarity not in get_args(Polarity):  # anything else would be read as one of them
        return f"has the polarity {polarity!r}; choose {' or '.join(map(repr, get_args(Polarity)))}"
    return None


def lacking(dataset: Dataset, metric: Metric) -> str | None:
    """Say what a dataset does not have that a metric needs, or nothing."""
    if metric.needs_ground_truth and not dataset.has_ground_truth:
        return "ground truth"
    return "events" if metric.needs_events and not dataset.has_events else None


def applicable(metrics: dict[str, Metric], dataset: Dataset, pair: MethodOnClassifier) -> dict[str, Metric]:
    """Choose the metrics that apply to a method on a dataset.

    Left out are metrics that need a ground truth or events which the dataset does not have, or a judge which the
    classifier does not have, and metrics of other methods. A soft mask is scored only by the metrics that are made for
    masks: the others read the map, which is the same, and score it once.
    """
    return {
        name: metric
        for name, metric in metrics.items()
        if lacking(dataset, metric) is None
        and (pair.judged or not metric.needs_judge)
        and metric.applies_to(pair.method)
        and metric.soft_mask != ("never" if pair.soft else "only")
    }
