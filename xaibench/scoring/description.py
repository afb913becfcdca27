"""A run on one classifier, described so that another process, here or on another machine, can make it anew."""

from __future__ import annotations

import hashlib
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from xaibench._version import __version__
from xaibench.classifiers import determinism
from xaibench.classifiers.class_order import in_order
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.errors import AudioError, CheckpointError, ResultsError, one_line
from xaibench.results import store
from xaibench.results.store import RunFolder
from xaibench.scoring.config import RunConfig
from xaibench.scoring.part import Scoring
from xaibench.sound.dataset import Clip

_SCRIPTS = frozenset({"__main__", "__mp_main__"})


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    """Settings of a process that move the last digits of scores."""

    threads: int
    dtype: torch.dtype
    matmul: str
    deterministic: bool
    warn_only: bool
    benchmark: bool

    @classmethod
    def here(cls) -> ProcessSettings:
        """Read the settings of this process."""
        return cls(
            threads=torch.get_num_threads(),
            dtype=torch.get_default_dtype(),
            matmul=torch.get_float32_matmul_precision(),
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            benchmark=torch.backends.cudnn.benchmark,
        )

    def apply(self) -> None:
        """Make them the settings of this process."""
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_float32_matmul_precision(self.matmul)
        determinism.restore((self.deterministic, self.warn_only))
        torch.backends.cudnn.benchmark = self.benchmark


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """What a worker makes its run of.

    Attributes:
        config: the run's, without methods and metrics, which jobs name.
        label, classifier, classes, identity: of the classifier: its name, reference, order of classes and hash.
        device: where it computes.
        run: the run folder.
        settings: of this process, as they shall be there.
        code_sha256: identity of what all methods share (`Identities.shared`).
        version: of xaibench.
        sound: hashes of a few clips as the classifier hears them, by id; the worker must hear the same.
    """

    config: RunConfig
    label: str
    classifier: str
    classes: tuple[str, ...]
    identity: str
    device: torch.device
    run: Path
    settings: ProcessSettings
    code_sha256: str
    version: str
    sound: Mapping[str, str]

    def make(self, announce: Callable[[str], None]) -> Scoring:
        """Make the run anew in this process, which gets the settings of the other one.

        Args:
            announce: as `Scoring` has it.

        Raises:
            XaibenchError: its classifier cannot be loaded here, or classifier, code or sound are others here.
        """
        self.settings.apply()
        found, _ = load(self.classifier, self.config.dataset.origin or self.config.dataset.name, self.device)
        if found.classifier.classes != self.classes:
            in_order(found.classifier, self.classes)
        loaded = LoadedClassifier(self.label, found.classifier, found.sha256, found.geometry, found.reference)
        if loaded.identity != self.identity:
            raise CheckpointError(
                f"{self.classifier} holds another {self.label} than when the run began; start it again"
            )
        folder = RunFolder(self.run, store.read_manifest(self.run))
        scoring = Scoring(self.config, loaded, folder, announce)
        if scoring.identities.shared.sha256 != self.code_sha256:
            raise ResultsError(
                f"{socket.gethostname()} has other code of xaibench or of {self.label} ({__version__} there, "
                f"{self.version} here); install the same everywhere, and give the command again"
            )
        try:
            here = _heard(scoring, [clip for clip in self.config.clips if clip.id in self.sound])
        except AudioError as error:
            raise ResultsError(
                f"{socket.gethostname()} has not all of the sound: {one_line(error)}; copy the data there"
            ) from error
        if here != self.sound:
            raise ResultsError(
                f"{socket.gethostname()} has other sound in clips of {self.config.dataset.name}; copy the data there"
            )
        return scoring


def describe(scoring: Scoring, clips: Sequence[Clip] = ()) -> RunDescription | str:
    """Describe a run for worker processes, or say why that is impossible.

    Args:
        scoring: the run.
        clips: whose sound a worker must hear as this process does.
    """
    config, loaded = scoring.config, scoring.loaded
    if loaded.reference is None:
        return f"{loaded.label} was not loaded from a checkpoint folder"
    for what, thing in (("dataset", config.dataset), ("protocol", config.protocol)):
        if type(thing).__module__ in _SCRIPTS:
            return f"no installed package holds the {what} {thing.name}"
    description = RunDescription(
        config=replace(config, methods={}, metrics={}),
        label=loaded.label,
        classifier=loaded.reference,
        classes=tuple(loaded.classifier.classes),
        identity=loaded.identity,
        device=loaded.classifier.device,
        run=scoring.folder.path.resolve(),
        settings=ProcessSettings.here(),
        code_sha256=scoring.identities.shared.sha256,
        version=__version__,
        sound=_heard(scoring, clips),
    )
    try:
        pickle.dumps(description)
    except Exception as error:
        return f"the dataset or protocol cannot be sent to another process ({one_line(error)})"
    return description


def few(clips: Sequence[Clip]) -> list[Clip]:
    """Choose the first, the middle and the last clip: enough to tell other data, and nothing beside a run."""
    return [clips[at] for at in sorted({0, len(clips) // 2, len(clips) - 1})]


def _heard(scoring: Scoring, clips: Sequence[Clip]) -> dict[str, str]:
    """Hash clips as the classifier hears them, by id."""
    protocol, dataset = scoring.config.protocol, scoring.config.dataset
    sounds = {clip.id: protocol.waveform(dataset, clip, scoring.classifier) for clip in clips}
    return {name: hashlib.sha256(sound.tobytes()).hexdigest() for name, sound in sounds.items()}
