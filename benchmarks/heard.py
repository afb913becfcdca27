"""What it costs to score sound: the same metrics of the same maps, heard and fed as pictures, in one run.

    python benchmarks/heard.py                                    # the micro classifiers, 16 clips of synth
    python benchmarks/heard.py --classifier focalnet-base --clips 4

The maps are the clips' own energy, so that nothing but scoring takes time. The metrics are the default set of the
protocol `spectrogram`. Weights are random: no time depends on them. Close other programs.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from engine import timed
from throughput import refuse_failure

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.commands import options
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.evaluate import LoadedClassifier, RunConfig, evaluate
from xaibench.scoring.protocol import SPECTROGRAM, STANDARD, Protocol
from xaibench.sound.dataset import TEST_FOLDS
from xaibench.sound.synth import Synth
from xaibench.storage.provenance import device_name

MICRO = ["cnn-micro", "focalnet-micro", "vit-micro"]


def main(
    classifier: Annotated[list[str] | None, typer.Option(help="Registered classifier, repeatable.")] = None,
    clips: Annotated[int, typer.Option(help="At most 80.", min=1, max=80)] = 16,
    repeats: Annotated[int, typer.Option(help="Measurements of each protocol, in turn.", min=1)] = 3,
    device: options.DeviceOption = "auto",
) -> None:
    """Print seconds and ratios as a Markdown table."""
    where = options.open_device(device)
    print(f"{clips} clips of synth; {device_name(where)}.\n")
    print("| classifier | spectrogram, s | standard, s | ratio |")
    print("| :-- | --: | --: | --: |")
    for name in classifier or MICRO:
        torch.manual_seed(0)
        model = checkpoint.freeze(checkpoint.build(name, Synth.classes)).to(where)
        loaded = LoadedClassifier(name, model, "")
        score(loaded, SPECTROGRAM, 1)  # the first passes of a process are slow
        score(loaded, STANDARD, 1)
        fed, heard = [], []
        for _ in range(repeats):
            fed.append(timed(lambda loaded=loaded: score(loaded, SPECTROGRAM, clips), where)[0])
            heard.append(timed(lambda loaded=loaded: score(loaded, STANDARD, clips), where)[0])
        before, after = statistics.median(fed), statistics.median(heard)
        print(f"| {name} | {before:.2f} | {after:.2f} | {after / before:.2f} |", flush=True)


def score(loaded: LoadedClassifier, protocol: Protocol, count: int) -> None:
    """Score maps that cost nothing, by the evaluation loop."""
    source = Synth()
    config = RunConfig(
        dataset=source,
        clips=source.in_folds(TEST_FOLDS)[:count],
        methods={"energy": registry.create("methods", "energy")},
        metrics=options.metrics([], [], SPECTROGRAM.name),
        seed=0,
        batch_size=16,
        protocol=protocol,
    )
    manifest = Manifest(
        dataset=source.name,
        dataset_fingerprint=source.fingerprint(),
        folds=TEST_FOLDS,
        limit=count,
        clips=count,
        seed=0,
        protocol=protocol.id,
    )
    with tempfile.TemporaryDirectory() as folder:
        evaluate(config, loaded, RunFolder(Path(folder), manifest), refuse_failure)


if __name__ == "__main__":
    typer.run(main)
