"""Machines that differ, a disk that is full, a file system that keeps no promise: refused in a line, or survived."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.evaluating import config_of, open_folder, run
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.errors import ResultsError, XaibenchError
from xaibench.results import parts, store
from xaibench.results.status import status
from xaibench.scoring.config import RunConfig
from xaibench.scoring.description import RunDescription, describe, few
from xaibench.scoring.messages import Job
from xaibench.scoring.part import Scoring
from xaibench.scoring.worker_process import _Session
from xaibench.sound.synth import Synth
from xaibench.storage import atomic


@pytest.fixture
def config(synth: Synth) -> RunConfig:
    return config_of(synth, ["energy", "uniform"], ["sparseness"], 2)


@pytest.fixture
def description(config: RunConfig, weights: Path, tmp_path: Path) -> RunDescription:
    """Of a run that other machines take part in."""
    loaded = load(str(weights), "synth", torch.device("cpu"))[0]
    found = describe(Scoring(config, loaded, open_folder(tmp_path, config)), few(config.clips))
    assert isinstance(found, RunDescription)
    return found


class Silent:
    """A connection on which nobody listens."""

    def send(self, what: Any) -> None:
        pass


def test_another_version_other_data_or_weights_are_refused_by_the_worker(description: RunDescription) -> None:
    description.make(lambda what: None)
    other = "0" * 64
    for changed, line in (
        ({"code_sha256": other, "version": "0.0.9"}, r"has other code of .*\(0\.\S+ there, 0\.0\.9 here\); install"),
        ({"sound": dict.fromkeys(description.sound, other)}, "has other sound in clips of synth; copy the data there"),
        ({"identity": other}, "holds another cnn-micro@"),
    ):
        with pytest.raises(XaibenchError, match=line):
            replace(description, **changed).make(lambda what: None)


def test_a_worker_without_the_plugin_says_so(description: RunDescription) -> None:
    session = _Session(description, Silent())  # type: ignore[arg-type]
    job = Job(index=0, method="odd", settings={}, soft=False, code_sha256="", metrics=("sparseness",))
    assert "unknown method 'odd'" in (reason := session.score(job).reason)
    assert reason.endswith("every machine needs the same packages)")


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_space(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(path: Path, data: bytes) -> None:
            if "uniform" in str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            atomic.write_atomically(path, data)

        patch.setattr(parts, "write_atomically", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(config, loaded, tmp_path)
    assert [event.kind for event in run(config, loaded, tmp_path)] == ["found", "scored"]


def test_a_rename_that_is_not_atomic_costs_a_part_and_no_score(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, loaded, tmp_path / "whole")
    for suffix in (".parquet", ".json"):
        with monkeypatch.context() as patch:

            def halfway(source: Path, target: Path, suffix: str = suffix) -> None:
                data = Path(source).read_bytes()
                if Path(target).suffix == suffix and "energy" in str(target):
                    Path(target).write_bytes(data[: len(data) // 2])
                    raise KeyboardInterrupt  # the process is killed meanwhile
                Path(target).write_bytes(data)
                Path(source).unlink()

            patch.setattr(atomic.os, "replace", halfway)
            with pytest.raises(KeyboardInterrupt):
                run(config, loaded, tmp_path / suffix)
        run(config, loaded, tmp_path / suffix)
        scores = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.parquet")]
        assert all((tmp_path / suffix / one).read_bytes() == (tmp_path / "whole" / one).read_bytes() for one in scores)


def test_a_file_system_without_locks_is_refused(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(self: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(store.FileLock, "acquire", acquire)
    with pytest.raises(ResultsError, match=r"lock cannot be locked \(.*flock\); .*choose another --out"):
        run(config, loaded, tmp_path)


def test_a_wrong_clock_removes_nothing_of_others_and_gives_no_negative_times(
    config: RunConfig, loaded: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config, loaded, tmp_path)
    writing = tmp_path / ".part-000.json.abc.tmp"
    writing.touch()
    left = tmp_path / ".part-001.json.abc.tmp"
    left.touch()
    os.utime(left, (time.time() - 7200,) * 2)
    for description in tmp_path.rglob("part-*.json"):
        os.utime(description, (time.time() + 7200,) * 2)
    assert (status(tmp_path).seconds_since_last or 0.0) == 0.0
    monkeypatch.setattr(time, "time", lambda: 4e9)
    open_folder(tmp_path, config)
    assert writing.exists() and not left.exists()
