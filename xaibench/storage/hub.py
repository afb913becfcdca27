"""Download files of a model repository from the Hugging Face hub, or say at once what to download by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xaibench.errors import CheckpointError, one_line

# Without a network the hub's client tries for half a minute. One short request beforehand avoids this.
ASK_SECONDS = 5.0


def is_repository(reference: str) -> bool:
    """Tell whether a reference has the form OWNER/NAME."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", reference) is not None


def fetch(repository: str, required: Sequence[Sequence[str]], optional: Sequence[str], remedy: str) -> Path:
    """Download files of a repository into the hub's own cache, or find them there without a network.

    Args:
        repository: OWNER/NAME.
        required: groups of alternative file names; of each group the first that exists is downloaded.
        optional: file names that are downloaded if they exist.
        remedy: the command for files that were downloaded by hand into a folder FOLDER.

    Returns:
        The folder with the files, all of one commit, whose hash is the folder's name.

    Raises:
        CheckpointError: a required file does not exist or cannot be downloaded. The message is one line with the
            files, the address and the remedy.
    """
    from huggingface_hub import constants

    unreachable = _unreachable(constants.ENDPOINT)
    names = ", ".join(" or ".join(group) for group in required)
    extra = f" (and, if they exist, {', '.join(optional)})" if optional else ""
    by_hand = (
        f"download {names}{extra} from {constants.ENDPOINT}/{repository}/tree/main into a folder FOLDER, then give "
        f"'{remedy}'"
    )
    commit: str | None = None
    folder = Path()
    try:
        for group in [*required, *((name,) for name in optional)]:
            found = None
            for name in group:
                found = found or _file(repository, name, commit, offline=bool(unreachable))
            if found is not None:
                folder = found.parent
                commit = commit or folder.name
            elif group in required:
                raise CheckpointError(f"{repository} on the hub has no {' or '.join(group)}; {by_hand}")
    except CheckpointError:
        raise
    except Exception as error:  # the client raises its own, httpx's and the system's errors
        reason = unreachable or f"{type(error).__name__}: {one_line(error)}"
        raise CheckpointError(f"{repository} cannot be fetched from the hub ({reason}); {by_hand}") from error
    return folder


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
