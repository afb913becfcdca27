"""`xaibench explain`: explain sound files by figures and sounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output
from xaibench.errors import XaibenchError

if TYPE_CHECKING:
    from xaibench.scoring.one_clip import Illustrated


def explain(
    files: Annotated[list[Path], typer.Argument(help="Sound files: wav, flac, ogg or mp3.", metavar="FILE...")],
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help="Explainer, repeatable; [bold]NAME@CLASSIFIER[/bold] chooses a classifier for this one, "
            "[bold]NAME:setting=value,setting=value[/bold] changes its parameters.",
            metavar="NAME[:SETTINGS][@CLASSIFIER]",
        ),
    ],
    classifier: Annotated[
        str | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier of the methods that name none. Default: the first shipped one that all of them fit.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option(help="Dataset on which the shipped weights were trained.", metavar="NAME")
    ] = "esc10",
    area: Annotated[float, typer.Option(help="Share of bins that the mask keeps.", min=0.001, max=0.999)] = 0.10,
    seed: options.SeedOption = 0,
    long: options.LongOption = options.CUT,
    device: options.DeviceOption = "auto",
    explainers: options.ExplainersOption = options.EXPLAINERS,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the figure and the sounds. Default: explained/FILE, or explained for several files.",
            metavar="FOLDER",
        ),
    ] = None,
) -> None:
    """Explain sound files: draw spectrogram, map and mask, and write the kept and removed parts as wav.

    The wav files hold the sounds that are scored, as loud as they are; listening/ has copies of equal loudness,
    sounds.json what the classifier makes of each, and index.html plays them.

    A method whose map is a mask also gives the sound of this soft mask. Several files, or methods
    on several classifiers, are drawn side by side in one figure. With several files, each has a folder for its sounds.

    [bold]Examples[/bold]

    xaibench explain dog.wav --method gradcam --method saliency --classifier cnn-micro

    xaibench explain dog.wav rain.wav -m focalnet@focalnet-micro -m vit-attention@vit-micro
    """
    from xaibench.benchmark.data import one_file
    from xaibench.commands.pairs import AT, Pairing
    from xaibench.reports import clip_figure, style
    from xaibench.reports import sounds as report_of_sounds
    from xaibench.scoring import lengths
    from xaibench.scoring import protocol as protocols
    from xaibench.scoring.one_clip import illustrate
    from xaibench.sound.findings import sentences

    twice = {file.stem for file in files if [other.stem for other in files].count(file.stem) > 1}
    if twice:
        raise XaibenchError(f"several files are called {', '.join(sorted(twice))}; explain them one at a time")
    pairs = Pairing(dataset, explainers, options.open_device(device)).pairs(method, classifier)
    rules = protocols.default().with_choices(options.SILENCE, options.PREDICTED, long)
    sounds = [one_file(file) for file in files]
    options.say_odd_sound(sentences({str(file): findings for file, (_, findings) in zip(files, sounds, strict=True)}))
    seconds = [data.length(data.clips[0]) for data, _ in sounds]
    for loaded in {pair.loaded.label: pair.loaded for pair in pairs}.values():
        options.say_odd_sound(lengths.sentences(seconds, loaded, long))
    root = out or Path("explained") / (files[0].stem if len(files) == 1 else "")
    clips = []
    with notes().status("explaining"):
        for file, (data, _) in zip(files, sounds, strict=True):
            clips.append(illustrate(file.name, file.stem, data, rules, pairs, seed, area))
        root.mkdir(parents=True, exist_ok=True)
        if len(clips) == 1 and not any(AT in text for text in method):
            figure = clip_figure.rows(clips[0], area)
        else:
            figure = clip_figure.side_by_side(clips, area)
        written = style.save(figure, root / "explanation", shades=True)
    for file, clip in zip(files, clips, strict=True):
        written += report_of_sounds.write(clip, root if len(files) == 1 else root / file.stem)
    for clip in clips:
        _print(clip)
    for path in written:
        output().print(f"wrote {path}", markup=False, soft_wrap=True)


def _print(clip: Illustrated) -> None:
    for label in dict.fromkeys(panel.pair.loaded.label for panel in clip.panels):
        first = next(panel for panel in clip.panels if panel.pair.loaded.label == label)
        _say(f"{clip.name}: {label} says {first.predicted} (p = {first.p_full:.2f})")
    for panel in clip.panels:
        text = f"{panel.pair.name}: p(kept) {panel.top.p_kept:.3f}, p(removed) {panel.top.p_removed:.3f}"
        if panel.soft is not None:
            text += (
                f"; soft mask of area {panel.soft.area:.2f}: p(kept) {panel.soft.p_kept:.3f}, "
                f"p(removed) {panel.soft.p_removed:.3f}"
            )
        _say(text)
        if panel.text:
            _say(f"  {panel.text}")


def _say(text: str) -> None:
    output().print(text, markup=False, soft_wrap=True)
