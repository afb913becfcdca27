"""What the benchmark asks of an explainer that is fitted to a classifier before it can explain it."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import UnsupportedPairError, XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset

Setting = bool | int | float


@dataclass(frozen=True)
class TrainingClips:
    """Sound to fit on, in memory.

    Attributes:
        x: log spectrograms, float32 (clips, 513, 431), on the CPU.
        ids: one id per clip.
        waveform: the sound itself, float32 (clips, samples), on the CPU.
    """

    x: Tensor
    ids: tuple[str, ...]
    waveform: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, dataset: Dataset, clips: Sequence[Clip]) -> TrainingClips:
        """The named clips of a dataset."""
        waveforms = [torch.from_numpy(dataset.waveform_at(clip, *audio.INPUT))[None] for clip in clips]
        x = [audio.spectrogram(waveform) for waveform in waveforms]
        return cls(torch.cat(x), tuple(clip.id for clip in clips), torch.cat(waveforms))


@dataclass(frozen=True)
class Epoch:
    """One finished pass over the training clips.

    Attributes:
        epoch: from 1.
        epochs: how many there will be at most.
        train_loss, valid_loss: mean over the clips.
        measures: what else the method logs, such as the share of codes in use.
    """

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FitContext:
    """How to fit, and where to keep what a killed process must not lose.

    Attributes:
        settings: the method's `settings` with the user's changes.
        seed: of every random draw.
        device: where to compute; the classifier is there already.
        precision: of matrix products; weights and losses stay float32.
        state: a folder that outlives the process: what is kept there lets the same call go on.
        report: to be called after every epoch.
    """

    settings: dict[str, Setting]
    seed: int
    device: torch.device
    precision: torch.dtype
    state: Path
    report: Callable[[Epoch], None]


@dataclass(frozen=True)
class Imported:
    """What an import took over.

    Attributes:
        files: that were read.
        parameters: trained numbers.
    """

    files: tuple[Path, ...]
    parameters: int


@dataclass(frozen=True)
class Fitted:
    """What a fit did.

    Attributes:
        epochs: all finished passes; none where nothing is repeated.
        best_epoch: the one whose weights were kept, by the validation loss; 0 without any.
        parameters: trained numbers.
        seconds: of all the processes that took part.
        measures: of the kept weights, such as the share of codes in use.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    parameters: int
    seconds: float
    measures: dict[str, float] = field(default_factory=dict)


class TrainableExplainer(Explainer):
    """An explainer with weights of its own, for one classifier; subclasses add `fit`, `save` and `load`.

    `explain` is only called after `fit` or `load`. A fitted explainer also explains copies of its
    classifier with other weights: metrics that randomise parameters ask it to.

    Attributes:
        settings: hyperparameters and their defaults; `xaibench fit --set NAME=VALUE` changes them.
        fittable: whether `fit` does anything but refuse; else weights come by `import_checkpoint` alone.
        fitted_through: "sound" where `fit` asks the classifier about changed clips as sound, as the protocol
            `standard` does; "picture" where it feeds changed pictures; empty where it changes no clip. Cards say it.
    """

    family = "trained"
    settings: ClassVar[dict[str, Setting]] = {}
    fittable: ClassVar[bool] = True
    fitted_through: ClassVar[str] = ""

    @abc.abstractmethod
    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        """Fit to a frozen classifier, or go on where an interrupted fit stopped.

        The classifier stays as it is. On one CPU and number of threads, the same arguments give the
        same weights, interrupted or not.

        Args:
            classifier: in evaluation mode, without parameter gradients.
            train: clips to learn from.
            valid: clips to stop early by.
            context: settings, seed, device, and where to keep state.
        """

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that `load` needs into an existing folder."""

    @abc.abstractmethod
    def load(self, folder: Path, classifier: Classifier) -> None:
        """Take over what `save` wrote, on the classifier's device.

        Raises:
            CheckpointError: the files are damaged or do not fit the classifier.
        """

    def with_parameters(self, **changes: Any) -> Self:
        """Return a copy; refuse changes, because what it does was decided when it was fitted.

        Raises:
            XaibenchError: there is something to change.
        """
        if changes:
            raise XaibenchError(f"{self.title} is fitted; choose its settings with 'xaibench fit --set NAME=VALUE'")
        return super().with_parameters()

    def import_checkpoint(self, folder: Path, classifier: Classifier) -> Imported:
        """Take over weights in the format of another project, where the method knows one; then `save` can keep them.

        Args:
            folder: with the other project's files; nothing in them may be run.
            classifier: frozen, its classes in the order of its own training.

        Raises:
            UnsupportedPairError: the method knows no such format.
            CheckpointError: the files are missing, damaged, or do not fit the classifier.
        """
        raise UnsupportedPairError(f"{self.title} reads no weights of other projects; fit it with 'xaibench fit'")


def changed_settings(kind: type[TrainableExplainer], changes: dict[str, str]) -> dict[str, Setting]:
    """The method's settings with changes as typed on the command line.

    Raises:
        ValueError: unknown name, or not a value of the default's type; says which there are.
    """
    found: dict[str, Any] = dict(kind.settings)
    for name, text in changes.items():
        if name not in found:
            known = ", ".join(f"{key}={value}" for key, value in kind.settings.items())
            raise ValueError(f"no setting '{name}'; there are {known or 'none'}")
        default = found[name]
        try:
            found[name] = _parse(text, type(default))
        except (ValueError, KeyError):
            raise ValueError(f"{name}={text} is not {type(default).__name__} as {name}={default}") from None
    return found


def _parse(text: str, kind: type[Setting]) -> Setting:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    value = kind(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
