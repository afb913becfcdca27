"""`xaibench classifiers add`: add a published checkpoint, or one of your own from the same recipes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import notes, output


def add(
    name: Annotated[str, typer.Argument(help="Name of the classifier in other commands, such as my-focalnet.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Folder with embedding_model.ckpt and classifier.ckpt, or hub repository that has them.",
            metavar="FOLDER|OWNER/NAME",
        ),
    ],
    temperature: Annotated[float, typer.Option(help="Scale of the cosines at which the head was trained.")] = 30.0,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="File with the class names in training order, if the source has no labels.txt.", metavar="FILE"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a classifier that was added under this name.")
    ] = False,
) -> None:
    """Add a checkpoint in the format of SpeechBrain's ESC-50 recipes, under a name that every command knows.

    The files are checked and converted to safetensors; no code in them is run. docs/classifiers.md
    describes the files.

    [bold]Examples[/bold]

    xaibench classifiers add focalnet-esc50 --from speechbrain/focalnet-base-esc50

    xaibench classifiers add mine --from results/focalnet/1234/save
    """
    from xaibench.classifiers import adding

    command = shlex.join(["xaibench", *sys.argv[1:]])
    config = adding.AddClassifierConfig(
        name=name, source=source, temperature=temperature, labels=labels, command=command
    )
    added = adding.add(config, force)
    card = added.card
    if added.assumed_classes:
        text = "the source names no classes; those of ESC-50 are assumed, in the recipes' order (else give --labels)"
        notes().print(text, style="yellow", markup=False, soft_wrap=True)
    output().print(
        f"added {name}: {card.geometry['family']}, {len(card.classes)} classes, {card.parameters:,} parameters, from "
        f"{card.origin}",
        markup=False,
        soft_wrap=True,
    )
    output().print(f"weights and card: {added.folder}", markup=False, soft_wrap=True)
    dataset = f"--dataset {card.dataset}" if card.dataset else "--dataset DATASET"
    output().print(
        f"next: xaibench run -c {name} -m saliency {dataset} --data-dir FOLDER", markup=False, soft_wrap=True
    )
