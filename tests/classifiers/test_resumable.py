"""The loop over epochs ends the same however often it was stopped, and a folder belongs to one training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from xaibench.classifiers.resumable import Best, ResumableTraining, claim
from xaibench.errors import CheckpointError

EPOCHS = 5


@dataclass(frozen=True)
class Seen:
    """What an epoch reports."""

    number: int
    loss: float


class Line(ResumableTraining[Seen]):
    """A line through noise, with dropout; a second module counts the steps."""

    network: nn.Sequential

    def __init__(self, keep_every: int = 1, scores: tuple[float, ...] = (1.0, 3.0, 2.0, 3.0, 0.0)) -> None:
        network = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1))
        nn.init.ones_(network[1].weight)
        nn.init.zeros_(network[1].bias)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        super().__init__(
            network, optimizer, Seen, epochs=EPOCHS, steps=2 * EPOCHS, warm_up=2, seed=3, keep_every=keep_every
        )
        self.scores = scores
        self.steps = self.kept["steps"] = nn.BatchNorm1d(1)

    def run_epoch(self, generator: torch.Generator) -> Seen:
        total = 0.0
        for _ in range(2):
            loss = self.network(torch.randn(8, 4, generator=generator)).square().mean()
            self.step(loss)
            total += float(loss.detach())
            self.steps(torch.zeros(2, 1))  # counts the batches that it has seen
        self.keep_best((self.scores[self.epoch],), self.network)
        return Seen(self.epoch + 1, total)

    @property
    def weights(self) -> list[float]:
        return self.network[1].weight.flatten().tolist()


class Stopped(Exception):
    """In place of a kill."""


def stop_after(number: int) -> Callable[[Seen], None]:
    def report(seen: Seen) -> None:
        if seen.number == number:
            raise Stopped

    return report


def ignore(seen: Seen) -> None:
    """Report to nobody."""


@pytest.mark.parametrize(("keep_every", "stop", "left"), [(1, 1, [2, 3, 4, 5]), (1, 4, [5]), (2, 3, [3, 4, 5])])
def test_a_stopped_training_ends_as_an_undisturbed_one(
    tmp_path: Path, keep_every: int, stop: int, left: list[int]
) -> None:
    whole = Line(keep_every)
    (tmp_path / "whole").mkdir()
    whole.run(tmp_path / "whole", ignore)
    with pytest.raises(Stopped):
        Line(keep_every).run(tmp_path, stop_after(stop))
    torch.rand(5)  # the state of others must not matter
    resumed, numbers = Line(keep_every), []
    resumed.run(tmp_path, lambda seen: numbers.append(seen.number))
    assert numbers == left
    assert resumed.weights == whole.weights
    assert resumed.finished == whole.finished
    assert (resumed.best.epoch, resumed.best.score) == (whole.best.epoch, whole.best.score)
    assert torch.equal(resumed.best.weights["1.weight"], whole.best.weights["1.weight"])
    assert int(resumed.steps.num_batches_tracked) == 2 * EPOCHS
    assert resumed.scheduler.last_epoch == 2 * EPOCHS
    assert resumed.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


def test_the_first_of_the_best_epochs_is_kept(tmp_path: Path) -> None:
    line = Line()
    seen: list[list[float]] = []
    line.run(tmp_path, lambda _: seen.append(line.weights))
    assert (line.best.epoch, line.best.score) == (2, (3.0,))
    assert line.best.weights["1.weight"].flatten().tolist() == seen[1]
    assert Best().epoch == 0


def test_seconds_are_those_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("xaibench.classifiers.resumable.time.perf_counter", lambda: float(next(ticks)))
    with pytest.raises(Stopped):
        Line().run(tmp_path, stop_after(2))
    resumed = Line()
    resumed.run(tmp_path, ignore)
    assert resumed.seconds == EPOCHS  # a tick each


def test_a_folder_is_claimed_by_one_training(tmp_path: Path) -> None:
    folder, identity = tmp_path / "made" / "here", {"seed": 0, "folds": (1, 2)}
    claim(folder, identity, "fit", "--out")
    claim(folder, identity, "fit", "--out")
    claim(folder, identity | {"seed": 1}, "fit", "--out")  # nothing was kept yet
    assert json.loads((folder / "identity.json").read_text()) == {"seed": 1, "folds": [1, 2]}
    (folder / "state.pt").write_bytes(b"")
    claim(folder, identity | {"seed": 1}, "fit", "--out")
    words = f"{folder} holds an unfinished fit with other seed, folds; delete it or choose another --out"
    with pytest.raises(CheckpointError, match=f"^{words}$"):
        claim(folder, {"seed": 2, "folds": (1, 3)}, "fit", "--out")


def test_a_folder_that_cannot_be_claimed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/state cannot be written \(.*\); choose another --out$"):
        claim(tmp_path / "file" / "state", {}, "training", "--out")
    (tmp_path / "identity.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"identity\.json is damaged; delete .* to start over$"):
        claim(tmp_path, {}, "training", "--out")
