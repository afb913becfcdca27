"""`xaibench classifiers add`: add a classifier of your own, or a published checkpoint."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands.console import output, warnings


def add(
    name: Annotated[str, typer.Argument(help="Name of the classifier in other commands, such as my-focalnet.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="A function of yours that makes the model; or a folder that xaibench train, save_pretrained of "
            "transformers or SpeechBrain's recipes wrote; or a hub repository of these two.",
            metavar="PACKAGE.MODULE:FUNCTION|FOLDER|OWNER/NAME",
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="State dict for the model that the function makes: safetensors, or torch.save.", metavar="FILE"
        ),
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Of the sound that the model hears.", metavar="HZ", min=1)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="p = softmax(temperature x logits). Default: what the source says; 30, the scale of the cosines, for "
            "the recipes."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="File with the class names, one a line, in the order of the logits, if the source has none.",
            metavar="FILE",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a classifier that was added under this name.")
    ] = False,
) -> None:
    """Add a classifier under a name that every command knows, and that labels its results.

    A function of yours (package.module:function, without arguments) makes a torch module from waveforms (batch,
    samples) to logits, or what xaibench.wrap returns; docs/bring-your-model.md has examples. Or take an audio
    classifier of transformers with its feature extractor, or a checkpoint in the format of SpeechBrain's ESC-50 recipes
    (docs/classifiers.md). Files are checked and converted to safetensors, and no code in them is run.

    [bold]Examples[/bold]

    xaibench classifiers add mine --from my_models:make --weights mine.pt --labels classes.txt --sample-rate 32000

    xaibench classifiers add my-ast --from MIT/ast-finetuned-audioset-10-10-0.4593

    xaibench classifiers add focalnet-esc50 --from speechbrain/focalnet-base-esc50

    xaibench classifiers add mine --from results/focalnet/1234/save
    """
    from xaibench.classifiers import adding
    from xaibench.classifiers.checkpoint_format import Source

    command = shlex.join(["xaibench", *sys.argv[1:]])
    config = adding.AddClassifierConfig(
        name=name,
        source=Source(location=source, labels=labels, weights=weights, sample_rate=sample_rate),
        temperature=temperature,
        command=command,
    )
    added = adding.add(config, force)
    card = added.card
    if added.assumed_classes:
        text = "the source names no classes; those of ESC-50 are assumed, in the recipes' order (else give --labels)"
        warnings().print(text, style="yellow", markup=False, soft_wrap=True)
    output().print(
        f"added {name}: {added.family}, {len(card.classes)} classes, {card.parameters:,} parameters, from "
        f"{card.origin}",
        markup=False,
        soft_wrap=True,
    )
    output().print(f"weights and card: {added.folder}", markup=False, soft_wrap=True)
    data = f"--dataset {card.dataset or 'DATASET'} --data-dir FOLDER"
    output().print(
        f"next: xaibench classifiers check {name} {data}, and then xaibench run -c {name} -m saliency {data}",
        markup=False,
        soft_wrap=True,
    )
