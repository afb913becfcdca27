"""Checkpoint formats of other projects: what reads them, and what builds their classifiers again from a card."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xaibench.classifiers.base import Classifier
from xaibench.errors import CheckpointError, named


@dataclass(frozen=True, kw_only=True)
class ForeignCheckpoint:
    """A classifier as another project saved it, read and checked.

    Attributes:
        classifier: frozen, its classes in the order of its own training.
        dataset: registry name of the dataset whose training folds it learned from; empty if unknown.
        geometry: what `CheckpointFormat.build` makes the untrained classifier of; JSON.
        precision: of the weights in the source.
        files: that were read.
        origin: where they are from, in words.
        assumed_classes: the source names no classes; the format's own are taken.
    """

    classifier: Classifier
    dataset: str
    geometry: dict[str, Any]
    precision: torch.dtype
    files: tuple[Path, ...]
    origin: str
    assumed_classes: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a user gives for a classifier to add.

    Attributes:
        location: a folder, OWNER/NAME of a hub repository, or package.module:function.
        labels: a file of class names, for a location that has none.
        weights: a file of weights, for a location that is code.
        sample_rate: in Hz, for a location that does not say it.
    """

    location: str
    labels: Path | None = None
    weights: Path | None = None
    sample_rate: int | None = None


def class_names(labels: Path) -> tuple[str, ...]:
    """Read a file of class names, one a line.

    Raises:
        CheckpointError: it cannot be read, names none, or one of them twice.
    """
    try:
        names = tuple(line.strip() for line in labels.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{labels} cannot be read ({named(error)}); expected a class name a line") from error
    if not names or len(set(names)) < len(names):
        raise CheckpointError(f"{labels} names no classes, or one of them twice; expected a class name a line")
    return names


class CheckpointFormat(abc.ABC):
    """A format of another project; an instance is registered in the entry-point group `xaibench.checkpoint_formats`.

    The card of a classifier that was added from such a format names it as `builder`.

    Attributes:
        required_files: names of the files of a repository on the hub; of each group of alternatives the first that is
            there. Empty where the format is not one of repositories.
        optional_files: what is fetched beside them if it is there.
    """

    required_files: tuple[tuple[str, ...], ...] = ()
    optional_files: tuple[str, ...] = ()

    @abc.abstractmethod
    def recognises(self, location: str) -> bool:
        """Tell whether a location, a folder or code, looks like this format; repositories are fetched into a folder."""

    @abc.abstractmethod
    def read(self, name: str, source: Source) -> ForeignCheckpoint:
        """Read and check a source; of files nothing is run.

        Args:
            name: what the classifier shall be called.
            source: what the user gives.

        Raises:
            CheckpointError: the source cannot be had, is damaged, or is of another format.
        """

    @abc.abstractmethod
    def build(self, name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
        """Build the untrained classifier that a card describes.

        Raises:
            CheckpointError: the geometry is that of no network.
        """
