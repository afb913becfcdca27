"""Archives: a whole run in one small file, to be published and compared with.

An archive is a run folder as a tar file, compressed by LZMA: what the parts of a run have in common, and that is most
of them, is kept once. It is read wherever a run folder is: it is unpacked into the cache, once for every content.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from xaibench.errors import ResultsError
from xaibench.results import agreement, store
from xaibench.storage.atomic import replacing
from xaibench.storage.user_folders import cache_folder

SUFFIX = ".run.tar.xz"
_MOST = 1_000_000_000  # bytes that are unpacked: a small file may claim to be much


def pack(run: Path, path: Path) -> Path:
    """Write the archive of a run: the same bytes for the same scores.

    Locks, logs and kept maps stay behind.

    Args:
        run: a finished run folder.
        path: of the archive; its name ends in `.run.tar.xz`, which is added where it is missing.

    Returns:
        The path of the archive.

    Raises:
        ResultsError: the folder holds no scores, a part is not finished, or the archive cannot be written.
    """
    run, path = Path(run), Path(path)
    if not path.name.endswith(SUFFIX):
        path = path.with_name(path.name + SUFFIX)
    store.read_manifest(run)
    parts = store.parts_of(run)
    if not parts:
        raise store.no_scores(run)
    stopped = store.unfinished(run)
    if stopped:
        raise ResultsError(f"{stopped[0]} is not finished; give the command of the run again, then publish it")
    known = [run / store.MANIFEST, run / agreement.FILE]
    files = [one for part in parts for one in (part, part.with_suffix(".json"))]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as temporary,
            lzma.open(temporary, "wb", preset=9) as compressed,
            tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for file in sorted([*filter(Path.exists, known), *files]):
                archive.add(file, file.relative_to(run).as_posix(), filter=_plain)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written ({error.strerror or error}); choose another name") from error
    return path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out when, where and by whom a file was written, which is not what it says."""
    member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode = 0, 0, 0, "", "", 0o644
    return member


def unpacked(path: Path) -> Path:
    """Return the run folder of an archive, unpacked into the cache.

    Raises:
        ResultsError: the file is damaged, or holds something else than a run.
    """
    path = Path(path)
    try:
        name = path.name.removesuffix(SUFFIX)
        target = cache_folder() / "runs" / hashlib.sha256(path.read_bytes()).hexdigest()[:16] / name
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            folder = Path(temporary) / name
            _extract(path, folder)
            store.read_manifest(folder)
            _move(folder, target)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise ResultsError(f"{path} is no archive of a run, or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise ResultsError(f"{path} cannot be unpacked ({error.strerror or error})") from error
    return target


def _extract(path: Path, folder: Path) -> None:
    """Write the files of an archive; whatever else it holds is refused."""
    size = 0
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            size += member.size
            place = PurePosixPath(member.name)
            if not member.isfile() or place.is_absolute() or ".." in place.parts or size > _MOST:
                raise ResultsError(f"{path} is no archive of a run: it holds {member.name}")
            content = archive.extractfile(member)
            assert content is not None
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(content.read())


def _move(folder: Path, target: Path) -> None:
    """Give a folder its name; another process may have been faster."""
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(folder)
