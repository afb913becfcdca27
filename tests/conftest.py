"""Fixtures of all tests: a cache of their own, and the real clips where there are any.

What takes a second to import, torch above all, is imported where a fixture uses it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import small_folder
from tests.support.command_line import Command, Done
from xaibench import cli
from xaibench.storage.user_folders import CACHE_VARIABLE, DATA_VARIABLE

if TYPE_CHECKING:
    from xaibench.classifiers.loaded import LoadedClassifier
    from xaibench.sound.synth import Synth

REPOSITORY = Path(__file__).resolve().parent.parent

# Two threads in all, also of the programs that tests start; read by torch and numpy when they are imported. A worker
# of xdist inherits what its controller has set here, and two times two threads on two cores wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = str(max(1, 2 // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))
else:
    os.environ.setdefault("OMP_NUM_THREADS", "2")


# Files of minutes come first, so that no process of the suite is left alone with one in the end; xdist keeps this order
# with --no-loadscope-reorder alone, else files of one long test come last.
LONGEST = (
    "tests/test_plugin_wheel.py",
    "tests/test_readme.py",
    "tests/test_benchmarks.py",
    "tests/test_kills.py",
    "tests/test_fuzz.py",
    "tests/engines/test_ray.py",
    "tests/scoring/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order of all others stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


COLLECTED = pytest.StashKey[tuple[int, list[str]]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember how many tests there are, and what collecting them has imported."""
    session.config.stash[COLLECTED] = len(session.items), sorted(sys.modules)


@pytest.fixture
def collected(pytestconfig: pytest.Config) -> tuple[int, list[str]]:
    """The number of tests of this session, and the modules that were imported before the first of them ran."""
    return pytestconfig.stash[COLLECTED]


@pytest.fixture(scope="session", autouse=True)
def _own_cache_and_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests never touch the user's cache and data."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get(CACHE_VARIABLE):
            patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setenv(DATA_VARIABLE, str(tmp_path_factory.mktemp("data")))
        yield


def _shared(name: str, variable: str, file: str, what: str) -> Path:
    """A folder that is no part of the repository; without it CI fails, and others skip what needs it."""
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)
    if not (folder / file).is_file():
        reason = f"{folder / file} is missing; set {variable} to {what}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason} (CI must not skip these tests)")
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def esc50_folder() -> Path:
    """The real clips: $XAIBENCH_ESC50, or shared/esc50 beside the repository."""
    return _shared("esc50", "XAIBENCH_ESC50", "meta/esc50.csv", "a folder in ESC-50's layout")


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """The original recipes' checkpoints and values: $XAIBENCH_REFERENCE, or shared/reference beside the repository."""
    return _shared("reference", "XAIBENCH_REFERENCE", "focalnet/amt.csv", "the folder of the reference values")


@pytest.fixture
def small_esc50(tmp_path: Path) -> Path:
    """Ten one-tone clips in ESC-50's layout."""
    return small_folder.write(tmp_path / "small")


@pytest.fixture(scope="session")
def synth() -> Synth:
    """The embedded clips, whose evidence is known."""
    from xaibench.sound.synth import Synth

    return Synth()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a CNN for synth: the shipped weights, as a stranger's."""
    from xaibench.classifiers import checkpoint

    classifier, card = checkpoint.resolve("cnn-micro", "synth")
    folder = tmp_path_factory.mktemp("weights") / "cnn"
    checkpoint.save(folder, classifier, card)
    return folder


@pytest.fixture(scope="session")
def trained(weights: Path) -> LoadedClassifier:
    """The shipped CNN under explanation: for tests of values, which `loaded` is too small for."""
    from xaibench.classifiers import checkpoint
    from xaibench.classifiers.loaded import LoadedClassifier

    classifier, card = checkpoint.load(weights)
    return LoadedClassifier("cnn", classifier, card.weights_sha256)


@pytest.fixture(scope="session")
def loaded() -> LoadedClassifier:
    """A small CNN under explanation, with which scoring is quick."""
    from tests.support.quick import quick_cnn

    return quick_cnn()


@pytest.fixture
def xaibench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run a command in an empty folder, through the program's own entry point.

    What scores is given --no-controls, unless --controls is asked for: most tests score one method, not three.
    """
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        if arguments[:1] in {("run",), ("score",)} and "--controls" not in arguments:
            arguments = (*arguments, "--no-controls")
        monkeypatch.setattr(sys, "argv", ["xaibench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return call
