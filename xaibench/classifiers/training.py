"""Train a classifier: folds 1-3, best epoch by fold 4, fold 5 reported once, or other folds likewise."""

from __future__ import annotations

import copy
import math
import shutil
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
from xaibench.classifiers.base import PictureClassifier, Recipe, picture_reader
from xaibench.classifiers.loading import batches, shuffled, where_it_fits
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.classifiers.resumable import UNFINISHED, ResumableTraining, claim
from xaibench.errors import CheckpointError, DataError
from xaibench.sound import audio
from xaibench.sound.dataset import OFFICIAL, Clip, Dataset, Split
from xaibench.storage import provenance

MEASURED_AT_ONCE = {"cuda": 128}  # clips; on other devices 16
EMA_DECAY = 0.99
WARM_UP_SHARE = 0.1
KEEP_EVERY = 5  # epochs: a state is large, and an epoch is short


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
        teachers: classifiers, named likewise but no image backbones; the mean of their probabilities on the
            augmented clips is half of the target (distillation as in DeiT, arXiv 2012.12877); none for labels alone.
        frozen: whether all but the head stays as `init` has it.
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
    teachers: tuple[str, ...] = ()
    frozen: bool = False
    split: Split = OFFICIAL

    def identity(self) -> dict[str, Any]:
        """What a resumed training must share with the interrupted one."""
        return {
            "classifier": self.classifier,
            "dataset": self.dataset,
            "seed": self.seed,
            "epochs": self.recipe.epochs,
            "learning_rate": self.recipe.learning_rate,
            "weight_decay": self.recipe.weight_decay,
            "batch_size": self.recipe.batch_size,
            "frequency_shift": self.recipe.frequency_shift,
            "stretch": self.recipe.stretch,
            "precision": str(self.precision),
            "init": self.init,
            "teachers": self.teachers,
            "frozen": self.frozen,
            "folds": list(asdict(self.split).values()),
        }


class _Trainer(ResumableTraining[Progress]):
    """Train a classifier and the moving average of its weights; the average is what is kept.

    Args:
        config: what decides the result.
        dataset: whose classes it learns.
        train: linear magnitudes (clips, 513, 431) and labels (clips,) to learn from.
        valid: log spectrograms and labels to select the epoch by.
    """

    network: PictureClassifier

    def __init__(
        self, config: TrainingConfig, dataset: Dataset, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]
    ) -> None:
        torch.manual_seed(config.seed)
        recipe = config.recipe
        self.config = config
        self.train, self.valid = ((where_it_fits(x, config.device), labels) for x, labels in (train, valid))
        model = picture_reader(checkpoint.build(config.classifier, dataset.classes))
        self.origin = _initialise(model, config.init, config.dataset) if config.init else ""
        model.to(config.device)
        # With their own statistics, too, of whatever is in the batch.
        self.frozen = [one for name, one in model.named_children() if name != "head"] if config.frozen else []
        for module in self.frozen:
            module.requires_grad_(False)
        self.teachers, self.taught_by = _teachers(config, model.classes)
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim > 1]
        vectors = [p for p in trained if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
        )
        steps = recipe.epochs * math.ceil(len(train[1]) / recipe.batch_size)
        super().__init__(
            model,
            optimizer,
            Progress,
            epochs=recipe.epochs,
            steps=steps,
            warm_up=max(1, round(WARM_UP_SHARE * steps)),
            seed=config.seed,
            keep_every=KEEP_EVERY,
        )
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True)
        self.average = self.kept["average"] = average

    def run_epoch(self, generator: torch.Generator) -> Progress:
        """Pass over the training clips once; the better accuracy of the average counts, then the lower loss."""
        loss = self.pass_once(generator)
        average = cast(PictureClassifier, self.average.module)
        accuracy, valid_loss = measure(average, *self.valid, self.config.device)
        self.keep_best((accuracy, -valid_loss), average)
        return Progress(self.epoch + 1, self.epochs, loss, accuracy, self.best.score[0])

    def pass_once(self, generator: torch.Generator) -> float:
        """Take a step for every batch of the training clips, in random order; return their mean loss."""
        config, (magnitude, labels) = self.config, self.train
        self.network.train()
        for module in self.frozen:
            module.eval()
        # On the device: asking for every step's loss would make the processor wait for every step.
        total = torch.zeros((), dtype=torch.float64, device=config.device)
        recipe = config.recipe
        indices = shuffled(len(labels), recipe.batch_size, generator)
        for index, loaded in zip(indices, batches(magnitude, indices, config.device), strict=True):
            one_hot = functional.one_hot(labels[index], len(self.network.classes)).float()
            x, target = augment(loaded, one_hot.to(config.device), generator, recipe.frequency_shift, recipe.stretch)
            with torch.autocast(config.device.type, config.precision, enabled=config.precision != torch.float32):
                if self.teachers:
                    target = (target + self._taught(x)) / 2
                logits = self.network.picture_logits(x)
            loss = self.network.loss(logits.float(), target)
            self.step(loss)
            self.average.update_parameters(self.network)
            total += loss.detach().double() * len(index)
        return float(total) / len(labels)

    @torch.no_grad()
    def _taught(self, x: Tensor) -> Tensor:
        """Average the probabilities of all teachers, (batch, classes)."""
        return torch.stack([teacher.probabilities(x).float() for teacher in self.teachers]).mean(dim=0)


def _initialise(model: PictureClassifier, reference: str, dataset: str) -> str:
    """Take over the weights of a checkpoint, except the head, and say whose they were."""
    folder = pretrained.folder_of(reference, model.name)
    if folder is not None:
        return pretrained.initialise(model, folder, reference)
    source, card = checkpoint.resolve(reference, dataset)
    body, own = _body(picture_reader(source)), _body(model)
    # What counts is whether all its tensors are there: another project's classifier has a name of its user's own, and a
    # deeper one begins like it.
    if not _shapes(own).items() <= _shapes(body).items():
        raise CheckpointError(f"{reference} holds a {card.classifier}, not a {model.name}; choose another --init")
    model.load_state_dict({key: body[key] for key in own}, strict=False)
    return _origin(card)


def _body(model: PictureClassifier) -> dict[str, Tensor]:
    """All tensors but the head's."""
    return {key: value for key, value in model.state_dict().items() if not key.startswith("head.")}


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in tensors.items()}


def _teachers(config: TrainingConfig, classes: tuple[str, ...]) -> tuple[list[PictureClassifier], str]:
    """The classifiers to learn from, frozen, and what they are."""
    found, cards = [], []
    for name in config.teachers:
        teacher, card = checkpoint.resolve(name, config.dataset)
        if card.classes != classes:
            raise CheckpointError(f"{name} knows other classes ({card.dataset}'s); choose another --teacher")
        found.append(picture_reader(teacher).to(config.device))
        cards.append(card)
    return found, "; ".join(map(_origin, cards))


def _origin(card: checkpoint.Card) -> str:
    return f"{card.classifier} trained on {card.dataset} ({card.data_licence}), SHA-256 {card.weights_sha256}"


@torch.inference_mode()
def measure(classifier: PictureClassifier, x: Tensor, labels: Tensor, device: torch.device) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in evaluation mode, over spectrograms (clips, 513, 431)."""
    classifier.eval()
    indices = torch.arange(len(x)).split(MEASURED_AT_ONCE.get(device.type, 16))
    logs = torch.cat([classifier.log_probabilities(part).cpu() for part in batches(x, indices, device)])
    loss = functional.nll_loss(logs, labels)
    return float((logs.argmax(dim=1) == labels).double().mean()), float(loss)


def magnitudes(dataset: Dataset, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Linear STFT magnitudes (clips, 513, 431) and labels (clips,)."""
    parts = [audio.stft(torch.from_numpy(dataset.waveform_at(clip, *audio.INPUT))[None]).abs() for clip in clips]
    return torch.cat(parts), torch.tensor([clip.label for clip in clips])


@freed_memory_reused()
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
        DataError: a fold has no clips, or clips have several labels.
    """
    if dataset.has_several_labels:
        raise DataError(
            f"clips of {dataset.name} have several labels, and a classifier is trained here on one a clip; train it "
            "elsewhere and bring it (docs/bring-your-model.md)"
        )
    learned = magnitudes(dataset, dataset.in_folds(config.split.train))
    valid_x, valid_y = magnitudes(dataset, dataset.in_folds(config.split.validation))
    trainer = _Trainer(config, dataset, learned, (torch.log1p(valid_x), valid_y))
    state = folder / UNFINISHED
    claim(state, config.identity() | {"data": dataset.fingerprint()}, "training", "--out")
    trainer.run(state, report)
    card = _finish(trainer, dataset, folder)
    shutil.rmtree(state)
    return card


def _finish(trainer: _Trainer, dataset: Dataset, folder: Path) -> checkpoint.Card:
    config = trainer.config
    best = copy.deepcopy(cast(PictureClassifier, trainer.average.module))
    best.load_state_dict(trainer.best.weights)
    learned, labels = trainer.train
    parts = torch.arange(len(labels)).split(config.recipe.batch_size)
    with torch.no_grad():
        best.eval().after_training(torch.log1p(part) for part in batches(learned, parts, config.device))
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
        best_epoch=trainer.best.epoch,
        validation_accuracy=math.nan,
        test_accuracy=math.nan,
        parameters=best.parameter_count,
        seconds=round(trainer.seconds, 1),
        command=config.command,
        versions=provenance.versions(),
    )
    checkpoint.save(folder, best, card)
    # The card's accuracies are those of the rounded weights that others will load.
    rounded = picture_reader(checkpoint.load(folder)[0]).to(config.device)
    test_x, test_y = magnitudes(dataset, dataset.in_folds(config.split.test))
    card = replace(
        card,
        validation_accuracy=measure(rounded, *trainer.valid, config.device)[0],
        test_accuracy=measure(rounded, torch.log1p(test_x), test_y, config.device)[0],
    )
    return checkpoint.save(folder, best, card)
