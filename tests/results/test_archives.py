"""Runs in one file: what is packed comes out, the same bytes for the same scores, and nothing else is unpacked."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from tests.support.made_up_runs import FF, SPS, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results import store
from xaibench.results.archives import SUFFIX, pack, unpacked
from xaibench.results.comparison import compare
from xaibench.results.runs import find_runs
from xaibench.results.verify import verify

SCORES = {"a": {FF: noise(1), SPS: noise(2, 0.5)}, "random": {FF: noise(3), SPS: noise(4, 0.5)}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAIBENCH_CACHE", str(tmp_path / "cache"))


def test_what_is_packed_is_read_like_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", SCORES)
    store.RunFolder(run, store.read_manifest(run)).log("cnn-micro", "a", "a note of this machine")
    archive = pack(run, tmp_path / "published" / "mine")
    assert archive == tmp_path / "published" / f"mine{SUFFIX}"
    (found,) = find_runs(archive)
    assert found.name == "mine" and found != run and not (found / store.LOG).exists()
    assert compare([found]).equals(compare([run]))
    assert verify(found) == verify(run)
    assert unpacked(archive) == found, "unpacked once"


def test_the_same_scores_are_the_same_bytes(tmp_path: Path) -> None:
    one = pack(write_run(tmp_path / "one", SCORES), tmp_path / "one")
    two = pack(write_run(tmp_path / "two", SCORES), tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_archives_are_found_where_they_are_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "mine", SCORES)
    other = pack(write_run(tmp_path / "other", SCORES), tmp_path / "published" / "other")
    assert find_runs(tmp_path) == sorted([run, tmp_path / "other"]), "not below"
    assert [found.name for found in find_runs(other.parent)] == ["other"]
    assert [found.name for found in find_runs(other, run, other)] == ["other", "mine"]
    nested = store.RunFolder(run / "deeper" / "two", store.read_manifest(run)).path
    assert find_runs(tmp_path / "runs") == [run, nested]
    for nothing in (tmp_path / "nowhere", run / "cnn-micro"):
        with pytest.raises(ResultsError, match=r"holds no results; make some with 'xaibench run"):
            find_runs(run, nothing)


def test_what_is_not_finished_is_not_packed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", SCORES)
    (run / "cnn-micro" / "a" / "part-000.json").unlink()
    with pytest.raises(ResultsError, match="is not finished; give the command of the run again, then publish it"):
        pack(run, tmp_path / "mine")
    empty = store.RunFolder(tmp_path / "empty", store.read_manifest(run)).path
    with pytest.raises(ResultsError, match="holds no scores yet"):
        pack(empty, tmp_path / "mine")
    assert not list(tmp_path.glob(f"*{SUFFIX}"))


def made(path: Path, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> Path:
    with lzma.open(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO(content))
    return path


def test_what_is_no_archive_of_a_run_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / f"x{SUFFIX}"
    outside = tmp_path / "cache" / "runs" / "outside.txt"
    for bad in ("../../outside.txt", "/tmp/outside.txt"):
        with pytest.raises(ResultsError, match="is no archive of a run: it holds"):
            unpacked(made(path, bad, b"x"))
    with pytest.raises(ResultsError, match="is no archive of a run: it holds link"):
        unpacked(made(path, "link", kind=tarfile.SYMTYPE))
    with pytest.raises(ResultsError, match=r"holds no manifest\.json"):
        unpacked(made(path, "notes.txt", b"x"))
    whole = pack(write_run(tmp_path / "mine", SCORES), tmp_path / "mine").read_bytes()
    for damaged in (whole[:-200], b"no archive", b""):
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match="is no archive of a run, or damaged"):
            unpacked(path)
    assert not outside.exists() and not list((tmp_path / "cache").rglob("part-*"))
