"""Explainers whose map is a mask made by a network, and the fit of such networks."""

from __future__ import annotations

import abc
import json
import math
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.resumable import ResumableTraining
from xaibench.errors import CheckpointError, XaibenchError, one_line
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import Epoch, FitContext, Fitted, Setting, TrainableExplainer, TrainingClips
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.storage import tensors

from ._picture import on_picture

WEIGHTS = "explainer.safetensors"
WARM_UP_EPOCHS = 1
_POSITIVE = {"epochs", "patience", "batch_size", "learning_rate", "decoder_width", "code_size", "components", "width"}


class Clips(NamedTuple):
    """Clips of one step, on the device.

    Attributes:
        x: log spectrograms (batch, 513, 431).
        waveform: their sound (batch, samples).
    """

    x: Tensor
    waveform: Tensor


class MaskNetwork(nn.Module, abc.ABC):
    """A network that makes masks for spectrograms of a frozen classifier."""

    @abc.abstractmethod
    def masks(self, classifier: PictureClassifier, batch: Batch, target: Tensor) -> Explanation:
        """Return masks in [0, 1] of clips, for classes (batch,)."""

    @abc.abstractmethod
    def loss(self, classifier: PictureClassifier, clips: Clips, target: Tensor, epoch: int) -> Tensor:
        """Return the mean loss over the clips; `epoch` counts from 0."""

    def prepare(self, train: TrainingClips, context: FitContext) -> None:
        """Take from the training clips what gradients do not learn, before the first epoch."""

    def stage(self, epoch: int) -> int:
        """Return the stage of an epoch (from 0). Losses of different stages are not compared; the last stage counts."""
        return 0

    def after_epoch(self, share_done: float, generator: torch.Generator) -> None:
        """Change the network between epochs, other than by gradients; `share_done` of all epochs are over."""

    def measures(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Measure what is logged besides the loss.

        The mean is logged of float values (batch,); of bool values (batch, things), the share that is True in any clip.
        """
        return {}


class ImageMaskNetwork(MaskNetwork):
    """A network whose masks are as large as the classifier's image."""

    @abc.abstractmethod
    def mask_logits(self, classifier: PictureClassifier, x: Tensor, target: Tensor) -> Tensor:
        """Return logits of the masks (batch, height, width) on the image, for spectrograms and classes (batch,)."""

    def masks(self, classifier: PictureClassifier, batch: Batch, target: Tensor) -> Explanation:
        logits = self.mask_logits(classifier, batch.x, target)
        return Explanation(torch.sigmoid(on_picture(classifier, logits, batch)), (logits.shape[1], logits.shape[2]))


class MaskExplainer(TrainableExplainer):
    """An explainer whose map is a mask made by a network; subclasses name the network.

    Attributes:
        network: class of the network, created from (classifier, settings).
    """

    polarity = "positive"
    native_mask = True
    requires = frozenset({"picture", "feature_map"})
    network: ClassVar[Any]
    settings: ClassVar[dict[str, Setting]] = {
        "epochs": 25,
        "patience": 6,
        "batch_size": 16,
        "learning_rate": 2e-3,
        "weight_decay": 1e-2,
    }

    def __init__(self) -> None:
        self._fitted: MaskNetwork | None = None
        self._settings: dict[str, Setting] = {}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        assert self._fitted is not None, "explain() comes after fit() or load()"
        with torch.inference_mode():
            found = self._fitted.masks(cast(PictureClassifier, classifier), batch, target)
        return Explanation(found.map.clone(), found.native_shape)

    def fit(self, classifier: Classifier, train: TrainingClips, valid: TrainingClips, context: FitContext) -> Fitted:
        for name, value in context.settings.items():
            if name in _POSITIVE and value <= 0:
                raise XaibenchError(f"{name}={value} is not more than 0; choose another --set {name}")
            if value < 0:
                raise XaibenchError(f"{name}={value} is less than 0; choose another --set {name}")
        torch.manual_seed(context.seed)
        try:
            network = self.network(classifier, context.settings).to(context.device)
        except ValueError as error:
            raise XaibenchError(f"these settings make no network: {error}; choose others with --set") from error
        network.prepare(train, context)
        fit = _Fit(network, cast(PictureClassifier, classifier), train, valid, context)
        fit.run(context.state, context.report)
        if not fit.best.epoch:
            raise XaibenchError("the loss was never a finite number; choose a lower --set learning_rate")
        network.load_state_dict(fit.best.weights)
        self._fitted, self._settings = network.eval(), context.settings
        return Fitted(
            epochs=tuple(fit.finished),
            best_epoch=fit.best.epoch,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            seconds=fit.seconds,
            measures=fit.measures(train, fit.targets["train"]),
        )

    def save(self, folder: Path) -> None:
        assert self._fitted is not None, "save() comes after fit() or load()"
        state = tensors.cast(self._fitted.state_dict(), torch.float16)
        tensors.write(Path(folder) / WEIGHTS, state, {"settings": json.dumps(self._settings)})

    def load(self, folder: Path, classifier: Classifier) -> None:
        path = Path(folder) / WEIGHTS
        state, metadata = tensors.read(path, "fit it again with 'xaibench fit'")
        try:
            settings = json.loads(metadata["settings"])
        except (KeyError, ValueError):
            settings = None
        if not isinstance(settings, dict):
            raise CheckpointError(f"{path} tells no settings; fit it again with 'xaibench fit'")
        unknown = sorted(set(settings) ^ set(self.settings))
        if unknown:
            raise CheckpointError(f"{path} has other settings than this version ({', '.join(unknown)}); fit it again")
        if any(not isinstance(settings[key], type(default)) for key, default in self.settings.items()):
            raise CheckpointError(f"{path} has settings that are not of their types; fit it again")
        try:
            with seeded(0):  # what it is made with is overwritten, and nobody else's draws may be moved
                network = self.network(classifier, settings)
            network.load_state_dict(state)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise CheckpointError(f"{path} does not fit {classifier.name}: {one_line(error, -1)}") from error
        self._fitted, self._settings = network.to(classifier.device).eval().requires_grad_(False), settings


class _Fit(ResumableTraining[Epoch]):
    """The fit of a network to a frozen classifier; it keeps the last stage's weights of lowest validation loss."""

    network: MaskNetwork

    def __init__(
        self,
        network: MaskNetwork,
        classifier: PictureClassifier,
        train: TrainingClips,
        valid: TrainingClips,
        context: FitContext,
    ) -> None:
        settings = context.settings
        self.classifier, self.train, self.valid, self.context = classifier, train, valid, context
        self.batch_size, self.patience = int(settings["batch_size"]), int(settings["patience"])
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=float(settings["learning_rate"]), weight_decay=float(settings["weight_decay"])
        )
        epochs, steps = int(settings["epochs"]), math.ceil(len(train) / self.batch_size)
        super().__init__(
            network,
            optimizer,
            Epoch,
            epochs=epochs,
            steps=epochs * steps,
            warm_up=WARM_UP_EPOCHS * steps,
            seed=context.seed,
        )
        self.targets = {"train": self._predicted(train), "valid": self._predicted(valid)}

    @property
    def over(self) -> bool:
        last_stage = self.best_stage == self.network.stage(self.epochs - 1)
        waited = self.epoch - self.best.epoch >= self.patience
        return super().over or (self.epoch > 0 and last_stage and waited)

    @property
    def best_stage(self) -> int:
        return int(self.best.score[0]) if self.best.epoch else 0

    def run_epoch(self, generator: torch.Generator) -> Epoch:
        """Pass over the training clips once, and over the validation clips to measure the loss."""
        epoch, stage = self.epoch, self.network.stage(self.epoch)
        if stage != self.best_stage and self.best.epoch:  # a later stage starts from the best of the one before
            self.network.load_state_dict(self.best.weights)
        self.network.train()
        total = 0.0
        for index in torch.randperm(len(self.train), generator=generator).split(self.batch_size):
            loss = self._loss(self.train, self.targets["train"], index, epoch)
            self.step(loss)
            total += float(loss.detach()) * len(index)
        self.network.after_epoch((epoch + 1) / self.epochs, generator)
        self.network.eval()
        valid = 0.0
        with torch.no_grad():
            for index in torch.arange(len(self.valid)).split(self.batch_size):
                valid += float(self._loss(self.valid, self.targets["valid"], index, epoch)) * len(index)
        valid /= len(self.valid)
        if math.isfinite(valid):
            self.keep_best((stage, -valid), self.network)
        measures = self.measures(self.valid, self.targets["valid"])
        return Epoch(epoch + 1, self.epochs, total / len(self.train), valid, measures)

    def measures(self, clips: TrainingClips, target: Tensor) -> dict[str, float]:
        """Average what the network measures over clips; of bool values, the share that is True in any clip."""
        self.network.eval()
        parts: dict[str, list[Tensor]] = {}
        with torch.inference_mode():
            for index in torch.arange(len(clips)).split(self.batch_size):
                x, c = clips.x[index].to(self.context.device), target[index].to(self.context.device)
                for name, values in self.network.measures(self.classifier, x, c).items():
                    parts.setdefault(name, []).append(values.cpu())
        found = {name: torch.cat(values) for name, values in parts.items()}
        return {
            name: float(values.any(dim=0).double().mean() if values.dtype == torch.bool else values.double().mean())
            for name, values in found.items()
        }

    def _loss(self, clips: TrainingClips, target: Tensor, index: Tensor, epoch: int) -> Tensor:
        device, precision = self.context.device, self.context.precision
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            step = Clips(clips.x[index].to(device), clips.waveform[index].to(device))
            return self.network.loss(self.classifier, step, target[index].to(device), epoch)

    @torch.inference_mode()
    def _predicted(self, clips: TrainingClips) -> Tensor:
        """Return the classes that the classifier predicts, (clips,), on the CPU."""
        parts = [
            self.classifier.picture_logits(x.to(self.context.device)).argmax(dim=1).cpu() for x in clips.x.split(16)
        ]
        return torch.cat(parts).clone()
