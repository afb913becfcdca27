"""Train a judge: the classifier, a little further, on clips with random parts taken out (arXiv 2410.02970)."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.judge import LARGEST_SHARE, WEIGHTS, JudgeCard
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.classifiers.loading import batches, shuffled
from xaibench.classifiers.memory import freed_memory_reused
from xaibench.classifiers.resumable import UNFINISHED, ResumableTraining, claim
from xaibench.errors import DataError, UnsupportedPairError
from xaibench.sound.cells import SIDES, cell_count, on_bins
from xaibench.sound.dataset import OFFICIAL, Clip, Dataset, Split
from xaibench.storage import provenance, tensors

BATCH = 16
EPOCHS = 5
LEARNING_RATE = 1e-4
WARM_UP_SHARE = 0.1
UNSEEN = (20, 16)  # cells along frequency and time of the parts by which a judge is accepted


@dataclass(frozen=True)
class JudgeEpoch:
    """One finished pass over the training clips.

    Attributes:
        epoch, epochs: its number, from 1, of how many.
        loss: mean over the clips.
        masked_accuracy: on the validation folds, where parts of clips are missing.
    """

    epoch: int
    epochs: int
    loss: float
    masked_accuracy: float


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """What decides a judge, beside the classifier and the data.

    Attributes:
        epochs: passes over the training folds.
        learning_rate: peak of AdamW's rate.
        seed: of every random draw.
        precision: of matrix products.
        command: as typed.
        split: folds to train on, and to choose the epoch by.
    """

    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    precision: torch.dtype = torch.float32
    command: str = ""
    split: Split = OFFICIAL


@dataclass(frozen=True)
class _Clips:
    """Waveforms (clips, samples) on the CPU, and labels (clips,) as the classifier numbers them."""

    waveform: Tensor
    label: Tensor

    @classmethod
    def of(cls, dataset: Dataset, clips: Sequence[Clip], classifier: Classifier) -> _Clips:
        known = [clip for clip in clips if dataset.classes[clip.label] in classifier.classes]
        if not known:
            raise DataError(f"no clip of {dataset.name} in these folds has a label that {classifier.name} knows")
        samples = classifier.samples
        assert samples is not None
        sounds = [torch.from_numpy(dataset.waveform_at(clip, classifier.sample_rate, samples)) for clip in known]
        labels = [classifier.classes.index(dataset.classes[clip.label]) for clip in known]
        return cls(torch.stack(sounds), torch.tensor(labels))


class _Trainer(ResumableTraining[JudgeEpoch]):
    """Take random parts out of clips, and step down the cross-entropy of their labels."""

    network: Classifier

    def __init__(self, original: Classifier, train: _Clips, valid: _Clips, config: JudgeConfig) -> None:
        network = copy.deepcopy(original).requires_grad_(True)
        self.train, self.valid, self.config = train, valid, config
        steps = config.epochs * math.ceil(len(train.label) / BATCH)
        super().__init__(
            network,
            torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.0),
            JudgeEpoch,
            epochs=config.epochs,
            steps=steps,
            warm_up=max(1, round(WARM_UP_SHARE * steps)),
            seed=config.seed,
        )

    def run_epoch(self, generator: torch.Generator) -> JudgeEpoch:
        """Pass over the training clips once; accuracy with missing parts counts, then the loss there."""
        network, config = self.network.train(), self.config
        device, total = network.device, 0.0
        indices = shuffled(len(self.train.label), BATCH, generator)
        for index, waveform in zip(indices, batches(self.train.waveform, indices, device), strict=True):
            heard = without_parts(network, waveform, learned_parts(network, len(index), generator))
            with torch.autocast(device.type, config.precision, enabled=config.precision != torch.float32):
                logits = network.logits(heard)
            loss = functional.cross_entropy(network.temperature * logits.float(), self.train.label[index].to(device))
            self.step(loss)
            total += float(loss.detach()) * len(index)
        drawn = torch.Generator().manual_seed(config.seed)  # the same parts in every epoch
        accuracy, loss_there = measure(network, self.valid, lambda count: learned_parts(network, count, drawn))
        self.keep_best((accuracy, -loss_there), network)
        return JudgeEpoch(self.epoch + 1, self.epochs, total / len(self.train.label), accuracy)


def refusal(classifier: Classifier, dataset: Dataset) -> str | None:
    """Say why no judge of a classifier can be trained on a dataset, to be read after its name, or nothing."""
    if "gradients" not in classifier.capabilities or classifier.parameter_count == 0:
        return "cannot be trained further: no gradient reaches weights of it"
    if classifier.activation == "sigmoid" or dataset.has_several_labels:
        return "is judged here on one label a clip only"
    if classifier.samples is None:
        return "hears clips of any length, and a judge is trained on clips of one"
    return None


def learned_parts(classifier: Classifier, count: int, generator: torch.Generator) -> Tensor:
    """Draw the bins that training takes out of each clip, bool (count, freq, time).

    Each clip has parts of one grain: single bins, cells of 3 x 2 bins, or 12 x 12 cells of the picture, which are taken
    out independently with one probability, drawn between 0 and a half.
    """
    assert classifier.samples is not None
    freq, time = classifier.domain.shape(classifier.samples)
    grains = ((freq, time), (max(1, freq // 3), max(1, time // 2)), SIDES)
    chosen = torch.randint(len(grains), (count,), generator=generator).tolist()
    return torch.cat([_parts((freq, time), grains[one], generator) for one in chosen])


def unseen_parts(classifier: Classifier, count: int, generator: torch.Generator) -> Tensor:
    """Draw likewise cells of a grain that training does not have, bool (count, freq, time)."""
    assert classifier.samples is not None
    shape = classifier.domain.shape(classifier.samples)
    return torch.cat([_parts(shape, UNSEEN, generator) for _ in range(count)])


def _rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round weights to half precision, but those that it cannot hold, such as variances of unnormalised power."""
    halves = tensors.cast(weights, torch.float16)
    return {name: one if one.isfinite().all() else weights[name] for name, one in halves.items()}


def _parts(shape: tuple[int, int], sides: tuple[int, int], generator: torch.Generator) -> Tensor:
    share = LARGEST_SHARE * torch.rand((), generator=generator)
    cells = torch.rand(1, cell_count(shape, sides), generator=generator) < share
    return on_bins(cells, shape, sides)


@torch.no_grad()
def without_parts(classifier: Classifier, waveform: Tensor, parts: Tensor) -> Tensor:
    """Take bins (batch, freq, time) out of clips (batch, samples), as they are then heard: (batch, samples)."""
    picture = classifier.domain.analyse(waveform)
    left = picture.x * (~parts).to(picture.x)
    return classifier.domain.synthesise(left, picture.phase, waveform.shape[1])


@torch.no_grad()
def measure(classifier: Classifier, clips: _Clips, parts: Callable[[int], Tensor] | None = None) -> tuple[float, float]:
    """Measure accuracy and mean cross-entropy in evaluation mode.

    Args:
        classifier: on its device; it is in evaluation mode afterwards.
        clips: what it hears.
        parts: draws what is taken out of so many clips; None: they are whole.
    """
    classifier.eval()
    logs = []
    for index in torch.arange(len(clips.label)).split(BATCH):
        waveform = clips.waveform[index].to(classifier.device)
        if parts is not None:
            waveform = without_parts(classifier, waveform, parts(len(index)))
        logs.append(torch.log_softmax(classifier.temperature * classifier.logits(waveform), dim=1).cpu())
    log = torch.cat(logs)
    accuracy = (log.argmax(dim=1) == clips.label).double().mean()
    return float(accuracy), float(functional.nll_loss(log, clips.label))


@freed_memory_reused()
def train_judge(
    loaded: LoadedClassifier,
    dataset: Dataset,
    config: JudgeConfig,
    folder: Path,
    report: Callable[[JudgeEpoch], None],
) -> JudgeCard:
    """Train a classifier's judge and write it, or go on where an interrupted training stopped.

    The classifier is not changed. A judge that is not accepted (`JudgeCard.fault`) is written all the same, so that its
    numbers can be read; no metric asks it.

    Args:
        loaded: the classifier.
        dataset: clips with labels in folds.
        config: what decides the result.
        folder: where the judge goes.
        report: called after every epoch.

    Raises:
        UnsupportedPairError: no judge of such a classifier can be trained.
        CheckpointError: the folder holds the state of a training with other settings.
        DataError: a fold has no clips that the classifier knows.
    """
    original = loaded.classifier
    reason = refusal(original, dataset)
    if reason is not None:
        raise UnsupportedPairError(f"{loaded.label} {reason}")
    train = _Clips.of(dataset, dataset.in_folds(config.split.train), original)
    valid = _Clips.of(dataset, dataset.in_folds(config.split.validation), original)
    state = folder / UNFINISHED
    claim(state, _identity(loaded, dataset, config), "judge", "--explainers")
    trainer = _Trainer(original, train, valid, config)
    trainer.run(state, report)
    judge = copy.deepcopy(original)
    # The card's accuracies are those of the rounded weights that will be loaded.
    rounded = _rounded(trainer.best.weights)
    judge.load_state_dict(tensors.cast(rounded, torch.float32))
    drawn = torch.Generator().manual_seed(config.seed + 1)
    card = JudgeCard(
        classifier=loaded.label,
        classifier_sha256=loaded.sha256,
        classes=tuple(original.classes),
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        data_licence=dataset.licence,
        train_folds=config.split.train,
        validation_folds=config.split.validation,
        seed=config.seed,
        best_epoch=trainer.best.epoch,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        precision=str(config.precision).removeprefix("torch."),
        parameters=original.parameter_count,
        seconds=round(trainer.seconds, 1),
        device=provenance.device_name(original.device),
        original_accuracy=measure(original, valid)[0],
        accuracy=measure(judge, valid)[0],
        masked_accuracy=measure(judge, valid, lambda count: unseen_parts(judge, count, drawn))[0],
        command=config.command,
        versions=provenance.versions(),
    )
    card = card.write(folder, lambda empty: tensors.write(empty / WEIGHTS, rounded))
    shutil.rmtree(state)
    return card


def _identity(loaded: LoadedClassifier, dataset: Dataset, config: JudgeConfig) -> dict[str, Any]:
    """What a training that goes on must share with the interrupted one."""
    return {
        "classifier_sha256": loaded.sha256,
        "data": dataset.fingerprint(),
        "epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
        "precision": str(config.precision),
        "folds": [config.split.train, config.split.validation],
    }
