"""Agreement: which scores of a run came out the same when other code scored them again.

`xaibench verify --rescore` keeps it in the run folder, in `rescored.json`. It is sampled: the parts that were drawn
stand for all parts of the method on the classifier. It ends when one of these parts changes, or another one is added.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from xaibench.errors import ResultsError
from xaibench.results import parts
from xaibench.results.parts import Part, PartInfo
from xaibench.storage.atomic import write_atomically

FILE = "rescored.json"


@dataclass(frozen=True, kw_only=True)
class Code:
    """Identity of the code that made scores, as in `PartInfo`."""

    code_sha256: str
    shared_code_sha256: str
    metrics_sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The scores of a method on a classifier came out the same.

    Attributes:
        folder: CLASSIFIER/METHOD inside the run folder.
        scores_sha256: hash of the hashes of all its parts.
        rescored: names of the parts that were scored again.
        code: what scored them again.
        versions, device: likewise.
    """

    folder: str
    scores_sha256: str
    rescored: tuple[str, ...]
    code: Code
    versions: dict[str, str]
    device: str


_AGREEMENTS = TypeAdapter(tuple[Agreement, ...])


def code_of(info: PartInfo) -> Code:
    """Return the code that made a part."""
    return Code(
        code_sha256=info.code_sha256,
        shared_code_sha256=info.shared_code_sha256,
        metrics_sha256=info.metrics_sha256,
    )


def holding(found: Sequence[Part]) -> dict[Path, list[Code]]:
    """Return by folder of parts the codes that made the same scores again, where nothing changed since.

    Raises:
        ResultsError: a record of agreement is damaged.
    """
    agreed: dict[Path, list[Code]] = {}
    for run in dict.fromkeys(part.run for part in found):
        for one in _read(run):
            if _state(run, one.folder) == one.scores_sha256:
                agreed.setdefault(run / one.folder, []).append(one.code)
    return agreed


def keep(run: Path, again: Iterable[tuple[str, PartInfo | None, bool]]) -> None:
    """Keep what a run's parts came out as when they were scored again.

    A method on a classifier agrees if all of its parts that were drawn do. Earlier agreement of the same code is
    replaced, and what does not hold any more is removed.

    Args:
        run: the run folder.
        again: path of a part inside it, what it was made with this time if it could be made, whether it agrees.
    """
    by_folder: dict[str, list[tuple[str, PartInfo | None, bool]]] = {}
    for path, info, same in again:
        by_folder.setdefault(Path(path).parent.as_posix(), []).append((Path(path).name, info, same))
    new: list[Agreement] = []
    settled: list[tuple[str, Code]] = []
    for folder, drawn in by_folder.items():
        info = next((info for _, info, _ in drawn if info is not None), None)
        if info is None or not info.code_sha256 or not all(info.metrics_sha256.values()):
            continue  # nobody can tell later which code this was
        settled.append((folder, code_of(info)))
        if all(same for _, _, same in drawn):
            new.append(
                Agreement(
                    folder=folder,
                    scores_sha256=_state(run, folder),
                    rescored=tuple(name for name, _, _ in drawn),
                    code=code_of(info),
                    versions=info.versions,
                    device=info.device,
                )
            )
    old = [
        one
        for one in _read(run)
        if (one.folder, one.code) not in settled and _state(run, one.folder) == one.scores_sha256
    ]
    if old or new or (run / FILE).exists():
        write_atomically(run / FILE, (json.dumps([asdict(one) for one in [*old, *new]], indent=2) + "\n").encode())


def _read(run: Path) -> tuple[Agreement, ...]:
    path = run / FILE
    try:
        return _AGREEMENTS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise ResultsError(
            f"{path} is damaged ({' '.join(str(error).split())}); delete it and verify the run again"
        ) from error


def _state(run: Path, folder: str) -> str:
    """Hash the scores of all parts of a method on a classifier."""
    paths = sorted((run / folder).glob("part-*.json"))
    lines = [f"{path.stem} {parts.read_info(path).scores_sha256}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
