"""The contract of explainers that are fitted to a classifier."""

from __future__ import annotations

import copy
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import CheckpointError
from xaibench.explaining.trainable import Epoch, FitContext, Fitted, TrainableExplainer, TrainingClips
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded
from xaibench.testing.common import close, require
from xaibench.testing.toys import toy_batch
from xaibench.testing.unchanged import unchanged

EPOCHS = 2  # so that a fit can be stopped between them
SAVED_TOLERANCE = 0.02  # mean, relative to the mean of the map; weights may be saved in half precision


class _Stop(Exception):
    """Raised by `report`, in place of a kill."""


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def check_fit(method: TrainableExplainer, classifier: Classifier, batch: Batch, target: Tensor) -> None:
    """Fit on toy sound, check what fit, save and load promise, and leave `method` with loaded weights.

    Args:
        method: made without arguments, as the benchmark makes it; what it was fitted to before is replaced.
        classifier: frozen.
        batch: clips to compare maps on.
        target: class indices (batch,).

    Raises:
        AssertionError: the promise that is broken.
    """
    for name, value in method.settings.items():
        require(isinstance(value, bool | int | float), f"setting {name} is {value!r}; expected True, False or a number")
    fitter = _Fitter(classifier, batch, target)
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        with unchanged(classifier, batch, target, "fit()"):
            maps = fitter.maps(method, root / "once", seed=0)
        with unchanged(classifier, batch, target, "a second fit()"):
            again = fitter.maps(_fresh(method), root / "twice", seed=1)
        require(close(maps, again), "two fits with the same seed gave two maps; draw only from context.seed")
        _check_goes_on(fitter, _fresh(method), root / "stopped", maps)
        _check_other_weights(method, fitter, maps)
        _check_files(method, fitter, root, maps)


class _Fitter:
    """Fits on toy clips and explains others."""

    def __init__(self, classifier: Classifier, batch: Batch, target: Tensor) -> None:
        self.classifier, self.batch, self.target = classifier, batch, target
        sound = toy_batch(8)
        waveform = cast(Tensor, sound.waveform)
        self.train = TrainingClips(sound.x[:6], sound.clip_ids[:6], waveform[:6])
        self.valid = TrainingClips(sound.x[6:], sound.clip_ids[6:], waveform[6:])

    def maps(self, method: TrainableExplainer, state: Path, seed: int, stop: bool = False) -> Tensor:
        """Maps after a fit, whose every draw should come from its own seed, not from the global one given."""
        state.mkdir(exist_ok=True)
        epochs: list[Epoch] = []

        def report(epoch: Epoch) -> None:
            epochs.append(epoch)
            if stop:
                raise _Stop

        settings = method.settings | ({"epochs": EPOCHS} if "epochs" in method.settings else {})
        context = FitContext(
            settings=settings,
            seed=0,
            device=self.classifier.device,
            precision=torch.float32,
            state=state,
            report=report,
        )
        with seeded(seed):
            fitted = method.fit(self.classifier, self.train, self.valid, context)
        require(isinstance(fitted, Fitted), f"fit() returned {type(fitted).__name__}, expected Fitted")
        numbers = {epoch.epoch for epoch in fitted.epochs}
        require(not numbers or fitted.best_epoch in numbers, f"best_epoch {fitted.best_epoch} is none of the epochs")
        return self.explained(method)

    def explained(self, method: TrainableExplainer, classifier: Classifier | None = None) -> Tensor:
        return method.explain(classifier or self.classifier, self.batch, self.target).map.clone()


def _fresh(method: TrainableExplainer) -> TrainableExplainer:
    return type(method)()


def _check_goes_on(fitter: _Fitter, method: TrainableExplainer, state: Path, maps: Tensor) -> None:
    """A fit that is stopped after its first epoch and called again ends as an undisturbed one does."""
    with unchanged(fitter.classifier, fitter.batch, fitter.target, "a fit() that was stopped"):
        try:
            fitter.maps(method, state, seed=2, stop=True)
        except _Stop:
            resumed = fitter.maps(_fresh(method), state, seed=3)
            require(
                close(maps, resumed), "a fit that was stopped and called again gave other maps than an undisturbed one"
            )


def _check_other_weights(method: TrainableExplainer, fitter: _Fitter, maps: Tensor) -> None:
    """Metrics that randomise parameters ask about copies of the classifier."""
    twin = copy.deepcopy(fitter.classifier)
    require(close(maps, fitter.explained(method, twin)), "a copy of the classifier is explained in another way")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(-1)
    found = fitter.explained(method, twin)
    require(found.shape == maps.shape, "a copy of the classifier with other weights is not explained")


def _check_files(method: TrainableExplainer, fitter: _Fitter, root: Path, maps: Tensor) -> None:
    folder, second = root / "saved", root / "saved again"
    folder.mkdir()
    method.save(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    require(files, "save() wrote no file")
    with unchanged(fitter.classifier, fitter.batch, fitter.target, "load()"):
        method.load(folder, fitter.classifier)
    loaded = fitter.explained(method)
    gap = (loaded - maps).abs().flatten(1).mean(dim=1)
    require((gap <= SAVED_TOLERANCE * maps.abs().flatten(1).mean(dim=1)).all(), "saved and loaded, it gives other maps")
    second.mkdir()
    method.save(second)
    other = _fresh(method)
    other.load(second, fitter.classifier)
    require(close(loaded, fitter.explained(other)), "loaded, saved and loaded in a new instance, it gives other maps")
    for path in files:
        _check_damage(method, fitter, folder, path.relative_to(folder))


def _check_damage(method: TrainableExplainer, fitter: _Fitter, folder: Path, name: Path) -> None:
    """load() of copies of a folder in which one file is damaged or missing."""
    whole, trap = (folder / name).read_bytes(), folder.parent / "sprung"
    damages = {
        "is cut to half": whole[: len(whole) // 2],
        "is empty": b"",
        "is a pickle": pickle.dumps(_Trap(trap)),
        "is missing": None,
    }
    for damage, content in damages.items():
        # Never in place: weights may be mapped from the file that they were loaded from.
        with tempfile.TemporaryDirectory() as made:
            copied = Path(shutil.copytree(folder, Path(made) / "damaged"))
            (copied / name).unlink()
            if content is not None:
                (copied / name).write_bytes(content)
            raised = "nothing"
            try:
                _fresh(method).load(copied, fitter.classifier)
            except CheckpointError:
                raised = ""
            except Exception as error:
                raised = f"{type(error).__name__}: {error}"
        require(not trap.exists(), f"load() unpickles {name}, which may run anybody's code")
        require(not raised, f"load() of a folder whose {name} {damage} raised {raised}, expected CheckpointError")
