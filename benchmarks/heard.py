"""What it costs to score sound: the same metrics of the same maps, heard and fed as pictures, in one run.

    python benchmarks/heard.py                                    # the micro classifiers, 16 clips of synth
    python benchmarks/heard.py --classifier focalnet-base --clips 4

The maps are the clips' own energy, so that nothing but scoring takes time. The metrics are the default set of the
protocol `spectrogram`. Weights are random: no time depends on them. Close other programs.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Annotated

import torch
import typer
from engine import timed
from throughput import score

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.commands import options
from xaibench.scoring.evaluate import LoadedClassifier, RunConfig
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
        fed, heard = [], []
        for protocol in (SPECTROGRAM, STANDARD):
            score(config_of(protocol, 1), loaded)  # the first passes of a process are slow
        for _ in range(repeats):
            for protocol, seconds in ((SPECTROGRAM, fed), (STANDARD, heard)):
                work = partial(score, config_of(protocol, clips), loaded)
                seconds.append(timed(work, where)[0])
        before, after = statistics.median(fed), statistics.median(heard)
        print(f"| {name} | {before:.2f} | {after:.2f} | {after / before:.2f} |", flush=True)


def config_of(protocol: Protocol, count: int) -> RunConfig:
    """Choose maps that cost nothing, and the metrics that both protocols have."""
    source = Synth()
    return RunConfig(
        dataset=source,
        clips=source.in_folds(TEST_FOLDS)[:count],
        methods={"energy": registry.create("methods", "energy")},
        metrics=options.metrics([], [], SPECTROGRAM.name),
        seed=0,
        batch_size=16,
        protocol=protocol,
    )


if __name__ == "__main__":
    typer.run(main)
