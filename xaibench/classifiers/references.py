"""Which weights a classifier's name means: shipped, added, in a folder, or brought by its package."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from xaibench import registry
from xaibench.errors import CheckpointError
from xaibench.sound.dataset import data_option
from xaibench.storage import hub
from xaibench.storage.user_folders import data_folder

CARD = "card.json"
_CONFIG = "config.json"  # of transformers
_WEIGHTS = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors"})


def find(reference: str, dataset: str | None) -> Path:
    """Find the checkpoint folder that a user means.

    Args:
        reference: the name of a registered classifier (its weights shipped for the dataset), DATASET/NAME of
            shipped weights, the name of an added classifier, or a checkpoint folder. A name comes before a
            folder that happens to be called so; ./NAME is the folder.
        dataset: whose shipped weights the name of a registered classifier means; None where no dataset is known.

    Raises:
        RegistryError: a name that is unknown.
        CheckpointError: no such weights are shipped, the folder is no checkpoint, or the classifier brings its weights.
    """
    if brings_weights(reference):
        raise CheckpointError(
            f"{reference} brings its weights, in its package {registry.origin('classifiers', reference)}, and has no "
            "checkpoint folder, which is needed here; choose another classifier"
        )
    if reference in registry.names("classifiers"):
        return _shipped(reference, dataset)
    if reference in added():
        return added_folder(reference)
    owner, slash, name = reference.partition("/")
    if (owner, name) in shipped():
        return _root() / owner / name
    folder = Path(reference).expanduser()
    if (folder / CARD).is_file():
        return folder
    if folder.is_file() or folder.suffix in _WEIGHTS:
        raise _of_your_own(reference, folder.suffix)
    if not slash:
        registry.entry("classifiers", reference)  # raises with the nearest name
    if owner in registry.names("datasets") and not folder.exists():
        raise CheckpointError(f"no weights of {name} are shipped for {owner}; there are {_listed(shipped())}")
    if (folder / _CONFIG).is_file() or (hub.is_repository(reference) and not folder.exists()):
        raise CheckpointError(
            f"{reference} holds no {CARD}; if it is a model of transformers or of SpeechBrain's recipes, add it "
            f"under a name first: 'xaibench classifiers add NAME --from {reference}'"
        )
    raise CheckpointError(
        f"{reference} holds no {CARD}; expected a folder written by 'xaibench train', a name that "
        "'xaibench classifiers' lists, or DATASET/NAME of shipped weights. To bring a model of your own: 'xaibench "
        "classifiers add NAME --from my_module:make_model --weights FILE', or xaibench.wrap(model, ...) in Python"
    )


def _of_your_own(reference: str, suffix: str) -> CheckpointError:
    """Say how a model of one's own is brought by whom gives its file in place of a name; the note is a second line."""
    weights = f" --weights {reference}" if suffix in _WEIGHTS else ""
    error = CheckpointError(f"{reference} is a file, which does not say what network it is of, and what it hears")
    error.add_note(
        f"To bring your model: 'xaibench classifiers add NAME --from my_models:make{weights}', where make() in "
        "my_models.py makes it; then '-c NAME' (docs/bring-your-model.md; in Python, xaibench.wrap(model, ...))"
    )
    return error


def brings_weights(name: str) -> bool:
    """Tell whether a name is that of a registered classifier which its package makes with its weights.

    Raises:
        RegistryError: it does not load.
    """
    return name in registry.names("classifiers") and not takes_classes(registry.load("classifiers", name))


def takes_classes(factory: Callable[..., Any]) -> bool:
    """Tell whether a function makes an untrained classifier, of given classes; else it makes a trained one."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # no function, or one without a signature
        return True
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(one.default is one.empty and one.kind not in several for one in parameters)


def label_of(folder: Path, classifier: str, sha256: str, dataset: str) -> str:
    """Say how results call the classifier of a checkpoint folder.

    Args:
        folder: where `find` found it.
        classifier, sha256: name and hash of the weights, from the card.
        dataset: on which it is used.

    Returns:
        The plain name of added weights and of those shipped for the dataset; of others NAME@HASH, since
        many weights may have that name.
    """
    plain = folder in (added_folder(classifier), shipped_folder(classifier, dataset))
    return classifier if plain else f"{classifier}@{sha256[:8]}"


def shipped() -> list[tuple[str, str]]:
    """(dataset, classifier) of all shipped weights."""
    return sorted((card.parent.parent.name, card.parent.name) for card in _root().glob(f"*/*/{CARD}"))


def shipped_folder(name: str, dataset: str) -> Path | None:
    """Folder of the weights shipped for a classifier and a dataset, if there are any."""
    folder = _root() / dataset / name
    return folder if (folder / CARD).is_file() else None


def added() -> list[str]:
    """Names of the classifiers that were added."""
    return sorted(card.parent.name for card in added_folder("").glob(f"*/{CARD}"))


def added_folder(name: str) -> Path:
    """Where `xaibench classifiers add` keeps, or would keep, the classifier of a name."""
    return data_folder() / "classifiers" / name


def _root() -> Path:
    return Path(str(resources.files("xaibench"))) / "weights"


def _shipped(name: str, dataset: str | None) -> Path:
    """The folder of weights shipped for a registered classifier."""
    of_name = [(data, classifier) for data, classifier in shipped() if classifier == name]
    if dataset is None:
        if len(of_name) > 1:
            raise CheckpointError(f"weights of {name} are shipped for several datasets; give {_listed(of_name)}")
        dataset = of_name[0][0] if of_name else "DATASET"
    folder = shipped_folder(name, dataset)
    if folder is None:
        others = f"; give {_listed(of_name)}, which hear any clips, or" if of_name else ";"
        raise CheckpointError(
            f"no weights of {name} are shipped for {dataset}{others} train them with 'xaibench train --classifier "
            f"{name} --dataset {dataset}{data_option(dataset)}' and give the folder it prints"
        )
    return folder


def _listed(weights: list[tuple[str, str]]) -> str:
    return ", ".join(f"{dataset}/{name}" for dataset, name in weights) or "none"
