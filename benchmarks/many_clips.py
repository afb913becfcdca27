"""How much memory a run takes with more clips: it streams them, so that thousands need hardly more than hundreds.

    python benchmarks/many_clips.py                             # 250 and 1,000 clips
    python benchmarks/many_clips.py --clips 500 --clips 20000   # 20 minutes on one core, some GB on the disk

The clips are tones in noise of 0.5 to 30 s, a file and a recording each, in a temporary folder, and the classifier is
a network of one small layer that hears 1 s at 8 kHz: nothing but xaibench itself takes time or memory. Each run is
`xaibench run -m random --no-controls --metric faithfulness` in processes of its own, with empty caches. The peak is the
largest sum of what they held at one time. It is read from /proc, so this needs Linux. Set TMPDIR to choose the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from xaibench.storage.user_folders import CACHE_VARIABLE, DATA_VARIABLE

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
POLL_SECONDS = 0.05


def main(
    clips: Annotated[list[int] | None, typer.Option(help="Repeatable. Default: 250 and 1000.", min=1)] = None,
) -> None:
    """Print seconds, peaks and their ratio to the first as a Markdown table."""
    counts = clips or [250, 1_000]
    print("| clips | s | ms a clip | peak, MB | ratio |")
    print("| --: | --: | --: | --: | --: |")
    first = None
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        sounds = write_sounds(home / "sounds", max(counts))
        (home / f"{MODULE}.py").write_text(CODE)
        environment = os.environ | {DATA_VARIABLE: str(home / "data"), CACHE_VARIABLE: str(home / "cache")}
        add = xaibench("classifiers", "add", "tiny", "--from", f"{MODULE}:make")
        subprocess.run(add, cwd=home, env=environment, check=True, capture_output=True)
        for count in counts:
            folder = linked(sounds[:count], home / f"first-{count}")
            environment[CACHE_VARIABLE] = str(home / f"cache-{count}")
            seconds, peak = measured(run_of(folder), home, environment)
            first = first or peak
            each = f"{1000 * seconds / count:.1f}"
            print(f"| {count} | {seconds:.0f} | {each} | {peak / 1e6:.0f} | {peak / first:.2f} |", flush=True)


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
    data = ("--dataset", "folder", "--data-dir", folder, "--folds", "all")
    run = ("run", "-m", "random", "--no-controls", "--metric", "faithfulness", "-c", "tiny")
    return xaibench(*run, *data, "--out", f"{folder}-run")


def xaibench(*arguments: object) -> list[str]:
    """Return a command of xaibench as a process of its own runs it."""
    return [
        sys.executable,
        "-m",
        "xaibench",
        *map(str, arguments),
        *(("--device", "cpu") if "run" in arguments else ()),
    ]


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[float, int]:
    """Run a command; return the seconds that it took, and the most bytes that it and its children held at one time."""
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        while process.poll() is None:
            # The mark of each process is reset now and then, by what measures the memory of an explanation.
            peak = max(peak, sum(map(held, family(process.pid))))
            time.sleep(POLL_SECONDS)
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return time.perf_counter() - started, peak


def family(process: int) -> Iterator[int]:
    """Yield a process, its children and theirs."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has ended meanwhile
            for child in children.read_text().split():
                yield from family(int(child))


def held(process: int) -> int:
    """Return the most bytes that a process held since its mark was reset."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


if __name__ == "__main__":
    typer.run(main)
