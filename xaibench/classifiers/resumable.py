"""Trainings that survive a kill: the loop over epochs, what it keeps between them, and whose state a folder holds."""

from __future__ import annotations

import abc
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from xaibench.classifiers.schedule import warm_up_then_cosine
from xaibench.errors import CheckpointError
from xaibench.storage.atomic import replacing, write_atomically
from xaibench.storage.provenance import plain

UNFINISHED = "unfinished"  # the folder of the state, beside the weights to come
STATE = "state.pt"
IDENTITY = "identity.json"
LARGEST_GRADIENT = 5.0

Record = TypeVar("Record")


@dataclass(frozen=True)
class Best:
    """The weights of the best epoch so far.

    Attributes:
        score: what epochs are compared by, first number first; a higher one is better.
        epoch: from 1; 0 before any.
        weights: state dict.
    """

    score: tuple[float, ...] = ()
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class ResumableTraining(abc.ABC, Generic[Record]):
    """A training that goes on where a killed process stopped; subclasses say what one epoch does.

    Every random draw of an epoch depends on the seed and the epoch alone. So on one CPU and number of threads
    an interrupted training ends with the same weights as an undisturbed one.

    Args:
        network: what is trained, on its device.
        optimizer: of its parameters.
        record: dataclass of plain values, one of which `run_epoch` returns.
        epochs: how many there are at most.
        steps: of the optimiser, in all epochs together.
        warm_up: steps in which the learning rate rises.
        seed: of every random draw.
        keep_every: after how many epochs the state is written.

    Attributes:
        finished: the records of all finished epochs.
        best: the weights to take in the end.
        seconds: of the epochs, in all processes that took part.
        kept: modules by the name that they have in the state; a subclass adds what else it changes.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        record: type[Record],
        *,
        epochs: int,
        steps: int,
        warm_up: int,
        seed: int,
        keep_every: int = 1,
    ) -> None:
        self.network, self.optimizer, self.record = network, optimizer, record
        self.epochs, self.seed, self.keep_every = epochs, seed, keep_every
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warm_up_then_cosine(step, warm_up, steps)
        )
        self.finished: list[Record] = []
        self.best = Best()
        self.seconds = 0.0
        self.kept: dict[str, nn.Module] = {"network": network}

    @abc.abstractmethod
    def run_epoch(self, generator: torch.Generator) -> Record:
        """Train for one epoch, offer its weights to `keep_best`, and say what came out.

        Args:
            generator: of the epoch's draws, on the CPU; torch's global generators are seeded likewise.
        """

    @property
    def epoch(self) -> int:
        """The number of finished epochs, and so the number, from 0, of the one that runs."""
        return len(self.finished)

    @property
    def over(self) -> bool:
        """Whether no epoch is left to run."""
        return self.epoch >= self.epochs

    def run(self, folder: Path, report: Callable[[Record], None]) -> None:
        """Run all epochs that are left.

        Args:
            folder: an existing one for the state (`claim` it first).
            report: called after every epoch, when its state has been written.

        Raises:
            CheckpointError: the state that an earlier process left is damaged.
        """
        path = folder / STATE
        if path.is_file():
            self._restore(path)
        while not self.over:
            started, seed = time.perf_counter(), self.seed * 100_003 + self.epoch
            torch.manual_seed(seed)
            record = self.run_epoch(torch.Generator().manual_seed(seed))
            self.seconds += time.perf_counter() - started
            self.finished.append(record)
            if self.epoch % self.keep_every == 0:
                self._keep(path)
            report(record)

    def step(self, loss: Tensor) -> None:
        """Take one step of the optimiser down the gradient of a loss, which is cut to a norm of 5."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.scheduler.step()

    def keep_best(self, score: tuple[float, ...], module: nn.Module) -> None:
        """Keep a copy of a module's weights if the running epoch has the best score so far."""
        if score > self.best.score:
            weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
            self.best = Best(score, self.epoch + 1, weights)

    def _keep(self, path: Path) -> None:
        """Write all that the epochs to come depend on, whole or not at all."""
        state = {
            "modules": {name: module.state_dict() for name, module in self.kept.items()},
            "optimizer": self.optimizer.state_dict(),
            "step": self.scheduler.last_epoch,
            "finished": [vars(record) for record in self.finished],
            "best": vars(self.best),
            "seconds": self.seconds,
        }
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def _restore(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            for name, module in self.kept.items():
                module.load_state_dict(state["modules"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.last_epoch = state["step"]
            self.finished = [self.record(**record) for record in state["finished"]]
            self.best, self.seconds = Best(**state["best"]), state["seconds"]
        except Exception as error:
            # Without torch's own words, which advise to unpickle the file.
            raise CheckpointError(f"{path} is damaged; delete it to start over") from error


def claim(folder: Path, identity: dict[str, Any], task: str, option: str) -> None:
    """Make a folder for a training's state, or go on with one that holds the state of the same training.

    Args:
        folder: for the state alone.
        identity: what a training that goes on must share with the interrupted one; JSON.
        task: what the state is of, in a word, such as "fit".
        option: the command-line option that chooses another place.

    Raises:
        CheckpointError: it holds the state of another training, is damaged, or cannot be written.
    """
    path, wanted = folder / IDENTITY, plain(identity)
    if path.is_file():
        try:
            known = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged; delete {folder} to start over") from error
        if known == wanted:
            return
        # A training that was stopped before it kept anything has nothing to lose.
        if any(other != path for other in folder.iterdir()):
            keys = ", ".join(key for key in wanted if known.get(key) != wanted[key])
            raise CheckpointError(
                f"{folder} holds an unfinished {task} with other {keys}; delete it or choose another {option}"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(wanted, indent=2) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error.strerror}); choose another {option}") from error
