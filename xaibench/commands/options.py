"""Options that several commands share, and functions that turn their values into objects."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands.console import warnings
from xaibench.errors import XaibenchError

if TYPE_CHECKING:
    import torch

    from xaibench.scoring.metric import Metric
    from xaibench.sound.dataset import Dataset

ALL = "all"
EXPLAINERS = Path("explainers")  # fitting.ROOT, whose module imports torch
DEFAULT = "default"
# A registered classifier with its weights for the dataset, or an added one; shipped weights; a checkpoint folder.
CLASSIFIER = "NAME|DATASET/NAME|FOLDER"
STANDARD = "standard"  # scoring.protocol.DEFAULT, whose module imports torch
SILENCE = "silence"  # sound.fills.SILENCE, likewise
PREDICTED = "predicted"  # scoring.targets.PREDICTED, likewise
CUT = "cut"  # sound.audio.CUT, likewise

DatasetOption = Annotated[
    str, typer.Option("--dataset", help="Dataset; [bold]xaibench datasets[/bold] lists all.", metavar="NAME")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Folder or table of the dataset: in the layout of esc50 or urbansound8k, a folder for each class "
        "(folder), or a CSV file (csv). synth needs none.",
        metavar="FOLDER|FILE",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Names of columns of a CSV file, such as [bold]label=species,fold=split[/bold]; known are path, label, "
        "labels, fold, group, start, end and id.",
        metavar="NAME=COLUMN,...",
    ),
]
ClassMapOption = Annotated[
    Path | None,
    typer.Option(
        "--class-map",
        help="CSV file with the columns label and class: what the classifier calls the dataset's classes.",
        metavar="FILE",
    ),
]
EventsOption = Annotated[
    Path | None,
    typer.Option(
        "--events",
        help="When sounds are heard in the clips: a CSV file with the columns file, start, end (in s) and label, a "
        "JAMS file, or a folder with JAMS files or Audacity's label tracks, one for each annotated clip. Scored by "
        "event_auc and the like.",
        metavar="FILE|FOLDER",
    ),
]
CheckedFoldsOption = Annotated[
    str | None,
    typer.Option("--folds", help="Folds to hear clips of: 5, 4,5 or all. Default: all.", metavar="FOLDS"),
]
FoldsOption = Annotated[
    str | None,
    typer.Option("--folds", help="Folds to score: 5, 4,5 or all. Default: 5 of five, else the last.", metavar="FOLDS"),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Score a sample of N clips: of all classes, and of as many recordings as there can be. Default: all.",
        metavar="N",
        min=1,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.", min=0, max=2**31 - 1)]
MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Metric, repeatable; default for the cheap ones, all for every one; [bold]xaibench metrics[/bold] lists "
        "them.",
        metavar="ID",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="cpu, cuda, cuda:N, or auto: a GPU if there is one.", metavar="DEVICE")
]
ExplainersOption = Annotated[
    Path,
    typer.Option("--explainers", help="Folder with the weights that [bold]xaibench fit[/bold] made.", metavar="FOLDER"),
]

FillOption = Annotated[
    str,
    typer.Option(
        "--fill",
        help="What takes the place of removed bins: silence, mean (noise with the clip's mean spectrum) or noise "
        "(white); see docs/protocols.md.",
        metavar="NAME",
    ),
]
ControlsOption = Annotated[
    bool,
    typer.Option(
        "--controls/--no-controls",
        help="Score controls beside, too, to compare with: random and energy, unless a plugin has more.",
    ),
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        help="The class to explain: predicted, label (the clip's own), or labels (each one by itself, where clips have "
        "several).",
        metavar="NAME",
    ),
]
LongOption = Annotated[
    str,
    typer.Option(
        "--long",
        help="What is heard of a clip that is longer than a classifier's input: cut (its beginning), center (its "
        "middle) or windows (all of it, in windows that overlap by half).",
        metavar="NAME",
    ),
]
DeterministicOption = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="Make a GPU give the same digits every time, which is slower. A CPU does so anyway."
    ),
]


class Precision(enum.StrEnum):
    """Precision of matrix products. Weights, probabilities and scores stay float32 or better."""

    float32 = "float32"
    bfloat16 = "bfloat16"

    @property
    def dtype(self) -> torch.dtype:
        """The torch data type of the same name."""
        import torch

        return torch.bfloat16 if self is Precision.bfloat16 else torch.float32


def metrics(names: Sequence[str], families: Sequence[str], protocol: str = STANDARD) -> dict[str, Metric]:
    """Create the named metrics and those of the named families, or the default set if nothing is named.

    Args:
        protocol: name of the protocol to which the metrics must belong.

    Raises:
        RegistryError: a name is unknown.
        XaibenchError: a family is unknown, or a named metric belongs to another protocol.
    """
    import difflib

    from xaibench import registry

    if not names and not families:
        names = [DEFAULT]
    chosen = {name: registry.create("metrics", name) for name in names if name not in {ALL, DEFAULT}}
    for name, metric in chosen.items():
        if protocol not in metric.protocols:
            raise XaibenchError(
                f"metric '{name}' does not belong to the protocol {protocol}; "
                f"use --protocol {' or '.join(sorted(metric.protocols, reverse=True))}"
            )
    if families or {ALL, DEFAULT} & set(names):
        every, broken = registry.create_all("metrics")
        say_left_out(broken)
        every = {name: metric for name, metric in every.items() if protocol in metric.protocols}
        known = sorted({metric.family for metric in every.values()})
        for family in families:
            if family not in known:
                near = difflib.get_close_matches(family, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
                raise XaibenchError(f"unknown metric family '{family}'; {hint}")
        for name, metric in every.items():
            in_set = ALL in names or (DEFAULT in names and metric.in_default_set)
            if in_set or metric.family in families:
                chosen[name] = metric
    return dict(sorted(chosen.items()))


def say_left_out(broken: Mapping[str, str]) -> None:
    """Print which plugins could not be made, and why; the others go on without them."""
    for name, reason in broken.items():
        warn(f"left out: {name} ({reason})")


def warn(sentence: str) -> None:
    """Print a sentence of warning."""
    warnings().print(sentence, style="yellow", markup=False, soft_wrap=True)


def say_odd_sound(sentences: Sequence[str]) -> None:
    """Print what is odd about the sound of some clips, such as silence; they are used all the same."""
    for sentence in sentences:
        warn(f"sound: {sentence}")


def open_dataset(
    name: str,
    data_dir: Path | None,
    columns: str | None = None,
    class_map: Path | None = None,
    events: Path | None = None,
) -> Dataset:
    """Open a dataset by name, and read it from `data_dir` if it lives in a folder; `columns` is as typed.

    Raises:
        RegistryError: the name is unknown.
        DataError: the dataset needs a folder and none is given, or needs none and one is given.
    """
    from xaibench.benchmark.data import dataset
    from xaibench.sound.relabelled import read_class_map

    named: dict[str, str] = {}
    for part in (columns or "").split(",") if columns else ():
        what, mark, column = part.partition("=")
        if not mark or not what.strip() or not column.strip():
            raise XaibenchError(f"--columns {columns!r} is not of the form NAME=COLUMN,..., such as label=species")
        named[what.strip()] = column.strip()
    names = read_class_map(class_map) if class_map else None
    return dataset(name, data_dir, columns=named, class_map=names, events=events)


def folds_named(text: str, source: Dataset) -> tuple[int, ...]:
    """Read the folds of a dataset as typed.

    Raises:
        XaibenchError: it is no list of folds.
    """
    if text == ALL:
        return tuple(sorted({clip.fold for clip in source.clips}))
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise XaibenchError(f"--folds {text!r} is not a list of folds; write 5, 4,5 or all") from None


def warn_of_spanning_groups(source: Dataset) -> None:
    """Say if a recording is in several folds, before anything is learned on one of them."""
    from xaibench.sound.folds import spanning_groups

    sentence = spanning_groups(source.clips)
    if sentence:
        warn(sentence)


def open_device(name: str, deterministic: bool = False) -> torch.device:
    """Return the torch device of an option value.

    With `deterministic`, a GPU computes deterministically from now on.

    Raises:
        XaibenchError: this machine has no such device.
    """
    from xaibench.classifiers.determinism import make_deterministic
    from xaibench.classifiers.device import device_named

    device = device_named(name)
    if deterministic and device.type == "cuda":
        make_deterministic()
    return device
