"""Workers of a Ray cluster end with the bytes of one process, also when an actor or a machine is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.evaluating import config_of, open_folder, run
from xaibench.classifiers.loaded import LoadedClassifier, load
from xaibench.errors import XaibenchError
from xaibench.results.parts import PART_CLIPS
from xaibench.scoring.config import RunConfig
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.sound.synth import Synth

LONG = bool(os.environ.get("XAIBENCH_LONG"))
METHODS = ["energy", "random", "random-cells", "uniform"]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_worker_niceness", "0")  # beside the other tests they would get nothing
    found = pytest.importorskip("ray", reason="Ray is not installed (the extra xaibench[ray])")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found
    torch.set_num_threads(before)
    found.shutdown()


@pytest.fixture
def from_folder(weights: Path) -> LoadedClassifier:
    """A classifier that every machine can load."""
    return load(str(weights), "synth", torch.device("cpu"))[0]


def engine(**settings: Any) -> Any:
    from xaibench import registry

    return registry.load("engines", "ray")(**settings)


def actors() -> list[int]:
    """The process ids of Ray's actors that hold workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::Host" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def scores(path: Path) -> dict[str, bytes]:
    return {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*.parquet")}


def check(config: RunConfig, loaded: LoadedClassifier, path: Path, which: Any, lose: Any) -> None:
    """Compare a run of an engine, of which something is lost after the first part, with one of this process."""
    events: list[Event] = []

    def report(event: Event) -> None:
        if not events:
            lose()
        events.append(event)

    try:
        evaluate(config, loaded, open_folder(path / "ray", config), report, which)
    except XaibenchError as error:
        if "timed out during startup" not in str(error) or os.environ.get("CI"):
            raise
        pytest.skip("Ray waits half a minute for its own start, and this machine is too busy for that")
    parts = len(METHODS) * -(-len(config.clips) // PART_CLIPS)
    # A part that was written just before its worker was lost is found by the next one.
    assert Counter(event.kind for event in events).total() == parts, events
    assert {event.kind for event in events} <= {"scored", "found"}, events
    run(config, loaded, path / "one")
    assert scores(path / "ray") == scores(path / "one")


def test_an_actor_that_is_killed_costs_nothing(
    ray: Any, synth: Synth, from_folder: LoadedClassifier, tmp_path: Path
) -> None:
    def lose() -> None:
        for one in actors():
            os.kill(one, signal.SIGKILL)

    check(config_of(synth, METHODS, ["sparseness", "faithfulness"], 2), from_folder, tmp_path, engine(workers=1), lose)


@pytest.mark.skipif(not LONG, reason="three machines take a minute to start; XAIBENCH_LONG=1 starts them")
def test_one_of_three_machines_is_lost(ray: Any, synth: Synth, from_folder: LoadedClassifier, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        config = config_of(synth, METHODS, ["sparseness", "faithfulness"], PART_CLIPS * 2)
        which = engine(address=cluster.address)
        check(config, from_folder, tmp_path, which, lambda: cluster.remove_node(nodes[0], allow_graceful=False))
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_what_ray_does_not_know_is_refused_before_it_starts(
    ray: Any, synth: Synth, from_folder: LoadedClassifier, tmp_path: Path
) -> None:
    with pytest.raises(XaibenchError, match="--resource num_gpus=many: Ray takes a number"):
        run(config_of(synth, METHODS), from_folder, tmp_path, engine(resources={"num_gpus": "many"}))
    assert not ray.is_initialized()


def test_an_actor_loads_no_torch() -> None:
    look = "import sys, xaibench.engines.ray_host; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
