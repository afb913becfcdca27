"""Download files of a model repository from the Hugging Face hub, or say at once what to download by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xaibench.errors import CheckpointError, one_line

# Without a network the hub's client tries for half a minute. One short request beforehand avoids this.
ASK_SECONDS = 5.0


def is_repository(reference: str) -> bool:
    """Tell whether a reference has the form OWNER/NAME."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", reference) is not None


@dataclass(frozen=True)
class Layout:
    """Which files of a repository are wanted.

    Attributes:
        required: groups of alternative file names; of each group the first that exists is downloaded.
        optional: file names that are downloaded if they exist.
    """

    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()

    def __str__(self) -> str:
        extra = f" (and, if they exist, {', '.join(self.optional)})" if self.optional else ""
        return ", ".join(" or ".join(group) for group in self.required) + extra


def fetch(repository: str, layouts: Sequence[Layout], remedy: str) -> Path:
    """Download files of a repository into the hub's own cache, or find them there without a network.

    Args:
        repository: OWNER/NAME.
        layouts: which files; the first layout is taken whose required files the repository has.
        remedy: the command for files that were downloaded by hand into a folder FOLDER.

    Returns:
        The folder with the files, all of one commit, whose hash is the folder's name.

    Raises:
        CheckpointError: a required file does not exist or cannot be downloaded. The message is one line with the
            files, the address and the remedy.
    """
    from huggingface_hub import constants

    unreachable = _unreachable(constants.ENDPOINT)
    by_hand = (
        f"download {'; or '.join(map(str, layouts))} from {constants.ENDPOINT}/{repository}/tree/main into a folder "
        f"FOLDER, then give '{remedy}'"
    )
    snapshot = _Snapshot(repository, offline=bool(unreachable))
    lacking: list[str] = []
    failure: Exception | None = None
    for layout in layouts:
        try:
            missing = next((group for group in layout.required if not snapshot.has(group)), None)
            if missing is None:
                for name in layout.optional:
                    snapshot.has((name,))
                return snapshot.folder
            lacking.append(" or ".join(missing))
        except Exception as error:  # the client raises its own, httpx's and the system's errors
            failure = failure or error  # without a network the files of another layout may be here
    if failure is not None:
        reason = unreachable or f"{type(failure).__name__}: {one_line(failure)}"
        raise CheckpointError(f"{repository} cannot be fetched from the hub ({reason}); {by_hand}") from failure
    raise CheckpointError(f"{repository} on the hub has no {', and no '.join(lacking)}; {by_hand}")


class _Snapshot:
    """The files of one commit of a repository, fetched one by one.

    Attributes:
        folder: where they are, as soon as there is one.
    """

    def __init__(self, repository: str, offline: bool) -> None:
        self._repository, self._offline = repository, offline
        self._commit: str | None = None
        self.folder = Path()

    def has(self, names: Sequence[str]) -> bool:
        """Fetch the first of several files that exists, and tell whether one does."""
        for name in names:
            found = _file(self._repository, name, self._commit, self._offline)
            if found is not None:
                self.folder = found.parent
                self._commit = self.folder.name
                return True
        return False


def _unreachable(endpoint: str) -> str:
    """Return the reason why the hub does not answer; empty if it does."""
    from huggingface_hub.errors import OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=ASK_SECONDS)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except Exception as error:
        return f"no answer from {endpoint}: {str(error).strip() or type(error).__name__}"
    return ""


def _file(repository: str, name: str, commit: str | None, offline: bool) -> Path | None:
    """Return a file of the repository, or None if the repository is known to have no file of this name."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=commit, local_files_only=offline))
    except errors.LocalEntryNotFoundError:
        known = huggingface_hub.try_to_load_from_cache(repository, name, revision=commit)
        if known is None or isinstance(known, str):
            raise
        return None  # the cache remembers that the repository has no such file
    except errors.EntryNotFoundError:
        return None
