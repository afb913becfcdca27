"""Jobs that claim parts from the run folder end with the bytes of one process; submitit's local executor runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.evaluating import config_of, run
from xaibench import registry
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.errors import XaibenchError
from xaibench.sound.synth import Synth

METHODS = ["energy", "random", "uniform"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    pytest.importorskip("submitit", reason="submitit is not installed (the extra xaibench[slurm])")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def from_folder(weights: Path) -> LoadedClassifier:
    """A classifier that every machine can load."""
    return load(str(weights), "synth", torch.device("cpu"))[0]


def engine(**settings: Any) -> Any:
    return registry.load("engines", "slurm")(**settings)


def scores(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*.parquet")}


def test_jobs_end_with_the_bytes_of_one_process(
    synth: Synth, from_folder: LoadedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(synth, METHODS, ["sparseness", "faithfulness"], 2)
    run(config, from_folder, tmp_path / "one")
    events = run(config, from_folder, tmp_path / "jobs", engine(workers=2, address="local"))
    assert Counter(event.kind for event in events) == {"scored": len(METHODS)}, events
    assert scores(tmp_path / "jobs") == scores(tmp_path / "one")


def test_what_submitit_does_not_know_is_refused_in_a_line(
    synth: Synth, from_folder: LoadedClassifier, loaded: LoadedClassifier, tmp_path: Path
) -> None:
    config = config_of(synth, METHODS)
    with pytest.raises(XaibenchError, match=r"--resource: Unknown argument 'partitoin' for executor 'slurm'"):
        run(config, from_folder, tmp_path, engine(address="local", resources={"partitoin": "gpu"}))
    with pytest.raises(XaibenchError, match='--resource: Parameter "timeout_min" expected type'):
        run(config, from_folder, tmp_path, engine(address="local", resources={"timeout_min": "long"}))
    with pytest.raises(XaibenchError, match=r"cannot be sent to other machines: .*leave out --engine"):
        run(config, loaded, tmp_path, engine(address="local"))
