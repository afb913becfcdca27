"""What comes out of an archive, and what must be in it."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from tests.support.archive_server import SMALL, TOP, fetch_small, ignore, names, zipped
from xaibench.errors import DataError
from xaibench.sound import esc50_download as fetch_module
from xaibench.sound.esc50_download import Layout, fetch

# What comes out of an archive


def unpack(folder: Path, archive: bytes) -> Path:
    folder.mkdir()
    (folder / "ESC-50-master.zip").write_bytes(archive)
    return fetch("esc50", folder, ignore, layout=SMALL)


def assert_refused(folder: Path, archive: bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        unpack(folder, archive)
    assert words in str(caught.value)
    assert "delete it and run this again" in str(caught.value)
    assert names(folder) == ["ESC-50-master.zip"]  # no dataset, and no half of one
    assert [path.name for path in folder.parent.rglob("evil*")] == []


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # as given: the constructor would tidy it
    member.create_system = 3
    member.external_attr = mode << 16
    return member


@pytest.mark.parametrize(
    "name",
    [
        "/tmp/evil",
        "../evil",
        f"{TOP}../../evil",
        f"{TOP}audio/../../../evil.wav",
        f"{TOP}audio/..",
        "C:/evil",
        "C:\\evil",
        f"{TOP}audio/..\\..\\evil.wav",
        f"{TOP}audio/a.wav:evil",
        f"{TOP}audio//evil.wav",
        f"{TOP}./audio/evil.wav",
        "//server/share/evil",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(folder, small_esc50, name):
    buffer = io.BytesIO(zipped(small_esc50))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry(name), b"evil")
    assert_refused(folder, buffer.getvalue(), "unsafe entry")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_is_refused(folder, small_esc50, kind):
    buffer = io.BytesIO(zipped(small_esc50))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry(f"{TOP}audio/evil.wav", kind | 0o777), b"/etc/passwd")
    assert_refused(folder, buffer.getvalue(), "unsafe entry")


def test_only_the_dataset_is_unpacked(folder, small_esc50):
    others = (".github/workflow.yml", "setup.py", "meta/esc50-human.xlsx", "audio/sub/deep.wav", "esc50.gif")
    target = unpack(folder, zipped(small_esc50, {TOP + name: b"x" for name in (*others, "README.md")}))
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert {name for name in found if not name.endswith(".wav")} == {"LICENSE", "README.md", "meta/esc50.csv"}
    assert len(found) == 13


def test_an_absurd_size_is_refused_before_anything_is_written(folder, small_esc50, monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_UNPACKED_BYTES", 10_000_000)
    assert_refused(folder, zipped(small_esc50, {TOP + "audio/bomb.wav": bytes(10_000_000)}), "more than 10000000 bytes")


def test_an_absurd_number_of_files_is_refused(folder, small_esc50, monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_FILES", 100)
    assert_refused(folder, zipped(small_esc50, {f"{TOP}x/{i}": b"" for i in range(100)}), "files, so it is not ESC-50")


def test_a_download_that_does_not_end_is_stopped(server, folder, monkeypatch):
    monkeypatch.setattr(fetch_module, "MAX_ARCHIVE_BYTES", len(server.body) - 1)
    for server.chunked in (False, True):
        with pytest.raises(DataError, match="so it is not ESC-50"):
            fetch_small(server, folder)
        assert not (folder / "ESC-50-master").exists()
        if not server.chunked:
            assert names(folder) == []  # a length that is announced is refused before a byte is written


def test_an_entry_twice_is_refused(folder, small_esc50):
    buffer = io.BytesIO(zipped(small_esc50))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(f"{TOP}meta/esc50.csv", b"other")
    assert_refused(folder, buffer.getvalue(), "holds meta/esc50.csv twice")


def test_an_unusual_compression_is_refused(folder, small_esc50):
    buffer = io.BytesIO(zipped(small_esc50))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(f"{TOP}audio/a.wav", b"a" * 100, compress_type=zipfile.ZIP_BZIP2)
    assert_refused(folder, buffer.getvalue(), "compresses audio/a.wav in a way")


def test_a_changed_byte_is_found_by_the_checksum(folder, small_esc50):
    data = bytearray(zipped(small_esc50))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.getinfo(f"{TOP}audio/5-5000-A-0.wav")
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    assert_refused(folder, bytes(data), "a damaged one")


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>"])
def test_what_is_no_archive_is_refused(folder, content):
    assert_refused(folder, content, "is no zip archive")


def test_a_truncated_archive_is_refused(folder, small_esc50):
    data = zipped(small_esc50)
    assert_refused(folder, data[: len(data) // 2], "is no zip archive, or a damaged one")


def test_a_login_page_instead_of_the_archive_is_deleted(server, folder):
    server.body = b"<html>please log in</html>"
    with pytest.raises(DataError, match=r"is no zip archive.*was deleted; run this again"):
        fetch_small(server, folder)
    assert names(folder) == []


# What must be in it


def test_by_default_nothing_but_the_whole_dataset_is_accepted(server, folder):
    with pytest.raises(DataError, match=r"its CSV lists 10 clips, not 2000"):
        fetch("esc50", folder, ignore, address=server.address)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout(clips=12, classes=2, folds=5), "lists 10 clips, not 12"),
        (Layout(clips=10, classes=3, folds=5), "lists 2 classes, not 3"),
        (Layout(clips=10, classes=2, folds=2), "fold 1 has 2 clips, not 5"),
    ],
)
def test_other_counts_are_refused(server, folder, layout, words):
    with pytest.raises(DataError, match=words):
        fetch("esc50", folder, ignore, address=server.address, layout=layout)


def test_a_missing_file_a_file_too_many_and_a_bad_csv_are_refused(tmp_path, small_esc50):
    assert_refused(tmp_path / "a", zipped(small_esc50, {TOP + "audio/extra.wav": b""}), "audio/ holds 11 files, not 10")
    (small_esc50 / "audio" / "1-1000-A-0.wav").unlink()
    assert_refused(tmp_path / "b", zipped(small_esc50), "1 audio files are missing, the first is 1-1000-A-0.wav")
    (small_esc50 / "meta" / "esc50.csv").write_text("filename\n")
    assert_refused(tmp_path / "c", zipped(small_esc50), "lacks the columns fold")


def test_half_a_dataset_in_the_way_is_named_and_not_touched(server, folder):
    target = fetch_small(server, folder)
    (target / "audio" / "1-1000-A-0.wav").unlink()
    for given in (folder, target):
        with pytest.raises(DataError, match=r"not complete \(1 audio files are missing.*move it away"):
            fetch_small(server, given)
    assert len(list((target / "audio").iterdir())) == 9
    assert len(server.requests) == 1


def test_what_a_killed_run_left_is_cleared_away(server, folder):
    stale = folder / "ESC-50-master.unpacking" / "audio" / "stale.wav"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    target = fetch_small(server, folder)
    assert names(folder) == ["ESC-50-master"]
    assert not (target / "audio" / "stale.wav").exists()


def test_an_interrupted_unpacking_leaves_no_half_dataset(folder, small_esc50, monkeypatch):
    def interrupted(source, sink):
        sink.write(b"half")
        raise KeyboardInterrupt

    archive = zipped(small_esc50)
    monkeypatch.setattr(fetch_module.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(folder, archive)
    assert names(folder) == ["ESC-50-master.zip"]


def test_a_full_disk_is_named_and_the_download_kept(server, folder, monkeypatch):
    def full(source, sink):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch_module.shutil, "copyfileobj", full)
        with pytest.raises(DataError, match=r"No space left on device.*needs 1\.6 GB"):
            fetch_small(server, folder)
    assert names(folder) == ["ESC-50-master.zip"]
    fetch_small(server, folder)
    assert len(server.requests) == 1


def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch_small(server, tmp_path / "file" / "data")
