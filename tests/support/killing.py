"""Kill `run`, `fit` and `train` with SIGKILL, let the same call go on, and compare with an undisturbed one.

    python -m tests.support.killing run --every 0 --at-random 100       # 100 kills at random moments
    python -m tests.support.killing fit                                 # at every point where something is written
    python -m tests.support.killing fit train --every 3 --at-random 5   # at every third of them, and 5 at random

One process imports everything once and forks a child for every call, so that a hundred kills take minutes. Points of
writing are the audit events of Python that change files: opened for writing, renamed, removed, made.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from tests.support import small_folder
from tests.support.evaluating import open_folder
from xaibench import registry
from xaibench.classifiers import checkpoint, training
from xaibench.classifiers.base import Recipe
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import MelResize
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.explaining import fitting
from xaibench.scoring import config as scoring_config
from xaibench.scoring import evaluate as engine
from xaibench.scoring.config import RunConfig
from xaibench.sound.esc50 import Esc50
from xaibench.storage.user_folders import CACHE_VARIABLE

JOBS = ("run", "fit", "train")
Job = Callable[[Path], None]
# Differ from run to run: how long it took, and how much memory.
_VARY = {"seconds", "explain_seconds", "score_seconds", "peak_memory_bytes", "training_seconds"}


def small(classes: tuple[str, ...]) -> CnnClassifier:
    """A classifier whose epoch takes milliseconds."""
    torch.manual_seed(0)
    return CnnClassifier("toy", classes, MelResize((32, 32)), (8, 16))


def jobs(dataset: Esc50) -> dict[str, Job]:
    """What is killed: each writes into the folder that it is given, or goes on with what is there."""
    loaded = LoadedClassifier("toy", checkpoint.freeze(small(dataset.classes)), "0" * 64)

    def run(folder: Path) -> None:
        config = RunConfig(
            dataset=dataset,
            clips=dataset.in_folds([5]),
            methods={name: registry.create("methods", name) for name in ("energy", "random")},
            metrics={name: registry.create("metrics", name) for name in ("sparseness", "faithfulness")},
            seed=0,
            batch_size=16,
        )
        engine.evaluate(config, loaded, open_folder(folder / "run", config), lambda _: None)

    def fit(folder: Path) -> None:
        method = registry.create("methods", "lmac")
        settings = method.settings | {"epochs": 2, "batch_size": 4, "decoder_width": 4}
        config = fitting.FittingConfig(
            method="lmac", settings=settings, seed=0, precision=torch.float32, command="a test"
        )
        fitting.fit(method, loaded, dataset, config, folder / "fit", lambda _: None)

    def train(folder: Path) -> None:
        config = training.TrainingConfig(
            classifier="toy",
            dataset="esc50",
            seed=0,
            recipe=Recipe(epochs=2),
            precision=torch.float32,
            device=torch.device("cpu"),
            command="a test",
        )
        training.train(dataset, config, folder / "train", lambda _: None)

    return dict(zip(JOBS, (run, fit, train), strict=True))


class Child:
    """A forked process that does a job and, if wanted, kills itself at its n-th point of writing.

    Attributes:
        points: how many points of writing there were, once it has ended by itself.
    """

    def __init__(self, job: Job, folder: Path, kill_at: int | None = None) -> None:
        self._counts = folder.parent / f"{folder.name}.points"
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            counted = [0]

            def audit(event: str, arguments: tuple[Any, ...]) -> None:
                if _changes(event, arguments, str(folder)):
                    if counted[0] == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    counted[0] += 1

            sys.addaudithook(audit)
            job(folder)
            total = counted[0]
            self._counts.write_text(str(total))
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(code)

    def wait(self) -> int:
        """Exit code; the negative signal where it was killed."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def points(self) -> int:
        return int(self._counts.read_text())


def _changes(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writes = bool(mode and set(str(mode)) & set("wxa+")) or bool(
            flags is not None and flags & (os.O_WRONLY | os.O_RDWR)
        )
        return writes and str(path).startswith(folder)
    changing = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "shutil.rmtree")
    # Names may be relative to a folder's handle, as in shutil.rmtree: every removal counts then.
    return event in changing and (str(arguments[0]).startswith(folder) or not Path(str(arguments[0])).is_absolute())


def content(folder: Path) -> dict[str, Any]:
    """Every file, by its path: its bytes, or its JSON without what varies; not what a killed process left hidden."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        where = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in where.parts):
            found[str(where)] = _plain(json.loads(path.read_bytes())) if path.suffix == ".json" else path.read_bytes()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key not in _VARY}
    return value


def compare(whole: dict[str, Any], folder: Path, when: str) -> list[str]:
    """Say what differs from an undisturbed run."""
    other = content(folder)
    return [f"{when}: {name} differs" for name in sorted(whole | other) if whole.get(name) != other.get(name)]


def kill(job: Job, root: Path, at_random: int, every: int) -> tuple[int, list[str]]:
    """Kill a job at every n-th point of writing and so many times at random moments, and let it go on each time.

    Returns:
        How often it was killed, and what then differed.
    """
    undisturbed = root / "undisturbed"
    undisturbed.mkdir()
    started = time.perf_counter()
    child = Child(job, undisturbed)
    if child.wait():
        return 0, ["the undisturbed call fails"]
    seconds, points, whole = time.perf_counter() - started, child.points, content(undisturbed)
    draw, wrong, kills = random.Random(0), [], 0
    moments = [draw.random() * seconds for _ in range(at_random)]
    for trial, where in enumerate([*(range(0, points, every) if every else ()), *moments]):
        folder = root / str(trial)
        folder.mkdir()
        victim = Child(job, folder, where if isinstance(where, int) else None)
        when = f"point {where} of {points}"
        if isinstance(where, float):
            when = f"after {where:.3f} s"
            time.sleep(where)
            os.kill(victim.pid, signal.SIGKILL)
        kills += victim.wait() == -signal.SIGKILL
        if Child(job, folder).wait():
            wrong.append(f"{when}: the same call does not go on")
        else:
            wrong += compare(whole, folder, when)
    return kills, wrong


def main(
    names: Annotated[list[str], typer.Argument(help="run, fit, train.")],
    at_random: Annotated[int, typer.Option(help="Kill so many times at random moments.", min=0)] = 0,
    every: Annotated[int, typer.Option(help="Kill at every n-th point of writing; 0: at none.", min=0)] = 1,
) -> None:
    """Print what was found; exit code 1 if anything differed."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    scoring_config.PART_CLIPS = 1  # two parts for each method
    training.KEEP_EVERY = 1
    checkpoint.build = lambda _, classes: small(tuple(classes))  # type: ignore[assignment]
    failed = False
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        os.environ[CACHE_VARIABLE] = str(root / "cache")
        known = jobs(Esc50(small_folder.write(root / "sound")))
        for name in names:
            warm = root / name / "warm"
            warm.mkdir(parents=True)
            known[name](warm)  # imports what is imported late
            kills, wrong = kill(known[name], root / name, at_random, every)
            print(f"{name}: {kills} kills, {len(wrong)} differences")
            print("\n".join(wrong))
            failed = failed or bool(wrong) or not kills
    raise typer.Exit(failed)


if __name__ == "__main__":
    typer.run(main)
