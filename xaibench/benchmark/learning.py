"""Train classifiers, fit explainers and train judges from Python: what is learned is written with a card."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from xaibench.benchmark.data import dataset
from xaibench.benchmark.models import Model, load_models
from xaibench.benchmark.naming import Method, methods_named
from xaibench.classifiers import checkpoint, judge_training, training
from xaibench.classifiers import judge as judges
from xaibench.classifiers.device import AUTO, device_named
from xaibench.classifiers.judge import JudgeCard
from xaibench.errors import UnsupportedPairError, XaibenchError
from xaibench.explaining import fitting
from xaibench.explaining.fitting import ExplainerCard
from xaibench.explaining.trainable import Epoch, TrainableExplainer, changed_settings
from xaibench.reports.progress import progress as bar_of
from xaibench.sound.dataset import Dataset
from xaibench.sound.folds import spanning_groups

CardType = TypeVar("CardType")
Say = Callable[[str], None]

CHECKPOINTS = "checkpoints"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Learned(Generic[CardType]):
    """Weights that were learned.

    Attributes:
        folder: of the weights and their card.
        card: of what, on what, how well, and at which cost.
    """

    folder: Path
    card: CardType


def train(
    architecture: str,
    data: Dataset | str = "synth",
    *,
    out: str | Path | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    frequency_shift: int = 0,
    stretch: float = 0.0,
    init: str | None = None,
    freeze: bool = False,
    teachers: Sequence[str] = (),
    seed: int = 0,
    precision: str = "float32",
    device: str = AUTO,
    progress: bool = True,
    command: str | None = None,
    say: Say = warnings.warn,
) -> Learned[checkpoint.Card]:
    """Train a classifier, as `xaibench train` does: the epoch is chosen on fold 4, and fold 5 is looked at once.

    Of a dataset with other folds, the last is for the test and the one before it for the choice. If the process is
    killed, the same call continues. `xaibench.classifier(str(learned.folder))` loads the classifier.

    Args:
        architecture: registered name, such as "cnn-micro".
        data: a dataset with folds, or the name of one that needs no folder.
        out: folder of the checkpoint. None: checkpoints/DATASET/ARCHITECTURE.
        epochs, learning_rate, batch_size: None: those of the architecture's recipe.
        frequency_shift: training clips are shifted up or down by at most so many bins.
        stretch: frequencies and times of training clips are stretched or squeezed by at most this share.
        init: classifier whose weights, all but the head, are the first ones: DATASET/NAME, a folder, or an image model
            of transformers. None: random ones.
        freeze: whether all but the head stays as `init` has it.
        teachers: classifiers, the mean of whose probabilities is half of the target.
        seed: of every random draw.
        precision: of matrix products, "float32" or "bfloat16".
        device: such as "cpu" or "cuda:1"; "auto": a GPU if there is one.
        progress: whether a progress bar is shown.
        command: how the card says that it was made. None: this call.
        say: told each sentence of warning.

    Raises:
        RegistryError: the architecture is unknown.
        CheckpointError: the folder holds an unfinished training with other settings.
        DataError: a fold has no clips, or clips have several labels.
        XaibenchError: an argument makes no sense.
    """
    source = dataset(data) if isinstance(data, str) else data
    if freeze and init is None:
        raise XaibenchError("freeze keeps the weights that init names; give init, such as esc10/cnn-micro")
    changes = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
    given = {name: value for name, value in changes.items() if value is not None}
    for name, value in given.items():
        if value <= 0:
            raise XaibenchError(f"{name} is {value}; give more than 0")
    more: dict[str, Any] = {"frequency_shift": frequency_shift, "stretch": stretch, "init": init, "freeze": freeze}
    more = {name: value for name, value in {**more, "teachers": tuple(teachers)}.items() if value}
    recipe = checkpoint.build(architecture, source.classes).recipe
    recipe = replace(recipe, **given, frequency_shift=frequency_shift, stretch=stretch)  # type: ignore[arg-type]
    folder = Path(CHECKPOINTS, source.name, architecture) if out is None else Path(out)
    config = training.TrainingConfig(
        classifier=architecture,
        dataset=source.name,
        seed=seed,
        recipe=recipe,
        precision=_precision(precision),
        device=device_named(device),
        command=command or _call("train", architecture, source, seed=seed, precision=precision, **given, **more),
        split=source.split,
        init=init,
        teachers=tuple(teachers),
        frozen=freeze,
    )
    with _told(source, config.split.validation, progress, say) as (tell, fold):

        def report(step: training.Progress) -> None:
            text = f"{fold} {step.validation_accuracy:.3f} (best {step.best_accuracy:.3f})"
            tell(step.epoch, step.epochs, f"loss {step.loss:.3f} · {text}")

        return Learned(folder, training.train(source, config, folder, report))


def fit(
    method: Method,
    model: Model,
    data: Dataset | str = "synth",
    *,
    settings: Mapping[str, Any] | None = None,
    out: str | Path = fitting.ROOT,
    seed: int = 0,
    precision: str = "float32",
    device: str = AUTO,
    progress: bool = True,
    command: str | None = None,
    say: Say = warnings.warn,
) -> Learned[ExplainerCard]:
    """Fit an explainer that has weights of its own to a classifier, as `xaibench fit` does.

    It learns from folds 1-3, with early stopping on fold 4; of a dataset with other folds, the last is left for the
    test. The classifier is not changed. If the process is killed, the same call continues. `xaibench.evaluate` finds
    the weights by the classifier that they belong to, in the folder `explainers`.

    Args:
        method: name, such as "piq", a TrainableExplainer, or its class.
        model: a classifier, or the name of one.
        data: a dataset with folds, or the name of one that needs no folder.
        settings: hyperparameters with other values than the method's, such as {"epochs": 10}.
        out: folder of all fitted explainers; the weights go to OUT/DATASET/CLASSIFIER/METHOD.
        seed: of every random draw.
        precision: of matrix products, "float32" or "bfloat16".
        device: of a model that is named; an object stays where it is.
        progress: whether a progress bar is shown.
        command: how the card says that it was made. None: this call.
        say: told each sentence of warning.

    Raises:
        UnsupportedPairError: the method has nothing to fit, or makes no sense for the classifier.
        CheckpointError: the folder holds an unfinished fit with other settings, data or classifier.
        DataError: a fold has no clips.
        XaibenchError: an argument makes no sense.
    """
    ((name, explainer),) = methods_named(method).items()
    if not isinstance(explainer, TrainableExplainer):
        raise UnsupportedPairError(
            f"{name} has no weights and needs no fit; use it with 'xaibench run --method {name}'"
        )
    if not explainer.fittable:
        whose = model if isinstance(model, str) else model.name
        raise UnsupportedPairError(
            f"{name} cannot be fitted by xaibench; add its weights with 'xaibench weights add {name} --classifier "
            f"{whose} --from FOLDER'"
        )
    changes = {key: str(value) for key, value in (settings or {}).items()}
    try:
        chosen = changed_settings(type(explainer), changes)
    except ValueError as error:
        raise XaibenchError(f"{name}: {error}") from None
    source = dataset(data) if isinstance(data, str) else data
    (loaded,) = load_models([model], source, (), device_named(device), say)
    folder = fitting.folder_of(Path(out), source.name, loaded.label, name)
    config = fitting.FittingConfig(
        method=name,
        settings=chosen,
        seed=seed,
        precision=_precision(precision),
        command=command
        or _call("fit", name, loaded.label, source, settings=dict(settings or {}), seed=seed, precision=precision),
        split=source.split,
    )
    with _told(source, config.split.validation, progress, say) as (tell, fold):

        def report(step: Epoch) -> None:
            measures = "".join(f" · {name.replace('_', ' ')} {value:.2f}" for name, value in step.measures.items())
            tell(step.epoch, step.epochs, f"loss {step.train_loss:.3f} · {fold} {step.valid_loss:.3f}{measures}")

        return Learned(folder, fitting.fit(explainer, loaded, source, config, folder, report))


def judge(
    model: Model,
    data: Dataset | str = "synth",
    *,
    epochs: int = judge_training.EPOCHS,
    learning_rate: float = judge_training.LEARNING_RATE,
    out: str | Path = fitting.ROOT,
    seed: int = 0,
    precision: str = "float32",
    device: str = AUTO,
    progress: bool = True,
    command: str | None = None,
    say: Say = warnings.warn,
) -> Learned[JudgeCard]:
    """Train the judge of a classifier, as `xaibench judge` does: a copy that is used to missing parts of clips.

    Metrics that need a judge ask it instead of the classifier. It learns from folds 1-3, and its epoch is chosen on
    fold 4. If the process is killed, the same call continues. `xaibench.evaluate` finds it in the folder `explainers`.

    Args:
        model: a classifier, or the name of one.
        data: a dataset with folds, or the name of one that needs no folder.
        epochs: passes over the training folds.
        learning_rate: peak of the learning rate.
        out: folder of all judges and fitted explainers; the weights go to OUT/DATASET/CLASSIFIER/judge.
        seed: of every random draw.
        precision: of matrix products, "float32" or "bfloat16".
        device: of a model that is named; an object stays where it is.
        progress: whether a progress bar is shown.
        command: how the card says that it was made. None: this call.
        say: told each sentence of warning; that no metric may ask the judge is one.

    Raises:
        UnsupportedPairError: the classifier cannot have a judge.
        CheckpointError: the folder holds an unfinished training with other settings, data or classifier.
        DataError: a fold has no clips.
    """
    source = dataset(data) if isinstance(data, str) else data
    (loaded,) = load_models([model], source, (), device_named(device), say)
    folder = judges.folder_of(Path(out), source.name, loaded.label)
    config = judge_training.JudgeConfig(
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        precision=_precision(precision),
        command=command
        or _call(
            "judge", loaded.label, source, epochs=epochs, learning_rate=learning_rate, seed=seed, precision=precision
        ),
        split=source.split,
    )
    with _told(source, config.split.validation, progress, say) as (tell, fold):

        def report(step: judge_training.JudgeEpoch) -> None:
            tell(step.epoch, step.epochs, f"loss {step.loss:.3f} · {fold}, parts missing: {step.masked_accuracy:.3f}")

        card = judge_training.train_judge(loaded, source, config, folder, report)
    if card.fault:
        say(f"the judge {card.fault}")
    return Learned(folder, card)


@contextmanager
def _told(
    source: Dataset, validation: Sequence[int], shown: bool, say: Say
) -> Iterator[tuple[Callable[[int, int, str], None], str]]:
    """Warn of recordings in several folds, and show a bar; gives what tells it an epoch, and the fold that chooses."""
    sentence = spanning_groups(source.clips)
    if sentence:
        say(sentence)
    with bar_of(shown) as bar:
        task = bar.add_task("reading sound", total=None)

        def tell(epoch: int, epochs: int, text: str) -> None:
            bar.update(task, completed=epoch, total=epochs, description=text)

        yield tell, f"fold {', '.join(map(str, validation))}"


def _precision(name: str) -> torch.dtype:
    if name not in PRECISIONS:
        raise XaibenchError(f"precision is {name!r}; choose {' or '.join(PRECISIONS)}")
    return PRECISIONS[name]


def _call(function: str, *things: str | Dataset, **arguments: Any) -> str:
    """Write a call as the card says it."""
    named = [repr(one if isinstance(one, str) else one.name) for one in things]
    return f"xaibench.{function}({', '.join([*named, *(f'{key}={value!r}' for key, value in arguments.items())])})"
