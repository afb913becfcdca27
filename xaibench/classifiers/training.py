"""Train a classifier: folds 1-3, best epoch by fold 4, fold 5 reported once, or other folds likewise."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from xaibench.classifiers import checkpoint, pretrained
from xaibench.classifiers.augmentation import augment
from xaibench.classifiers.base import Classifier, Recipe
from xaibench.classifiers.loading import batches
from xaibench.classifiers.schedule import warm_up_then_cosine
from xaibench.errors import CheckpointError
from xaibench.sound import audio
from xaibench.sound.dataset import OFFICIAL, Clip, Dataset, Split
from xaibench.storage import provenance

BATCH_SIZE = 16
EMA_DECAY = 0.99
LABEL_SMOOTHING = 0.1
WARM_UP_SHARE = 0.1
STATE = "training-state.pt"


@dataclass(frozen=True)
class Progress:
    """One finished epoch, for whoever shows progress."""

    epoch: int
    epochs: int
    loss: float
    validation_accuracy: float
    best_accuracy: float


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What, beside the data, decides the trained weights on one machine.

    Attributes:
        init: classifier to start from, all but its head: a name, DATASET/NAME or a folder, as
            `references.find` reads it, or an image backbone of transformers (folder, or OWNER/NAME on the
            hub); None to start from random weights.
        teacher: classifier, named likewise but no image backbone, whose probabilities on the augmented clips
            are half of the target (distillation as in DeiT, arXiv 2012.12877); None for labels alone.
        split: folds to train on, to select the epoch by, and to report.
    """

    classifier: str
    dataset: str
    seed: int
    recipe: Recipe
    precision: torch.dtype
    device: torch.device
    command: str
    init: str | None = None
    teacher: str | None = None
    split: Split = OFFICIAL

    def identity(self) -> dict[str, Any]:
        """What a resumed training must share with the interrupted one."""
        official = {
            "classifier": self.classifier,
            "dataset": self.dataset,
            "seed": self.seed,
            "epochs": self.recipe.epochs,
            "learning_rate": self.recipe.learning_rate,
            "weight_decay": self.recipe.weight_decay,
            "frequency_shift": self.recipe.frequency_shift,
            "precision": str(self.precision),
            "init": self.init,
            "teacher": self.teacher,
        }
        # Absent where official, so that states from before there were other folds still count.
        return official if self.split == OFFICIAL else official | {"folds": list(asdict(self.split).values())}


class _Trainer:
    """Model, its moving average, optimiser and best state: all that a checkpoint must hold."""

    def __init__(self, config: TrainingConfig, dataset: Dataset, steps: int) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.identity = config.identity() | {"data": dataset.fingerprint()}
        self.model = checkpoint.build(config.classifier, dataset.classes)
        self.origin = _initialise(self.model, config.init, config.dataset) if config.init else ""
        self.model.to(config.device)
        self.teacher, self.taught_by = _teacher(config, self.model.classes)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True)
        recipe = config.recipe
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )
        warm_up = max(1, round(WARM_UP_SHARE * steps))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: warm_up_then_cosine(step, warm_up, steps),
        )
        self.epoch = 0
        self.best: dict[str, Any] = {"accuracy": -1.0, "loss": math.inf, "epoch": 0, "state": {}}
        self.seconds = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"last_epoch": self.scheduler.last_epoch},
            "epoch": self.epoch,
            "best": self.best,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.epoch, self.best, self.seconds = state["epoch"], state["best"], state["seconds"]

    def run_epoch(self, magnitude: Tensor, labels: Tensor) -> float:
        """Mean training loss of one pass; every draw depends on (seed, epoch) alone."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 100_003 + self.epoch)
        torch.manual_seed(config.seed * 100_003 + self.epoch)
        self.model.train()
        # On the device: asking for every step's loss would make the processor wait for every step.
        total = torch.zeros((), dtype=torch.float64, device=config.device)
        shift = config.recipe.frequency_shift
        indices = torch.randperm(len(labels), generator=generator).split(BATCH_SIZE)
        for index, loaded in zip(indices, batches(magnitude, indices, config.device), strict=True):
            one_hot = functional.one_hot(labels[index], len(self.model.classes)).float()
            x, target = augment(loaded, one_hot.to(config.device), generator, shift)
            if self.teacher is not None:
                with torch.no_grad():
                    target = (target + self.teacher.probabilities(x)) / 2
            with torch.autocast(config.device.type, config.precision, enabled=config.precision != torch.float32):
                logits = self.model.logits(x)
            loss = functional.cross_entropy(
                self.model.temperature * logits.float(), target, label_smoothing=LABEL_SMOOTHING
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            self.optimizer.step()
            self.scheduler.step()
            self.average.update_parameters(self.model)
            total += loss.detach().double() * len(index)
        self.epoch += 1
        return float(total) / len(labels)

    def validate(self, x: Tensor, labels: Tensor) -> float:
        """Accuracy of the averaged weights, kept if the best so far (ties: the lower loss)."""
        average = cast(Classifier, self.average.module)
        accuracy, loss = measure(average, x, labels, self.config.device)
        if (accuracy, -loss) > (self.best["accuracy"], -self.best["loss"]):
            state = {key: value.detach().clone() for key, value in average.state_dict().items()}
            self.best = {"accuracy": accuracy, "loss": loss, "epoch": self.epoch, "state": state}
        return accuracy


def _initialise(model: Classifier, reference: str, dataset: str) -> str:
    """Take over the weights of a checkpoint, except the head, and say whose they were."""
    folder = pretrained.folder_of(reference, model.name)
    if folder is not None:
        return pretrained.initialise(model, folder, reference)
    source, card = checkpoint.resolve(reference, dataset)
    body = _body(source)
    # A classifier of another project has a name of its user's own; what counts is whether its tensors fit.
    same = _shapes(body) == _shapes(_body(model)) if card.builder else card.classifier == model.name
    if not same or source.family != model.family:
        raise CheckpointError(f"{reference} holds a {card.classifier}, not a {model.name}; choose another --init")
    model.load_state_dict(body, strict=False)
    return _origin(card)


def _body(model: Classifier) -> dict[str, Tensor]:
    """All tensors but the head's."""
    return {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in tensors.items()}


def _teacher(config: TrainingConfig, classes: tuple[str, ...]) -> tuple[Classifier | None, str]:
    """The classifier to learn from, frozen, and what it is."""
    if config.teacher is None:
        return None, ""
    teacher, card = checkpoint.resolve(config.teacher, config.dataset)
    if card.classes != classes:
        raise CheckpointError(f"{config.teacher} knows other classes ({card.dataset}'s); choose another --teacher")
    return teacher.to(config.device), _origin(card)


def _origin(card: checkpoint.Card) -> str:
    return f"{card.classifier} trained on {card.dataset} ({card.data_licence}), SHA-256 {card.weights_sha256}"


@torch.inference_mode()
def measure(classifier: Classifier, x: Tensor, labels: Tensor, device: torch.device) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in evaluation mode, over spectrograms (clips, 513, 431)."""
    classifier.eval()
    indices = torch.arange(len(x)).split(BATCH_SIZE)
    logs = torch.cat([classifier.log_probabilities(part).cpu() for part in batches(x, indices, device)])
    loss = functional.nll_loss(logs, labels)
    return float((logs.argmax(dim=1) == labels).double().mean()), float(loss)


def magnitudes(dataset: Dataset, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Linear STFT magnitudes (clips, 513, 431) and labels (clips,)."""
    parts = [audio.stft(torch.from_numpy(dataset.waveform(clip))[None]).abs() for clip in clips]
    return torch.cat(parts), torch.tensor([clip.label for clip in clips])


def train(
    dataset: Dataset,
    config: TrainingConfig,
    folder: Path,
    report: Callable[[Progress], None],
) -> checkpoint.Card:
    """Train, or go on where an interrupted training in `folder` stopped; write weights and card.

    Args:
        dataset: clips in official folds.
        config: what decides the result.
        folder: where the checkpoint goes; holds the resumable state until training ends.
        report: called after every epoch.

    Returns:
        The card of the written checkpoint.

    Raises:
        CheckpointError: `folder` holds the state of a training with other settings.
        DataError: a fold has no clips.
    """
    train_x, train_y = magnitudes(dataset, dataset.in_folds(config.split.train))
    valid_x, valid_y = magnitudes(dataset, dataset.in_folds(config.split.validation))
    valid_x = torch.log1p(valid_x)
    steps = config.recipe.epochs * math.ceil(len(train_y) / BATCH_SIZE)
    trainer = _Trainer(config, dataset, steps)
    folder.mkdir(parents=True, exist_ok=True)
    _resume(trainer, folder / STATE)
    while trainer.epoch < config.recipe.epochs:
        started = time.perf_counter()
        loss = trainer.run_epoch(train_x, train_y)
        accuracy = trainer.validate(valid_x, valid_y)
        trainer.seconds += time.perf_counter() - started
        report(Progress(trainer.epoch, config.recipe.epochs, loss, accuracy, trainer.best["accuracy"]))
        if trainer.epoch % 5 == 0:
            temporary = folder / (STATE + ".tmp")
            torch.save(trainer.state(), temporary)
            os.replace(temporary, folder / STATE)
    card = _finish(trainer, dataset, (valid_x, valid_y), folder)
    (folder / STATE).unlink(missing_ok=True)
    return card


def _resume(trainer: _Trainer, path: Path) -> None:
    if not path.is_file():
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Without torch's own words, which advise to unpickle the file.
        raise CheckpointError(f"{path} is damaged; delete it to start over") from error
    if state.get("identity") != trainer.identity:
        raise CheckpointError(
            f"{path} belongs to a training with other settings or data; delete it or choose another --out"
        )
    trainer.restore(state)


def _finish(trainer: _Trainer, dataset: Dataset, valid: tuple[Tensor, Tensor], folder: Path) -> checkpoint.Card:
    config = trainer.config
    best = copy.deepcopy(cast(Classifier, trainer.average.module))
    best.load_state_dict(trainer.best["state"])
    card = checkpoint.Card(
        classifier=config.classifier,
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        data_licence=dataset.licence,
        classes=dataset.classes,
        temperature=best.temperature,
        train_folds=config.split.train,
        validation_folds=config.split.validation,
        test_folds=config.split.test,
        seed=config.seed,
        initialised_from=trainer.origin,
        taught_by=trainer.taught_by,
        epochs=config.recipe.epochs,
        best_epoch=trainer.best["epoch"],
        validation_accuracy=math.nan,
        test_accuracy=math.nan,
        parameters=best.parameter_count,
        seconds=round(trainer.seconds, 1),
        command=config.command,
        versions=provenance.versions(),
    )
    checkpoint.save(folder, best, card)
    # The card's accuracies are those of the rounded weights that others will load.
    rounded, _ = checkpoint.load(folder)
    rounded.to(config.device)
    test_x, test_y = magnitudes(dataset, dataset.in_folds(config.split.test))
    card = replace(
        card,
        validation_accuracy=measure(rounded, *valid, config.device)[0],
        test_accuracy=measure(rounded, torch.log1p(test_x), test_y, config.device)[0],
    )
    checkpoint.save(folder, best, card)
    return card
