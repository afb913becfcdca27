"""Sound models to explain: shipped, added and trained classifiers by name, and classifiers made in the program."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import torch

from xaibench.classifiers import checkpoint, references
from xaibench.classifiers.base import Classifier, CosineHead
from xaibench.classifiers.checkpoint import Card
from xaibench.classifiers.class_order import in_order
from xaibench.classifiers.loaded import LoadedClassifier, load, loaded_model
from xaibench.errors import CheckpointError, XaibenchError
from xaibench.explaining.fitting import ExplainerCard
from xaibench.sound.dataset import Dataset, data_option

Model = str | Classifier
ALL = "all"


@dataclass(frozen=True)
class _Origin:
    """Where a classifier of `classifier` is from, and its identity when it was loaded.

    Attributes:
        reference: its checkpoint folder, or its name if it brings its weights.
        card: of the folder, or None.
    """

    reference: str
    card: Card | None
    identity: str


_origins: WeakKeyDictionary[Classifier, _Origin] = WeakKeyDictionary()


def classifier(name: str, dataset: str | None = None) -> Classifier:
    """Load a classifier by name.

    Args:
        name: of a registered classifier, whose weights are shipped for `dataset` or come with it; DATASET/NAME of
            shipped weights; the name of an added one; or a checkpoint folder.
        dataset: name of the dataset.

    Raises:
        RegistryError: the name is unknown.
        CheckpointError: no such weights exist, or they are damaged.
    """
    if references.brings_weights(name):
        model = checkpoint.make(name)
        _origins[model] = _Origin(name, None, loaded_model(model).identity)
        return model
    folder = references.find(name, dataset)
    model, card = checkpoint.load(folder)
    _origins[model] = _Origin(str(folder), card, loaded_model(model).identity)
    return model


def load_models(
    models: Sequence[Model] | None,
    data: Dataset,
    folds: Sequence[int],
    device: torch.device,
    say: Callable[[str], None] = warnings.warn,
) -> list[LoadedClassifier]:
    """Take models as results know them: load those that are named, and recognise those that `classifier` loaded.

    Args:
        models: names and classifiers; None or "all" for all whose weights are shipped for the dataset.
        data: on which they are used.
        folds: that are scored; those of which a model has seen clips are named.
        device: of the named ones; classifiers stay on theirs.
        say: told each sentence of warning.

    Raises:
        CheckpointError: there are no such weights.
        XaibenchError: two classifiers have the same name.
    """
    home = data.origin or data.name
    if not models or ALL in [one for one in models if isinstance(one, str)]:
        models = [name for owner, name in references.shipped() if owner == home]
        if not models:
            where = f"{data.name}{data_option(data.name)}"
            raise CheckpointError(
                f"no weights are shipped for {data.name}; train some with 'xaibench train --classifier cnn-micro "
                f"--dataset {where}' and give the folder it prints as --classifier"
            )
    found: dict[str, LoadedClassifier] = {}
    for model in models:
        card: Card | None
        if isinstance(model, str):
            loaded, card = load(model, home, device)
            if card is not None:
                _match_classes(loaded.label, loaded.classifier, data, say)
        elif isinstance(model, Classifier):
            loaded, card = _recognised(model, home)
        else:
            raise _no_model(model)
        other = found.get(loaded.label)
        if other is not None and other.identity != loaded.identity:
            raise XaibenchError(f"two models are called {loaded.label}; give one of them another name (name=...)")
        if other is not None:  # cnn-micro and synth/cnn-micro, perhaps
            continue
        if card is not None and card.dataset == home:
            for sentence in seen_folds(loaded.label, "trained", folds, card):
                say(sentence)
        found[loaded.label] = loaded
    return list(found.values())


def load_scored(
    labels: Sequence[str],
    names: Sequence[Model],
    data: Dataset,
    folds: Sequence[int],
    device: torch.device,
    say: Callable[[str], None] = warnings.warn,
) -> dict[str, LoadedClassifier]:
    """Load the classifiers of a run, by their label there: those that are given, and those known by name here.

    Args:
        labels: what the run calls them. One that is not found is missing in the result.
        names: names, folders and classifiers that the user gives; the others are not asked for.
        data, folds, device, say: as in `load_models`.
    """
    plain = [label for label in labels if "@" not in label and label not in names and _is_here(label, data)]
    chosen = [*names, *plain]
    models = load_models(chosen, data, folds, device, say) if chosen else []
    return {one.label: one for one in models}


def _is_here(label: str, data: Dataset) -> bool:
    """Tell whether a name of the results is that of weights which are shipped or were added."""
    try:
        references.find(label, data.origin or data.name)
    except XaibenchError:
        return False
    return True


def load_model(model: Model, device: torch.device) -> tuple[LoadedClassifier, str]:
    """Take one model as results know it, where no dataset is given.

    Args:
        model: a name or a classifier.
        device: of a named one.

    Returns:
        The classifier, and the dataset on which it was trained, or "" where nobody knows.
    """
    if isinstance(model, str):
        model = classifier(model).to(device)
    if not isinstance(model, Classifier):
        raise _no_model(model)
    origin = _origins.get(model)
    trained_on = "" if origin is None or origin.card is None else origin.card.dataset
    return _recognised(model, trained_on)[0], trained_on


def seen_folds(label: str, done: str, folds: Sequence[int], card: Card | ExplainerCard) -> list[str]:
    """Say which folds to score were used for training or for choosing the epoch."""
    used = ((card.train_folds, f"{done} on"), (card.validation_folds, "selected by"))
    return [
        f"{label} was {what} fold {', '.join(map(str, seen))}: it has seen the clips that are scored there"
        for those, what in used
        if (seen := sorted(set(folds) & set(those)))
    ]


def _match_classes(label: str, model: Classifier, data: Dataset, say: Callable[[str], None]) -> None:
    """Number a model's classes as the dataset does, if they are the same ones; else say how many it knows.

    Classes are compared by name. What is explained is the class that the model predicts, whatever the clip's label.
    """
    if sorted(model.classes) == sorted(data.classes):
        if isinstance(getattr(model, "head", None), CosineHead):
            # Another project numbers its classes in its own way, a dataset by its targets.
            in_order(model, data.classes)
        return
    strange = [name for name in data.classes if name not in model.classes]
    known = len(data.classes) - len(strange)
    if known < len(data.classes):
        count = f"{known} of" if known else "none of"
        names = ", ".join(strange[:3]) + f" and {len(strange) - 3} more" * (len(strange) > 3)
        say(
            f"{label} knows {count} the {len(data.classes)} classes of {data.name}: its accuracy counts clips of these "
            f"only (not {names}; a class map translates names)"
        )


def _no_model(thing: object) -> XaibenchError:
    return XaibenchError(
        f"a {type(thing).__name__} is no sound model yet; make one of it with xaibench.wrap or "
        "xaibench.from_transformers, or give the name of a classifier"
    )


def _recognised(model: Classifier, dataset: str) -> tuple[LoadedClassifier, Card | None]:
    """Take a classifier object, used on a dataset, as what it was loaded from, unless it was changed since."""
    own, origin = loaded_model(model), _origins.get(model)
    if origin is None or origin.identity != own.identity:
        return own, None
    card = origin.card
    if card is None:
        return replace(own, reference=origin.reference), None
    folder = Path(origin.reference)
    label = references.label_of(folder, card.classifier, card.weights_sha256, dataset)
    return LoadedClassifier(label, model, card.weights_sha256, card.geometry, str(folder.resolve())), card
