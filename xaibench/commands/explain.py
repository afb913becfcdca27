"""`xaibench explain`: one sound file, seen and heard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import choices
from xaibench.commands.console import notes, output
from xaibench.errors import UnsupportedPairError, XaibenchError

if TYPE_CHECKING:
    from xaibench.classifiers.base import Classifier
    from xaibench.explainer import Explainer


def explain(
    file: Annotated[Path, typer.Argument(help="Sound file: wav, flac, ogg or mp3.", metavar="FILE")],
    method: Annotated[list[str], typer.Option("--method", "-m", help="Explainer, repeatable.", metavar="NAME")],
    classifier: Annotated[
        str | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier or checkpoint folder. Default: the first that fits the methods.",
            metavar="NAME|FOLDER",
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help="Whose classes: picks the shipped weights.", metavar="NAME")] = "esc10",
    area: Annotated[float, typer.Option(help="Share of bins that the mask keeps.", min=0.001, max=0.999)] = 0.10,
    seed: choices.SeedOption = 0,
    device: choices.DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for figure and sound. Default: explained/FILE.", metavar="FOLDER")
    ] = None,
) -> None:
    """Explain one sound: a figure with spectrogram, map and mask, and what is kept and removed as wav.

    [bold]Example[/bold]

    xaibench explain dog.wav --method gradcam --method saliency --classifier cnn-micro
    """
    import torch

    from xaibench import audio, figure, registry
    from xaibench.batch import Batch
    from xaibench.evidence import Clean, Evidence
    from xaibench.explaining import Explaining
    from xaibench.explanation import defects
    from xaibench.forwarder import Forwarder, automatic_batch_size

    methods = {name: registry.create("methods", name) for name in dict.fromkeys(method)}
    waveform = torch.from_numpy(audio.read_clip(file))[None]
    where = choices.open_device(device)
    model = _classifier(classifier, dataset, methods).to(where)
    forwarder = Forwarder(model, automatic_batch_size(where))
    batch = Batch(audio.spectrogram(waveform).to(where), (file.stem,), seed)
    clean = Clean(batch, forwarder.logits(batch.x), forwarder.logits(torch.zeros_like(batch.x))[0])
    predicted = model.classes[int(clean.target[0])].replace("_", " ")

    folder = out or Path("explained") / file.stem
    folder.mkdir(parents=True, exist_ok=True)
    panels, written = [], [folder / "explanation.png", folder / "explanation.pdf"]
    sounds = {folder / "original.wav": waveform[0]}
    with notes().status("explaining"):
        for name, explainer in methods.items():
            explaining = Explaining(explainer, forwarder)
            try:
                explanation = explaining.explain(batch, clean.target)
            except XaibenchError:
                raise
            except Exception as error:  # a stranger's plugin may raise anything
                raise XaibenchError(f"{name} failed: {type(error).__name__}: {error}") from error
            broken = defects(explanation.map)[0]
            if broken is not None:
                raise XaibenchError(f"{name} explains nothing here: {broken}")
            evidence = Evidence(clean, explanation.map, explaining)
            mask = evidence.ranking.top(area)
            panels.append(
                figure.Panel(
                    explainer.title,
                    evidence.importance[0].cpu().numpy(),
                    mask[0].cpu().numpy(),
                    float(evidence.p_kept(area)[0]),
                    float(evidence.p_removed(area)[0]),
                )
            )
            for part, part_mask in (("kept", mask), ("removed", ~mask)):
                sounds[folder / f"{name}-{part}.wav"] = audio.masked_audio(waveform, part_mask.cpu().float())[0]
        # A part can be louder than the whole; one gain for all, so that none is clipped and parts still add up.
        peak = max(1.0, *(float(sound.abs().max()) for sound in sounds.values()))
        for path, sound in sounds.items():
            audio.write_wav(path, (sound / peak).numpy())
        verdict = f"{model.name} says {predicted}"
        p_full = float(clean.probabilities[0].max())
        # A dollar in a file's name would begin mathematics.
        heading = f"{file.name}: {verdict}".replace("$", r"\$") + f" ($p_c$ = {p_full:.2f})"
        for path in written:
            figure.draw(path, batch.x[0].cpu().numpy(), panels, heading, area)
    output().print(f"{file.name}: {verdict} (p = {p_full:.2f})", markup=False, soft_wrap=True)
    for name, panel in zip(methods, panels, strict=True):
        output().print(
            f"{name}: p(kept) {panel.p_kept:.3f}, p(removed) {panel.p_removed:.3f}", markup=False, soft_wrap=True
        )
    for path in [*written, *sounds]:
        output().print(f"wrote {path}", markup=False, soft_wrap=True)


def _classifier(name: str | None, dataset: str, methods: dict[str, Explainer]) -> Classifier:
    """The named classifier, or the first shipped one that fits every method."""
    from xaibench.classifiers import checkpoint

    names = [name] if name else [shipped for data, shipped in checkpoint.shipped() if data == dataset]
    reasons = []
    for candidate in names:
        model, _ = checkpoint.resolve(candidate, dataset)
        refused = [f"{m} {r}" for m, e in methods.items() if (r := e.refusal(model, has_evidence=False)) is not None]
        if not refused:
            return model
        reasons += refused
    if not names:
        raise XaibenchError(f"no weights are shipped for {dataset}; give --classifier a checkpoint folder")
    raise UnsupportedPairError(f"no classifier fits: {'; '.join(dict.fromkeys(reasons))}")
