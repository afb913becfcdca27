"""Download the official ESC-50 archive, unpack it safely, and check that it is complete."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2

from xaibench.errors import DataError
from xaibench.sound.esc50 import metadata_path, read_metadata

ADDRESS = "https://github.com/karoldvl/ESC-50/archive/master.zip"
NAME = "ESC-50-master"
DATASETS = ("esc10", "esc50")
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
# The official archive is about 0.6 GB, unpacks to 0.9 GB and holds some 2020 files.
MAX_ARCHIVE_BYTES = 2 << 30
MAX_UNPACKED_BYTES = 4 << 30
MAX_FILES = 10_000

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Layout:
    """Numbers of a complete dataset; every fold has the same number of clips."""

    clips: int
    classes: int
    folds: int


OFFICIAL = Layout(clips=2000, classes=50, folds=5)


def fetch(dataset: str, folder: Path, progress: Progress, *, address: str = ADDRESS, layout: Layout = OFFICIAL) -> Path:
    """Download and unpack a dataset, unless it is there already.

    An interrupted download continues from FOLDER/ESC-50-master.zip.part. If the user has saved the archive as
    FOLDER/ESC-50-master.zip, it is used without a network, and kept.

    Args:
        dataset: "esc50" or "esc10", which come in the same archive.
        folder: folder in which the dataset's own folder, ESC-50-master, is made.
        progress: called during the download with (bytes done, bytes in total or None if unknown).
        address: address of the archive.
        layout: numbers that the archive must have.

    Returns:
        The folder that holds meta/ and audio/.

    Raises:
        DataError: there is no network, the download is broken, the archive is unsafe or incomplete, or an incomplete
            dataset is in the way.
    """
    if dataset not in DATASETS:
        raise DataError(f"'{dataset}' is not downloaded; fetch knows {' and '.join(DATASETS)}")
    folder = Path(folder)
    # A folder that is itself in the layout is the dataset, and not the folder that holds it.
    target = folder if metadata_path(folder).exists() else folder / NAME
    if target.exists():
        difference = _difference(target, layout)
        if difference is None:
            return target
        raise DataError(f"{target} is there but not complete ({difference}); move it away or give another folder")
    archive = folder / f"{NAME}.zip"
    by_hand = archive.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not by_hand:
            _download(address, archive, progress)
        try:
            _unpack(archive, target, layout)
        except DataError as error:
            if by_hand:
                raise DataError(f"{error}; delete it and run this again to download it") from error
            archive.unlink()
            raise DataError(f"{error}; it came from {address} and was deleted; run this again") from error
        if not by_hand:
            archive.unlink()
    except OSError as error:
        raise DataError(
            f"{folder}: the dataset cannot be written ({error.strerror or error}); it needs 1.6 GB of free space, "
            "or give another folder"
        ) from error
    return target


def _by_hand(address: str, archive: Path, reason: object) -> DataError:
    return DataError(
        f"{address} cannot be downloaded ({reason}); download it elsewhere, save it as {archive.absolute()}, "
        "and run this again"
    )


def _client(address: str, archive: Path) -> httpx2.Client:
    """Make a client that must connect within CONNECT_SECONDS and may then be slow to answer.

    It follows redirects, but never from https to anything else, because only TLS guarantees the bytes.
    """

    def stay_secure(request: httpx2.Request) -> None:
        if address.startswith("https:") and request.url.scheme != "https":
            raise _by_hand(address, archive, f"it redirects to {request.url}, which is not https")

    try:
        return httpx2.Client(
            headers={"User-Agent": "xaibench", "Accept-Encoding": "identity"},  # ranges count the file's own bytes
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
            event_hooks={"request": [stay_secure]},
        )
    except (ImportError, ValueError, OSError) as error:  # the environment names proxies or certificates it cannot use
        raise _by_hand(address, archive, f"proxy or certificates of this machine: {error}") from error


def _open(client: httpx2.Client, address: str, archive: Path, headers: dict[str, str]) -> httpx2.Response | None:
    """Send a request; return the answer with its body unread, or None if the server lacks the requested range."""
    try:
        response = client.send(client.build_request("GET", address, headers=headers), stream=True)
    except httpx2.HTTPError as error:
        raise _by_hand(address, archive, str(error) or type(error).__name__) from error
    if response.is_success:
        return response
    response.close()
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
        return None
    raise _by_hand(address, archive, f"HTTP {response.status_code} {response.reason_phrase}")


def _version(response: httpx2.Response) -> str:
    """Return the version of the file: its ETag or its date, or "" if unknown."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _open_from(
    client: httpx2.Client, address: str, archive: Path, received: int, version: str
) -> tuple[httpx2.Response, int]:
    """Request the rest of the file if its version is the same, else all of it; also return where the answer starts."""
    if received and version:
        headers = {"Range": f"bytes={received}-"}
        # If-Range must not carry a weak ETag (RFC 9110, 13.1.5), and GitHub's archives have weak ones. Instead, the
        # answer's ETag is compared, and at the end the CRCs.
        if not version.startswith("W/"):
            headers["If-Range"] = version
        response = _open(client, address, archive, headers)
        if response is not None:
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                return response, 0
            begins = response.headers.get("Content-Range", "").startswith(f"bytes {received}-")
            if begins and _version(response) == version:
                return response, received
            response.close()
    response = _open(client, address, archive, {})
    assert response is not None, "only a request for a range has no answer"
    return response, 0


def _download(address: str, archive: Path, progress: Progress) -> None:
    """Download to `archive`, through a .part file that the next call continues."""
    part = archive.with_name(f"{archive.name}.part")
    note = archive.with_name(f"{archive.name}.part.version")
    received = part.stat().st_size if part.is_file() else 0
    version = note.read_text(encoding="latin-1") if note.is_file() else ""
    with _client(address, archive) as client:
        response, done = _open_from(client, address, archive, received, version)
        with closing(response):
            total = done + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
            _refuse_oversize(total or 0, address, archive)
            # Written before the first byte: a .part without a known version is never continued.
            note.write_text(_version(response), encoding="latin-1")
            with part.open("ab" if done else "wb") as file:
                progress(done, total)
                for block in _blocks(response, address):
                    done += len(block)
                    _refuse_oversize(done, address, archive)
                    file.write(block)
                    progress(done, total)
    os.replace(part, archive)
    note.unlink()


def _refuse_oversize(size: int, address: str, archive: Path) -> None:
    if size > MAX_ARCHIVE_BYTES:
        raise _by_hand(address, archive, f"it is larger than {MAX_ARCHIVE_BYTES} bytes, so it is not ESC-50")


def _blocks(response: httpx2.Response, address: str) -> Iterator[bytes]:
    """Yield the body as it arrives; blocks of a fixed size would lose the last one when the connection breaks."""
    try:
        yield from response.iter_raw()
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"the download of {address} broke off ({reason}); run this again to continue it") from error


def _unpack(archive: Path, target: Path, layout: Layout) -> None:
    """Unpack an archive into a folder that appears only when it is complete and checked."""
    # GitHub makes archives anew now and then, with other bytes for the same files, so no hash of
    # the archive could be asked for; its CRCs and the dataset's layout are checked instead.
    staging = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, member in _wanted(opened.infolist(), archive).items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                # zipfile reads no more than the declared size, which _wanted bounds, and checks
                # the CRC at the end.
                with opened.open(member) as source, path.open("xb") as sink:
                    shutil.copyfileobj(source, sink)
        difference = _difference(staging, layout)
        if difference is not None:
            raise DataError(f"{archive} is not the complete ESC-50 ({difference})")
        os.replace(staging, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive} is no zip archive, or a damaged one ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _wanted(members: list[zipfile.ZipInfo], archive: Path) -> dict[str, zipfile.ZipInfo]:
    """Choose the members to unpack; return them by their path below the archive's one top folder.

    Raises:
        DataError: the archive could write outside its folder, or unpacks to an absurd size.
    """
    if len(members) > MAX_FILES:
        raise DataError(f"{archive} holds {len(members)} files, so it is not ESC-50; nothing was unpacked")
    wanted: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        if _is_unsafe(member):
            raise DataError(f"{archive} holds the unsafe entry {member.orig_filename!r}; nothing was unpacked")
        name = member.filename.partition("/")[2]
        folder, _, file = name.rpartition("/")
        if not (name in {"meta/esc50.csv", "LICENSE", "README.md"} or (folder == "audio" and file)):
            continue
        if name in wanted:
            raise DataError(f"{archive} holds {name} twice; nothing was unpacked")
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise DataError(f"{archive} compresses {name} in a way that ESC-50's does not; nothing was unpacked")
        wanted[name] = member
    if sum(member.file_size for member in wanted.values()) > MAX_UNPACKED_BYTES:
        raise DataError(f"{archive} would unpack to more than {MAX_UNPACKED_BYTES} bytes, so it is not ESC-50")
    return wanted


def _is_unsafe(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member is anything but a plain file or folder below the place it is unpacked to."""
    # The name as stored: zipfile itself cuts it at a NUL and rewrites separators on Windows.
    name = member.orig_filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    return (
        kind not in {0, stat.S_IFREG, stat.S_IFDIR}
        or any(mark in name for mark in "\\:\0")  # ":" is a drive letter or an NTFS stream
        or any(part in {"", ".", ".."} for part in name.removesuffix("/").split("/"))
    )


def _difference(folder: Path, layout: Layout) -> str | None:
    """Say how a folder differs from the layout; None if it does not."""
    try:
        table = read_metadata(folder)
    except DataError as error:
        return str(error)
    if len(table) != layout.clips:
        return f"its CSV lists {len(table)} clips, not {layout.clips}"
    classes = table["target"].nunique()
    if classes != layout.classes:
        return f"its CSV lists {classes} classes, not {layout.classes}"
    for fold in range(1, layout.folds + 1):
        clips = int((table["fold"] == fold).sum())
        if clips != layout.clips // layout.folds:
            return f"fold {fold} has {clips} clips, not {layout.clips // layout.folds}"
    audio = folder / "audio"
    present = {path.name for path in audio.iterdir() if not path.name.startswith(".")} if audio.is_dir() else set()
    missing = sorted(set(table["filename"]) - present)
    if missing:
        return f"{len(missing)} audio files are missing, the first is {missing[0]}"
    if len(present) != layout.clips:
        return f"audio/ holds {len(present)} files, not {layout.clips}"
    return None
