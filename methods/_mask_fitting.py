"""The loop that fits networks which draw masks: seeded, stopped early, resumable after a kill."""

from __future__ import annotations

import abc
import copy
import json
import math
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.schedule import warm_up_then_cosine
from xaibench.errors import CheckpointError, XaibenchError, one_line
from xaibench.explaining.explanation import Explanation
from xaibench.explaining.trainable import Epoch, FitContext, Fitted, Setting, TrainableExplainer, TrainingClips
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded

WEIGHTS = "explainer.safetensors"
STATE = "state.pt"
WARM_UP_EPOCHS = 1
_POSITIVE = {"epochs", "patience", "batch_size", "learning_rate", "decoder_width", "code_size"}


class MaskNetwork(nn.Module, abc.ABC):
    """Draws a mask for spectrograms of a frozen classifier."""

    @abc.abstractmethod
    def mask_logits(self, classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
        """Logits of the masks over the image (batch, height, width), for spectrograms and target classes (batch,)."""

    @abc.abstractmethod
    def loss(self, classifier: Classifier, x: Tensor, target: Tensor, epoch: int) -> Tensor:
        """Mean loss over the clips; `epoch` counts from 0."""

    def stage(self, epoch: int) -> int:
        """Which loss an epoch (from 0) has: losses of two stages are not compared, and the last stage counts."""
        return 0

    def after_epoch(self, share_done: float, generator: torch.Generator) -> None:
        """What is changed between epochs other than by gradients; `share_done` of all epochs are over."""

    def measures(self, classifier: Classifier, x: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What to log beside the loss: means of (batch,), shares of bool (batch, things) that any clip has."""
        return {}


class MaskExplainer(TrainableExplainer):
    """An explainer whose map is a mask drawn by a network; subclasses give the network.

    Attributes:
        network: made of (classifier, settings).
    """

    polarity = "positive"
    native_mask = True
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
            logits = self._fitted.mask_logits(classifier, batch.x, target)
            mask = torch.sigmoid(classifier.front_end.to_picture(logits))
        return Explanation(mask.clone(), (logits.shape[1], logits.shape[2]))

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
        fit = _Fit(network, classifier, train, valid, context)
        fit.restore()
        while not fit.over:
            fit.run_epoch()
            fit.keep()
            context.report(fit.epochs[-1])
        if not fit.best["epoch"]:
            raise XaibenchError("the loss was never a finite number; choose a lower --set learning_rate")
        network.load_state_dict(fit.best["state"])
        self._fitted, self._settings = network.eval(), context.settings
        return Fitted(
            epochs=tuple(fit.epochs),
            best_epoch=fit.best["epoch"],
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            seconds=fit.seconds,
            measures=fit.measures(train, fit.targets["train"]),
        )

    def save(self, folder: Path) -> None:
        assert self._fitted is not None, "save() comes after fit() or load()"
        state = {
            key: (value.half() if value.is_floating_point() else value).contiguous().clone()
            for key, value in self._fitted.state_dict().items()
        }
        path = Path(folder) / WEIGHTS
        save_file(state, path, {"settings": json.dumps(self._settings)})
        path.chmod(0o644)  # safetensors makes it private to its writer

    def load(self, folder: Path, classifier: Classifier) -> None:
        path = Path(folder) / WEIGHTS
        try:
            with safe_open(path, "pt") as file:
                settings = json.loads((file.metadata() or {})["settings"])
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (it is no dict)
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing; fit it again with 'xaibench fit'") from None
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged; fit it again with 'xaibench fit'") from error
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
            network.load_state_dict(
                {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
            )
        except (RuntimeError, ValueError, MemoryError) as error:
            raise CheckpointError(f"{path} does not fit {classifier.name}: {one_line(error, -1)}") from error
        self._fitted, self._settings = network.to(classifier.device).eval().requires_grad_(False), settings


class _Fit:
    """Network, optimiser and best weights: all that must outlive the process."""

    def __init__(
        self,
        network: MaskNetwork,
        classifier: Classifier,
        train: TrainingClips,
        valid: TrainingClips,
        context: FitContext,
    ) -> None:
        self.network, self.classifier, self.train, self.valid, self.context = network, classifier, train, valid, context
        settings = context.settings
        self.batch_size, self.limit = int(settings["batch_size"]), int(settings["epochs"])
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=float(settings["learning_rate"]), weight_decay=float(settings["weight_decay"])
        )
        steps = math.ceil(len(train) / self.batch_size)
        warm_up, total = WARM_UP_EPOCHS * steps, self.limit * steps
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: warm_up_then_cosine(step, warm_up, total),
        )
        self.epochs: list[Epoch] = []
        self.best: dict[str, Any] = {"loss": math.inf, "epoch": 0, "stage": 0, "state": {}}
        self.seconds = 0.0
        self.targets = {"train": self._predicted(train), "valid": self._predicted(valid)}

    @property
    def over(self) -> bool:
        done = len(self.epochs)
        last_stage = self.best["stage"] == self.network.stage(self.limit - 1)
        waited = done - self.best["epoch"] >= int(self.context.settings["patience"])
        return done >= self.limit or (done > 0 and last_stage and waited)

    def run_epoch(self) -> None:
        """One pass and its validation; every draw depends on (seed, epoch) alone."""
        started, epoch = time.perf_counter(), len(self.epochs)
        generator = torch.Generator().manual_seed(self.context.seed * 100_003 + epoch)
        stage = self.network.stage(epoch)
        if stage != self.best["stage"] and self.best["epoch"]:  # a later stage starts from the best of the one before
            self.network.load_state_dict(self.best["state"])
        self.network.train()
        total = 0.0
        for index in torch.randperm(len(self.train), generator=generator).split(self.batch_size):
            loss = self._loss(self.train, self.targets["train"], index, epoch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self.scheduler.step()
            total += float(loss.detach()) * len(index)
        self.network.after_epoch((epoch + 1) / self.limit, generator)
        self.network.eval()
        valid = 0.0
        with torch.no_grad():
            for index in torch.arange(len(self.valid)).split(self.batch_size):
                valid += float(self._loss(self.valid, self.targets["valid"], index, epoch)) * len(index)
        valid /= len(self.valid)
        self.seconds += time.perf_counter() - started
        measures = self.measures(self.valid, self.targets["valid"])
        self.epochs.append(Epoch(epoch + 1, self.limit, total / len(self.train), valid, measures))
        if valid < (self.best["loss"] if stage == self.best["stage"] else math.inf):
            state = copy.deepcopy(self.network.state_dict())
            self.best = {"loss": valid, "epoch": epoch + 1, "stage": stage, "state": state}

    def measures(self, clips: TrainingClips, target: Tensor) -> dict[str, float]:
        """What the network measures of clips: shares of things that any clip has, else means."""
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

    def keep(self) -> None:
        """Write everything, so that a kill costs one epoch at most."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "last_step": self.scheduler.last_epoch,
            "epochs": [vars(epoch) for epoch in self.epochs],
            "best": self.best,
            "seconds": self.seconds,
        }
        temporary = self.context.state / (STATE + ".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.context.state / STATE)

    def restore(self) -> None:
        """Go on where an earlier process stopped, if there was one.

        Raises:
            CheckpointError: what it left is damaged.
        """
        path = self.context.state / STATE
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.context.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.last_epoch = state["last_step"]
            self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
            self.best, self.seconds = state["best"], state["seconds"]
        except Exception as error:
            # Without torch's own words, which advise to unpickle the file.
            raise CheckpointError(f"{path} is damaged; delete it to start over") from error

    def _loss(self, clips: TrainingClips, target: Tensor, index: Tensor, epoch: int) -> Tensor:
        device, precision = self.context.device, self.context.precision
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return self.network.loss(self.classifier, clips.x[index].to(device), target[index].to(device), epoch)

    @torch.inference_mode()
    def _predicted(self, clips: TrainingClips) -> Tensor:
        """Classes that the classifier predicts, (clips,), on the CPU."""
        parts = [self.classifier.logits(x.to(self.context.device)).argmax(dim=1).cpu() for x in clips.x.split(16)]
        return torch.cat(parts).clone()
