"""Check a run folder: is everything there, is it what was written, and does it agree?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from xaibench.errors import ResultsError
from xaibench.results import parts, store
from xaibench.results.checks import problems
from xaibench.results.parts import PartInfo
from xaibench.results.store import Manifest


@dataclass(frozen=True)
class Verified:
    """What was found in a run folder.

    Attributes:
        parts: how many were read.
        pairs: pairs of a method (or its soft mask) and a classifier.
        unreadable: clips that the run left out because they could not be read.
        findings: what is wrong, a line each; empty where nothing is.
    """

    parts: int
    pairs: int
    unreadable: int
    findings: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Check structure, hashes, completeness, ranges, and the agreement of rows, paths and descriptions of a run.

    Raises:
        ResultsError: the folder holds no run.
    """
    folder = Path(folder)
    manifest = store.read_manifest(folder)
    findings, made = _strays(folder), defaultdict[tuple[str, str], list[_Part]](list)
    paths = store.parts_of(folder)
    for path in paths:
        where = path.relative_to(folder)
        try:
            table, info = parts.read_part(path)
        except ResultsError as error:
            findings.append(str(error))
            continue
        findings += [f"{where}: {text}" for text in problems(path, table, info, manifest.of_rows)]
        if not set(table["fold"].unique().drop_null().to_pylist()) <= set(manifest.folds):
            findings.append(f"{where}: it has clips of other folds than {', '.join(map(str, manifest.folds))}")
        predicted = parts.frame([table.select(["clip", "predicted"])]).drop_duplicates("clip")
        made[path.parent.parent.name, path.parent.name].append(
            _Part(path, dict(zip(predicted["clip"], predicted["predicted"], strict=True)), info)
        )
    for pair in made.values():
        findings += _of_pair(folder, pair, manifest)
    findings += _of_classifiers(made)
    return Verified(len(paths), len(made), len(manifest.unreadable), tuple(findings))


@dataclass(frozen=True)
class _Part:
    path: Path
    predicted: dict[str, str]  # by clip
    info: PartInfo

    @property
    def number(self) -> int:
        return int(self.path.stem.removeprefix("part-"))


def _strays(folder: Path) -> list[str]:
    """Find scores without a description, and files that are no part."""
    found = []
    for path in sorted(folder.glob("*/*/*")):
        where = path.relative_to(folder)
        if where.parts[0] == store.MAPS or any(name.startswith(".") for name in where.parts):
            continue
        digits = path.stem.removeprefix("part-")
        if path.suffix not in {".parquet", ".json"} or not digits.isdecimal():
            found.append(f"{where}: it is no part of a run")
        elif path.suffix == ".parquet" and not path.with_suffix(".json").is_file():
            found.append(f"{where}: it has no description; its run was stopped, give the same command again")
    return found


def _of_pair(folder: Path, made: list[_Part], manifest: Manifest) -> list[str]:
    """Compare the parts of one method on one classifier with each other, and with what the run is of."""
    found = []
    where = made[0].path.parent.relative_to(folder)
    numbers = sorted(one.number for one in made)
    count = -(-manifest.clips // parts.PART_CLIPS)
    missing = sorted(set(range(count)) - set(numbers))
    if missing:
        found.append(f"{where}: {len(missing)} of {count} parts are not there (part {missing[0]}, ...); finish the run")
    clips = [clip for one in made for clip in one.predicted]
    both = sorted(set(clips) & set(manifest.unreadable))
    if both:
        found.append(f"{where}: it has scores of {both[0]}, which the run could not read")
    if not missing and len(clips) != manifest.clips:
        found.append(f"{where}: it has {len(clips)} clips, the run is of {manifest.clips}")
    if len(set(clips)) != len(clips):
        found.append(f"{where}: a clip is in two of its parts")
    first = made[0]
    for one in made[1:]:
        for what, same in {
            "metrics": set(one.info.metrics_sha256) == set(first.info.metrics_sha256),
            "parameters": one.info.method == first.info.method,
            "weights": one.info.classifier_sha256 == first.info.classifier_sha256,
            "code": one.info.code_sha256 == first.info.code_sha256,
        }.items():
            if not same:
                found.append(f"{where}: {one.path.name} was made with other {what} than {first.path.name}")
    return found


def _of_classifiers(made: dict[tuple[str, str], list[_Part]]) -> list[str]:
    """Find clips of which two methods say that one classifier predicts other classes, or hears other sound."""
    found = []
    known: dict[tuple[str, str], tuple[str, str]] = {}
    sound: dict[tuple[str, int, int], tuple[str, str]] = {}  # by clip, rate and samples: what is heard at these
    for (classifier, method), pair in made.items():
        for one in pair:
            heard = one.info.sample_rate, one.info.samples
            others = {
                sound[clip, *heard][1]
                for clip, sha256 in one.info.audio_sha256.items()
                if sound.setdefault((clip, *heard), (sha256, method))[0] != sha256
            }
            if others:
                found.append(
                    f"{classifier}/{method}: {one.path.name} is of other sound than that of {', '.join(sorted(others))}"
                )
            for clip, predicted in one.predicted.items():
                said = known.setdefault((classifier, clip), (predicted, method))
                if said[0] != predicted:
                    found.append(f"{classifier}/{method}: {clip} is {predicted}, and {said[0]} in {said[1]}")
    return found
