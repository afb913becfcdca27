"""From legacy-speechbrain to the standard protocol, one difference at a time, on the reference checkpoints.

    python benchmarks/legacy_differences.py ESC-50-master REFERENCE                # minutes; tables as Markdown
    python benchmarks/legacy_differences.py ESC-50-master REFERENCE --only vit     # one of focalnet, vit, piq

REFERENCE is a folder of checkpoints in the format of SpeechBrain's ESC-50 recipes: focalnet/, vit/, focalnet/piq/.
Each number is a mean over the clips of ESC-10's fold 5.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from xaibench import registry
from xaibench.classifiers.class_order import in_order
from xaibench.results.areas import PRIMARY_AREA
from xaibench.scoring.protocol import SPECTROGRAM
from xaibench.scoring.ranking import Ranking
from xaibench.sound.batch import Batch
from xaibench.sound.esc50 import Esc10
from xaibench.speechbrain.classifiers import load_recipe
from xaibench.speechbrain.protocol import LEGACY

METHODS = {"focalnet": "focalnet", "vit": "vit-attention"}
BATCH = 16


@dataclass(frozen=True)
class Reading:
    """Every choice on which the protocols differ; as the recipes choose, unless said otherwise."""

    standard_input: bool = False
    temperature: float = 1.0
    faithful_part: str = "kept"
    equal_area: bool = False
    linear: bool = False
    softmaxes: int = 1


Change = tuple[str, dict[str, Any]]
OF_MAPS: tuple[Change, ...] = (
    ("polarity: FF of what is removed, not of what is kept", {"faithful_part": "removed"}),
    ("temperature: softmax at the trained scale of 30, not of raw cosines", {"temperature": 30.0}),
    ("mask: exactly 10% of the bins, ties at random, not all at or above the quantile", {"equal_area": True}),
    ("input: samples limited to [-1, 1] and not divided by their maximum", {"standard_input": True}),
)
OF_MASKS: tuple[Change, ...] = (
    ("AD: one softmax, not two", {"softmaxes": 1}),
    ("temperature: softmax at the trained scale of 30, not of raw cosines", {"temperature": 30.0}),
    ("mask domain: times the linear magnitude, not times log1p of it", {"linear": True}),
    ("input: samples limited to [-1, 1] and not divided by their maximum", {"standard_input": True}),
)
MASKS_AS_PRINTED = Reading(faithful_part="removed", softmaxes=2)


class Measured:
    """A classifier, its clips, and one method's maps; every changed clip is forwarded once."""

    def __init__(self, source: Esc10, folder: Path, method: Any, clips: int | None) -> None:
        self.clips = source.in_folds([5])[:clips]
        self.classifier = in_order(load_recipe(folder), source.classes)
        self.source, self.method = source, method
        self.labels = torch.tensor([clip.label for clip in self.clips])
        self._made: dict[tuple[object, ...], Tensor] = {}

    def x(self, standard_input: bool) -> Tensor:
        """Spectrograms."""
        return self._once(("x", standard_input), lambda: self._x(standard_input))

    def clean(self, standard_input: bool) -> Tensor:
        """Cosines of the clips as they are."""
        return self._once(("clean", standard_input), lambda: self._forward(self.x(standard_input)))

    def maps(self, standard_input: bool) -> Tensor:
        """The method's maps."""
        return self._once(("maps", standard_input), lambda: self._maps(standard_input))

    def cosines(self, how: Reading, part: str) -> Tensor:
        """Cosines of one part of every clip."""
        key = ("part", part, how.standard_input, how.equal_area, how.linear)
        return self._once(key, lambda: self._cosines(how.standard_input, how.equal_area, how.linear, part))

    def _once(self, key: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _x(self, standard_input: bool) -> Tensor:
        rules = SPECTROGRAM if standard_input else LEGACY
        waveforms = torch.from_numpy(
            np.stack([rules.waveform(self.source, clip, self.classifier) for clip in self.clips])
        )
        spectrogram = rules.spectrogram
        assert spectrogram is not None
        return torch.cat([spectrogram(part) for part in waveforms.split(BATCH)])

    def _maps(self, standard_input: bool) -> Tensor:
        x, target = self.x(standard_input), self.clean(standard_input).argmax(dim=1)
        return torch.cat(
            [
                self.method.explain(self.classifier, Batch(x[i : i + 1], (clip.id,)), target[i : i + 1]).map
                for i, clip in enumerate(self.clips)
            ]
        )

    def _cosines(self, standard_input: bool, equal_area: bool, linear: bool, part: str) -> Tensor:
        x, maps, made = self.x(standard_input), self.maps(standard_input), []
        for start in range(0, len(x), BATCH):
            some, chosen = x[start : start + BATCH], maps[start : start + BATCH]
            mask = chosen
            if equal_area:
                ids = tuple(clip.id for clip in self.clips[start : start + BATCH])
                mask = Ranking(chosen, Batch(some, ids)).top(PRIMARY_AREA).float()
            elif not self.method.native_mask:
                mask = torch.stack([(one >= one.flatten().quantile(0.90)).float() for one in chosen])
            weight = mask if part == "kept" else 1 - mask
            made.append(self._forward(torch.log1p(weight * torch.expm1(some)) if linear else weight * some))
        return torch.cat(made)

    def _forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.cat([self.classifier.picture_logits(part).double() for part in x.split(BATCH)])

    def read(self, how: Reading) -> dict[str, float]:
        """Means over the clips."""
        clean = self.clean(how.standard_input)
        c = clean.argmax(dim=1)
        kept, faithful = self.cosines(how, "kept"), self.cosines(how, how.faithful_part)

        def of_class(logits: Tensor, softmaxes: int = 1) -> Tensor:
            p = (how.temperature * logits).softmax(dim=1)
            for _ in range(softmaxes - 1):
                p = p.softmax(dim=1)
            return p.gather(1, c[:, None])[:, 0]

        full, inside = of_class(clean), of_class(kept)
        q, q_inside = of_class(clean, how.softmaxes), of_class(kept, how.softmaxes)
        found = {
            "FF": full - of_class(faithful),
            "Fid-In": (kept.argmax(dim=1) == c).double(),
            "AD": 100 * (q - q_inside).clamp(min=0) / q,
            "AI": 100.0 * (inside > full),
            "AG": 100 * (inside - full).clamp(min=0) / (1 - full),
            "accuracy": (c == self.labels).double(),
        }
        return {name: float(values.mean()) for name, values in found.items()}


def ladder(measured: Measured, start: Reading, changes: tuple[Change, ...], columns: tuple[str, ...]) -> None:
    """Print what each change does by itself, and with all changes above it."""
    heads = [f"{name}{when}" for name in columns for when in (", alone", ", so far")]
    print("| what changes | " + " | ".join(heads) + " |")
    print("| --- |" + " --- |" * len(heads))
    first, so_far = measured.read(start), start
    line("legacy-speechbrain", [first[name] for name in columns for _ in range(2)])
    for label, change in changes:
        so_far = replace(so_far, **change)
        alone, together = measured.read(replace(start, **change)), measured.read(so_far)
        line(label, [one[name] for name in columns for one in (alone, together)])
    print()


def line(label: str, numbers: list[float]) -> None:
    """One row; four significant digits."""
    print(f"| {label} | " + " | ".join(f"{number:.4g}" for number in numbers) + " |", flush=True)


def batch_means(measured: Measured) -> None:
    """What averaging batches of unequal size does to the accuracy."""
    right = (measured.clean(False).argmax(dim=1) == measured.labels).double()
    batches = torch.stack([part.mean() for part in right.split(6)])
    print(
        f"aggregation: accuracy {float(right.mean()):.4f} over {len(right)} clips, {float(batches.mean()):.4f} as the "
        f"mean of {len(batches)} batches of six, the last of {(len(right) - 1) % 6 + 1}\n"
    )


def bounds() -> None:
    """How far a probability can get from 1 / classes when cosines in [-1, 1] are its logits."""
    for classes in (10, 50):
        cosines = torch.full((classes,), -1.0, dtype=torch.float64)
        cosines[0] = 1.0
        low, high = float((-cosines).softmax(0)[0]), float(cosines.softmax(0)[0])
        print(f"{classes} classes: at temperature 1 a probability lies between {low:.4f} and {high:.4f}")
    print()


def main(
    folder: Annotated[Path, typer.Argument(help="Folder in ESC-50's layout.")],
    reference: Annotated[Path, typer.Argument(help="Folder of the reference checkpoints.")],
    only: Annotated[str, typer.Option(help="focalnet, vit, piq or all.")] = "all",
    clips: Annotated[int | None, typer.Option(help="Only the first of them.", min=1)] = None,
) -> None:
    """Print the tables."""
    source = Esc10(folder)
    bounds()
    for family, method in METHODS.items():
        if only in {"all", family}:
            print(f"### {method} on {family}\n")
            measured = Measured(source, reference / family, registry.create("methods", method), clips)
            ladder(measured, Reading(), OF_MAPS, ("FF", "Fid-In", "accuracy"))
            batch_means(measured)
            chance = Measured(source, reference / family, registry.create("methods", "random"), clips).read(Reading())
            print(f"a random mask, read as legacy-speechbrain: FF {chance['FF']:.4g}, Fid-In {chance['Fid-In']:.4g}\n")
    if only in {"all", "piq"}:
        print("### piq-speechbrain on focalnet\n")
        piq = importlib.import_module("xaibench.methods.piq_speechbrain").RecipePiq()
        measured = Measured(source, reference / "focalnet", piq, clips)
        piq.import_checkpoint(reference / "focalnet" / "piq", load_recipe(reference / "focalnet"))
        ladder(measured, MASKS_AS_PRINTED, OF_MASKS, ("FF", "AD", "AG", "AI", "Fid-In"))


if __name__ == "__main__":
    typer.run(main)
