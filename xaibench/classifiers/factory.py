"""Classifiers that a function of the user's own makes: `xaibench classifiers add NAME --from package.module:make`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.checkpoint_format import CheckpointFormat, ForeignCheckpoint, Source, class_names
from xaibench.classifiers.state_dicts import read_state
from xaibench.classifiers.wrapped import wrap
from xaibench.errors import CheckpointError, named, one_line
from xaibench.storage import tensors

_FACTORY, _FOLDER, _RATE = "factory", "folder", "sample_rate"
_REMEDY = "give --weights a state dict that torch.save or safetensors wrote"


class FactoryFormat(CheckpointFormat):
    """`package.module:factory`, a function without arguments that makes a torch module or a classifier.

    A module takes waveforms (batch, samples) and gives logits; its classes come from `--labels` and its rate from
    `--sample-rate`. A function that returns a classifier (`xaibench.wrap(...)`) says all of this itself, and front
    end, layer and activation as well.
    """

    def recognises(self, location: str) -> bool:
        return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", location) is not None

    def read(self, name: str, source: Source) -> ForeignCheckpoint:
        geometry: dict[str, Any] = {_FACTORY: source.location, _FOLDER: str(Path.cwd()), _RATE: source.sample_rate}
        made = _make(geometry)
        classes = made.classes if isinstance(made, Classifier) else ()
        if not isinstance(made, Classifier):
            if source.labels is None or source.sample_rate is None:
                raise CheckpointError(
                    f"{source.location} makes a torch module, which does not say its classes and sample rate; give "
                    "--labels FILE (a class a line, in the order of the logits) and --sample-rate HZ"
                )
            classes = class_names(source.labels)
        elif source.labels is not None or source.sample_rate is not None:
            raise CheckpointError(
                f"{source.location} makes a classifier, which says its classes and sample rate itself; leave out "
                "--labels and --sample-rate"
            )
        if source.weights is not None:
            module = made if not isinstance(made, Classifier) else getattr(made, "net", made)
            _load(module, source.weights)
        return ForeignCheckpoint(
            classifier=_finish(name, made, classes, geometry),
            dataset="",
            geometry=geometry,
            precision=torch.float32,
            files=() if source.weights is None else (source.weights,),
            origin=source.location,
        )

    def build(self, name: str, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
        return _finish(name, _make(geometry), classes, geometry)


FORMAT = FactoryFormat()


def _make(geometry: Mapping[str, Any]) -> nn.Module:
    """Import the function and call it; its module may lie in the folder in which it was added."""
    location, folder = str(geometry[_FACTORY]), str(geometry[_FOLDER])
    module, _, function = location.partition(":")
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        made = getattr(importlib.import_module(module), function)()
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{location} cannot be imported ({error}); install its package, or keep {module.partition('.')[0]}.py in "
            f"{folder}"
        ) from error
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        raise CheckpointError(f"{location} fails: {named(error)}") from error
    if not isinstance(made, nn.Module):
        raise CheckpointError(
            f"{location} makes a {type(made).__name__}, expected a torch module or what xaibench.wrap returns"
        )
    return made


def _finish(name: str, made: nn.Module, classes: Sequence[str], geometry: Mapping[str, Any]) -> Classifier:
    if isinstance(made, Classifier):
        if made.classes != tuple(classes):
            raise CheckpointError(
                f"{geometry[_FACTORY]} now makes a classifier of other classes than when {name} was added; add it "
                "again with --force"
            )
        made.name = name
        return made
    return wrap(made, classes=list(classes), sample_rate=int(geometry[_RATE]), name=name)


def _load(module: nn.Module, path: Path) -> None:
    """Load a state dict without running anything in it."""
    state = tensors.read(path, _REMEDY)[0] if path.suffix == ".safetensors" else read_state(path)[0]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {type(module).__name__}: {one_line(error, -1)}") from error
