"""How runs and comparisons grow: with more clips, with more scores, with more processes.

    python benchmarks/scale.py clips                                         # 250 and 1,000 clips
    python benchmarks/scale.py clips --count 500 --count 20000 --count 40000  # an hour on one core, some GB on the disk
    python benchmarks/scale.py rows                                          # 100 thousand and a million scores
    python benchmarks/scale.py rows --count 10000000                         # some minutes more
    python benchmarks/scale.py workers                                       # 1, 2 and 4, and as many on Ray

Each prints a Markdown table. Every measurement is a command of xaibench in processes of its own; its peak is the
largest sum of what they held at one time. It is read from /proc, so this needs Linux. Set TMPDIR to choose the disk.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer
from _processes import measured, xaibench

from xaibench.results.parts import EQUAL_AREA, PART_CLIPS, MethodFacts, MetricFacts, PartInfo
from xaibench.results.store import Manifest, RunFolder
from xaibench.storage.user_folders import CACHE_VARIABLE, DATA_VARIABLE

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

RATE = 8_000
SHORTEST, LONGEST = 0.5, 30.0
CLASSES = ("low", "middle", "high", "noise")
MODULE = "tiny_net"
CODE = f"""
import torch
import xaibench as xb


def make():
    torch.manual_seed(0)
    layers = torch.nn.Conv1d(1, 8, 64, stride=32), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten()
    net = torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), *layers, torch.nn.Linear(8, {len(CLASSES)}))
    return xb.wrap(net, classes={CLASSES}, sample_rate={RATE}, samples={RATE})
"""
CLASSIFIERS, METHODS = 3, 12
# A part of a default run has about 450 scores: six areas of some metrics, and others without an area.
LINES = [(f"metric{i}", area) for i in range(4) for area in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)]
LINES += [(f"metric{i}", None) for i in range(4, 8)]
EACH = CLASSIFIERS * METHODS * len(LINES)  # scores of a clip
CHEAP = ("saliency", "input-x-gradient", "gradcam", "layercam", "gradcam-plus-plus", "guided-backprop", "deeplift")
CHEAP += ("lrp", "random", "random-cells", "energy", "uniform")
SCORED = ("faithfulness", "fidelity_in", "average_drop")


@app.command()
def clips(
    count: Annotated[list[int] | None, typer.Option(help="Clips; repeatable. Default: 250 and 1000.", min=1)] = None,
) -> None:
    """Does a run need more memory with more clips?

    The clips are tones in noise of 0.5 to 30 s, a file and a recording each, and the classifier is a network of one
    small layer that hears 1 s at 8 kHz: nothing but xaibench itself takes time or memory. Each run is `xaibench run -m
    random --no-controls --metric faithfulness` with empty caches, its comparison at the end included.
    """
    counts = count or [250, 1_000]
    print("| clips | s | ms a clip | CPU ms a clip | peak, MB | ratio |\n| --: | --: | --: | --: | --: | --: |")
    first = None
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        sounds = write_sounds(home / "sounds", max(counts))
        (home / f"{MODULE}.py").write_text(CODE)
        environment = _environment(home)
        add = xaibench("classifiers", "add", "tiny", "--from", f"{MODULE}:make")
        subprocess.run(add, cwd=home, env=environment, check=True, capture_output=True)
        for number in counts:
            folder = linked(sounds[:number], home / f"first-{number}")
            environment[CACHE_VARIABLE] = str(home / f"cache-{number}")
            took = measured(run_of(folder), home, environment)
            first = first or took.peak
            each = f"{1000 * took.seconds / number:.1f} | {1000 * took.busy / number:.1f}"
            size = f"{took.peak / 1e6:.0f} | {took.peak / first:.2f}"
            print(f"| {number} | {took.seconds:.0f} | {each} | {size} |", flush=True)


@app.command()
def rows(
    count: Annotated[
        list[int] | None, typer.Option(help="Scores; repeatable. Default: 100000 and 1000000.", min=1)
    ] = None,
) -> None:
    """How long does a comparison of many scores take, and how much memory?

    The scores are made up: three classifiers, twelve methods, 28 scores a clip of each, a recording for each clip,
    written as a run is.
    """
    print("| scores | clips | parts | command | s | peak, MB |\n| --: | --: | --: | :-- | --: | --: |")
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        environment = _environment(home)
        for number in count or [100_000, 1_000_000]:
            run = home / f"run-{number}"
            made = write_scores(run, -(-number // EACH))
            parts = made // PART_CLIPS * CLASSIFIERS * METHODS
            for command in (("compare", run, "--out", home / "comparison.csv"), ("verify", run)):
                seconds, _, peak = measured(xaibench(*command), home, environment)
                about = f"| {made * EACH} | {made} | {parts} | `{command[0]}` "
                print(f"{about}| {seconds:.0f} | {peak / 1e6:.0f} |", flush=True)


@app.command()
def workers(
    count: Annotated[list[int] | None, typer.Option(help="Processes; repeatable. Default: 1, 2, 4.", min=1)] = None,
    engine: Annotated[list[str] | None, typer.Option(help="Repeatable. Default: local and ray.")] = None,
    limit: Annotated[int, typer.Option(help="Clips.", min=1)] = 80,
    metric: Annotated[list[str] | None, typer.Option(help=f"Repeatable. Default: {', '.join(SCORED)}.")] = None,
) -> None:
    """How much faster are several processes of one thread each than one of them?

    Twelve methods on cnn-micro and the embedded set, with empty caches; whole commands, their start and the
    comparison at the end included. Ratios are to the first line.
    """
    print("| engine | workers | s | ratio | peak, MB |\n| :-- | --: | --: | --: | --: |")
    first = None
    methods = [word for name in CHEAP for word in ("-m", name)]
    metrics = [word for name in metric or SCORED for word in ("--metric", name)]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for number in count or [1, 2, 4]:
            for name in engine or ["local", "ray"]:
                place = home / f"{name}-{number}"
                place.mkdir()
                how = ("--engine", name, "--workers", number, "--threads", 1, "--limit", limit, "--device", "cpu")
                command = xaibench("run", *methods, *metrics, "-c", "cnn-micro", *how, "--out", place / "run")
                seconds, _, peak = measured(command, place, _environment(place))
                first = first or seconds
                print(f"| {name} | {number} | {seconds:.0f} | {seconds / first:.2f} | {peak / 1e6:.0f} |", flush=True)


def _environment(home: Path) -> dict[str, str]:
    return os.environ | {DATA_VARIABLE: str(home / "data"), CACHE_VARIABLE: str(home / "cache")}


def write_sounds(folder: Path, count: int) -> list[Path]:
    """Write clips in a folder for each class, of lengths that are spread evenly on a logarithmic scale."""
    files = []
    for i in range(count):
        rng = np.random.default_rng(i)
        label = i % len(CLASSES)
        seconds = SHORTEST * (LONGEST / SHORTEST) ** rng.random()
        sound = rng.normal(0, 0.05, round(seconds * RATE)).astype(np.float32)
        sound += 0.2 * np.sin(np.arange(len(sound), dtype=np.float32) * (0.2 + 0.5 * label))
        file = folder / CLASSES[label] / f"{i:06d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, sound, RATE)
        files.append(file)
    return files


def linked(files: Sequence[Path], folder: Path) -> Path:
    """Link files into another folder of classes, which is returned."""
    for file in files:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(file, folder / file.parent.name / file.name)
    return folder


def run_of(folder: Path) -> list[str]:
    """Return the command that scores all clips of a folder."""
    data = ("--dataset", "folder", "--data-dir", folder, "--folds", "all", "--device", "cpu")
    return xaibench(
        "run",
        "-m",
        "random",
        "--no-controls",
        "--metric",
        "faithfulness",
        "-c",
        "tiny",
        *data,
        "--out",
        f"{folder}-run",
    )


def write_scores(folder: Path, count: int) -> int:
    """Write a run of made-up scores of so many clips, in whole parts; return the number of clips."""
    count = -(-count // PART_CLIPS) * PART_CLIPS
    manifest = Manifest(
        dataset="made-up", dataset_fingerprint="f", folds=(1,), limit=None, clips=count, seed=0, protocol="standard-2"
    )
    run, draw = RunFolder(folder, manifest), np.random.default_rng(0)
    metrics = {name: MetricFacts(**_METRIC) for name, _ in LINES}
    for index in range(count // PART_CLIPS):
        names = [f"clip{index * PART_CLIPS + i:06d}" for i in range(PART_CLIPS)]
        table = _part_of(names)
        sound = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
        for c, m in itertools.product(range(CLASSIFIERS), range(METHODS)):
            facts = MethodFacts(name=f"method{m:02d}", **_METHOD | {"control": m == 0})
            info = PartInfo(classifier_sha256=str(c), method=facts, metrics=metrics, **_PART | {"audio_sha256": sound})
            classifier = f"classifier{c}"
            own = {"classifier": classifier, "method": facts.name, "value": draw.random(len(table))}
            run.write(classifier, facts.name, index, table.assign(**own), info)
    return count


def _part_of(names: list[str]) -> pd.DataFrame:
    each = len(LINES)
    about = {"clip": np.repeat(names, each), "src_file": np.repeat([f"recording-{name}" for name in names], each)}
    about |= {"dataset": "made-up", "fold": 1, "label": "a", "predicted": "a", "correct": True, "mask": EQUAL_AREA}
    about |= {"protocol": "standard-2", "fill": "silence", "target": "predicted", "audible_share": 1.0, "p_fill": 0.1}
    about |= {"metric": [name for name, _ in LINES] * len(names), "area": [area for _, area in LINES] * len(names)}
    return pd.DataFrame(about).assign(reason=None)


_METRIC = {
    "title": "M",
    "family": "faithfulness",
    "higher_is_better": True,
    "low": 0.0,
    "high": 1.0,
    "needs_ground_truth": False,
}
_METHOD = {"title": "M", "polarity": "positive", "parameters": {}, "code": "", "native_shape": (1, 1)}
_PART = {
    "clips": PART_CLIPS, "weights_sha256": "w", "sample_rate": 16_000, "samples": 80_000, "audio_sha256": {},
    "ground_truth_sha256": {}, "code_sha256": "c", "shared_code_sha256": "s",
    "metrics_sha256": {name: "m" for name, _ in LINES}, "versions": {}, "device": "cpu", "batch_size": 16,
    "explain_seconds": 1.0, "score_seconds": 1.0, "forwards": 100, "peak_memory_bytes": 1,
}  # fmt: skip

if __name__ == "__main__":
    app()
