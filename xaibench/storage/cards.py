"""Weights with a card, the JSON file that describes them. Cards are not trusted: every value is checked when read."""
# Without `from __future__ import annotations`: pydantic reads the fields' types also for subclasses in other modules.

import abc
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import StringConstraints, TypeAdapter, ValidationError

from xaibench.errors import CheckpointError
from xaibench.storage.atomic import write_atomically

NAME = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"
# Names become parts of paths, so they must not contain separators.
Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
NameOrNone = Annotated[str, StringConstraints(pattern=f"^({NAME})?$")]
FINISHED = "unfinished-weights"  # folder of weights that are not yet in their place


@dataclass(frozen=True, kw_only=True)
class WeightsCard(abc.ABC):
    """The facts about trained weights that are needed to interpret their numbers.

    Class attributes:
        FILE: name of the JSON file beside the weights.
        KIND: what the file is, in words.
        COMMAND: command that writes such folders.
        REMEDY: what to do if card or weights are damaged; `{folder}` is replaced by the folder.

    Attributes:
        classifier: name of the classifier in the results.
        dataset, dataset_fingerprint, data_licence: name, fingerprint and licence of the sound.
        train_folds, validation_folds: folds on which the weights were trained, and the epoch chosen.
        seed: seed of all random numbers.
        best_epoch: epoch whose weights were kept, from 1; 0 if unknown.
        parameters: number of trained numbers.
        command: the command as typed.
        versions: versions of Python, xaibench and the libraries that can change numbers.
        weights_sha256: hash of the weights; empty until they are written.
        licence: licence under which the weights are offered; empty where their maker has not said.
        origin: source of weights from elsewhere; empty for weights trained here.
        source_sha256: SHA-256 of the files from which they were converted, by name.
    """

    FILE: ClassVar[str]
    KIND: ClassVar[str]
    COMMAND: ClassVar[str]
    REMEDY: ClassVar[str]

    classifier: Name
    dataset: NameOrNone
    dataset_fingerprint: str
    data_licence: str
    train_folds: tuple[int, ...]
    validation_folds: tuple[int, ...]
    seed: int
    best_epoch: int
    parameters: int
    command: str
    versions: dict[str, str]
    weights_sha256: str = ""
    licence: str = ""
    origin: str = ""
    source_sha256: dict[str, str] = field(default_factory=dict)

    @classmethod
    @abc.abstractmethod
    def weights_in(cls, folder: Path) -> list[Path]:
        """List the files and folders of a folder that belong to the weights."""

    @classmethod
    @abc.abstractmethod
    def hash_of(cls, folder: Path) -> str:
        """Return the SHA-256 of the weights in a folder."""

    def write(self, folder: Path, save: Callable[[Path], None]) -> Self:
        """Write the weights, and this card with their hash, in place of earlier ones.

        If the process is killed, no card is left beside weights that are not its own.

        Args:
            folder: folder to write to; it is made if needed.
            save: function that writes the weights into an empty folder.

        Returns:
            The card as written.
        """
        finished = folder / FINISHED
        shutil.rmtree(finished, ignore_errors=True)
        finished.mkdir(parents=True)
        save(finished)
        card = replace(self, weights_sha256=self.hash_of(finished))
        (folder / self.FILE).unlink(missing_ok=True)
        for old in self.weights_in(folder):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for new in sorted(finished.iterdir()):
            os.replace(new, folder / new.name)
        write_atomically(folder / self.FILE, (json.dumps(asdict(card), indent=2) + "\n").encode())
        finished.rmdir()
        return card

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card of a folder, and check the type of every value.

        Raises:
            CheckpointError: there is no card, or it does not fit the dataclass.
        """
        path = Path(folder) / cls.FILE
        if not path.is_file():
            raise CheckpointError(f"{folder} holds no {cls.FILE}; expected a folder written by '{cls.COMMAND}'")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            unknown = sorted(set(content) - {one.name for one in fields(cls)}) if isinstance(content, dict) else []
            if not unknown:
                return TypeAdapter(cls).validate_python(content)
            reason = f"it holds {', '.join(unknown)}"
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            reason = f"{where}: {first['msg']}" if where else first["msg"]
        except OSError as error:
            reason = str(error.strerror)
        except (ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} is not {cls.KIND} ({reason}); {cls.remedy(folder)}")

    def check(self, folder: Path) -> None:
        """Compare the weights in a folder with this card.

        Raises:
            CheckpointError: they are other weights, or damaged.
        """
        if self.hash_of(folder) != self.weights_sha256:
            raise CheckpointError(
                f"{folder} does not hold the files that its card describes (SHA-256 differs); {self.remedy(folder)}"
            )

    @classmethod
    def remedy(cls, folder: Path) -> str:
        """Return what to do if card or weights in a folder are damaged."""
        return cls.REMEDY.format(folder=folder)


class OneFileCard(WeightsCard):
    """The card of weights that are one file.

    Class attributes:
        WEIGHTS: name of that file.
    """

    WEIGHTS: ClassVar[str]

    @classmethod
    def weights_in(cls, folder: Path) -> list[Path]:
        return [path for path in (folder / cls.WEIGHTS,) if path.is_file()]

    @classmethod
    def hash_of(cls, folder: Path) -> str:
        return file_hash(folder / cls.WEIGHTS)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
