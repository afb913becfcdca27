"""Downloading, resuming and unpacking, against a server inside the test; nothing leaves this machine."""

from __future__ import annotations

import io
import re
import socket
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from xaibench.data import fetch as fetch_module
from xaibench.data.esc50 import Esc50
from xaibench.data.fetch import ADDRESS, OFFICIAL, Layout, fetch
from xaibench.errors import DataError

SMALL = Layout(clips=10, classes=2, folds=5)
TOP = "ESC-50-master/"


class Server(ThreadingHTTPServer):
    """Serves one file at any path, well or badly.

    Attributes:
        body: the bytes of the file.
        version: its ETag, or "" for none.
        ranges: whether Range is honoured.
        careless: whether a range is sent without looking at If-Range.
        shift: by how many bytes the range that is sent differs from the range asked for.
        chunked: whether the length is kept secret, as GitHub does.
        cut: bytes of the body after which the connection is closed.
        stall: seconds of silence after the cut.
        status: an error to answer instead.
        redirect: an address to send the client to instead.
        requests: headers of the requests so far.
    """

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.version = body, '"v1"'
        self.ranges, self.careless, self.chunked = True, False, False
        self.shift = 0
        self.cut: int | None = None
        self.stall = 0.0
        self.status: int | None = None
        self.redirect = ""
        self.requests: list[dict[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.zip"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        self.close_connection = True
        if server.status:
            self.send_error(server.status)
            return
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, start = server.body, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", server.version) == server.version or server.careless
        if wanted and server.ranges and same:
            start = int(wanted[1]) + server.shift
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.version:
            self.send_header("ETag", server.version)
        end = len(body) if server.cut is None else server.cut
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(start, min(end, len(body)), 1000):
                block = body[at : min(at + 1000, end)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            if server.cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start:end])
        self.wfile.flush()
        time.sleep(server.stall)


def zipped(folder: Path, extra: dict[str, bytes] | None = None) -> bytes:
    """The archive of a dataset folder as GitHub makes it, with more entries if given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TOP, b"")
        for path in sorted(folder.rglob("*")):
            archive.write(path, TOP + path.relative_to(folder).as_posix())
        for name, content in {
            TOP + "LICENSE": b"CC BY-NC",
            TOP + "tests/test_dataset.py": b"",
            **(extra or {}),
        }.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(small_esc50, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running(Server(zipped(small_esc50))) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def ignore(done: int, total: int | None) -> None:
    pass


def fetch_small(server: Server, folder: Path, progress=ignore) -> Path:
    return fetch("esc50", folder, progress, address=server.address, layout=SMALL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(server: Server, folder: Path, at: int) -> None:
    server.cut = at
    with pytest.raises(DataError, match="run this again to continue it"):
        fetch_small(server, folder)
    server.cut = None
    assert (folder / "ESC-50-master.zip.part").stat().st_size == at


# A good download


def test_the_official_dataset_is_what_is_asked_for_by_default():
    assert ADDRESS == "https://github.com/karoldvl/ESC-50/archive/master.zip"
    assert Layout(clips=2000, classes=50, folds=5) == OFFICIAL


def test_a_download_is_a_dataset_and_leaves_nothing_else(server, folder, small_esc50):
    target = fetch_small(server, folder)
    assert target == folder / "ESC-50-master"
    assert names(folder) == ["ESC-50-master"]
    assert names(target) == ["LICENSE", "audio", "meta"]  # not the tests of the repository
    assert Esc50(target).fingerprint() == Esc50(small_esc50).fingerprint()
    for path in (small_esc50 / "audio").iterdir():
        assert (target / "audio" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("chunked", [False, True])
def test_progress_rises_to_the_whole(server, folder, chunked):
    server.chunked = chunked
    steps = []
    fetch_small(server, folder, lambda done, total: steps.append((done, total)))
    assert {total for _, total in steps} == {None if chunked else len(server.body)}
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == len(server.body)


def test_a_dataset_that_is_there_is_not_downloaded_again(server, folder):
    target = fetch_small(server, folder)
    assert fetch_small(server, folder) == target
    assert fetch_small(server, target) == target  # its own folder is known, too
    assert len(server.requests) == 1


def test_esc10_is_in_the_same_archive(server, folder):
    fetch("esc10", folder, ignore, address=server.address, layout=SMALL)
    assert names(folder) == ["ESC-50-master"]


def test_other_datasets_are_refused(folder):
    with pytest.raises(DataError, match="'synth' is not downloaded; fetch knows esc10 and esc50"):
        fetch("synth", folder, ignore)


def test_a_redirect_is_followed(server, folder):
    with running(Server(b"")) as front:
        front.redirect = server.address
        interrupt(server, folder, 3000)
        fetch_small(front, folder)
    assert server.requests[-1]["Range"] == "bytes=3000-"


# Broken downloads


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_download_is_continued(server, folder, chunked):
    server.chunked = chunked
    interrupt(server, folder, 3000)
    steps = []
    fetch_small(server, folder, lambda done, total: steps.append(done))
    assert server.requests[-1]["Range"] == "bytes=3000-"
    assert server.requests[-1]["If-Range"] == '"v1"'
    assert steps[0] == 3000
    assert steps[-1] == len(server.body)
    assert names(folder) == ["ESC-50-master"]


def test_a_download_broken_twice_is_continued_twice(server, folder):
    interrupt(server, folder, 3000)
    interrupt(server, folder, 5000)
    fetch_small(server, folder)
    assert [request.get("Range") for request in server.requests] == [None, "bytes=3000-", "bytes=5000-"]


@pytest.mark.parametrize("careless", [False, True])
@pytest.mark.parametrize("weak", [False, True])
def test_a_file_that_changed_is_downloaded_from_the_start(server, folder, small_esc50, careless, weak):
    server.version = 'W/"v1"' if weak else '"v1"'
    server.careless = careless
    interrupt(server, folder, 3000)
    server.version = 'W/"v2"' if weak else '"v2"'
    first = small_esc50 / "audio" / "1-1000-A-0.wav"  # so that the bytes differ where the part has its own
    first.write_bytes(first.read_bytes()[::-1])
    server.body = zipped(small_esc50)
    target = fetch_small(server, folder)
    assert (target / "audio" / first.name).read_bytes() == first.read_bytes()


def test_another_range_than_the_one_asked_for_is_not_appended(server, folder):
    interrupt(server, folder, 3000)
    server.shift = 500
    fetch_small(server, folder)
    assert names(folder) == ["ESC-50-master"]


def test_a_weak_version_is_never_sent_as_a_condition(server, folder):
    server.version = 'W/"v1"'
    interrupt(server, folder, 3000)
    fetch_small(server, folder)
    assert "If-Range" not in server.requests[-1]
    assert server.requests[-1]["Range"] == "bytes=3000-"


def test_a_server_without_ranges_sends_everything_again(server, folder):
    server.ranges = False
    interrupt(server, folder, 3000)
    interrupt(server, folder, 2000)  # which asserts that the file holds the second answer only
    steps = []
    fetch_small(server, folder, lambda done, total: steps.append(done))
    assert steps[0] == 0
    assert names(folder) == ["ESC-50-master"]


def test_a_part_of_unknown_version_is_not_continued(server, folder):
    server.version = ""
    interrupt(server, folder, 3000)
    fetch_small(server, folder)
    assert "Range" not in server.requests[-1]


def test_a_part_longer_than_the_file_is_downloaded_again(server, folder):
    interrupt(server, folder, 3000)
    (folder / "ESC-50-master.zip.part").write_bytes(bytes(len(server.body) + 5))
    fetch_small(server, folder)
    assert [request.get("Range") is None for request in server.requests] == [True, False, True]
    assert names(folder) == ["ESC-50-master"]


def test_a_damaged_part_is_found_out_by_the_checksums_and_the_next_run_starts_afresh(server, folder):
    interrupt(server, folder, 3000)
    (folder / "ESC-50-master.zip.part").write_bytes(bytes(3000))
    with pytest.raises(DataError, match="was deleted; run this again"):
        fetch_small(server, folder)
    assert names(folder) == []
    fetch_small(server, folder)
    assert names(folder) == ["ESC-50-master"]


def test_a_server_that_falls_silent_is_given_up_and_what_came_is_kept(server, folder, monkeypatch):
    monkeypatch.setattr(fetch_module, "READ_SECONDS", 0.2)
    server.stall = 1.0
    start = time.monotonic()
    interrupt(server, folder, 3000)
    assert time.monotonic() - start < 1.0
    server.stall = 0.0
    fetch_small(server, folder)
    assert server.requests[-1]["Range"] == "bytes=3000-"


# No network


def assert_says_what_to_do_by_hand(error: pytest.ExceptionInfo[DataError], address: str, folder: Path) -> None:
    assert address in str(error.value)
    assert f"save it as {folder / 'ESC-50-master.zip'}, and run this again" in str(error.value)


def test_a_refused_connection_fails_at_once(folder, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/archive.zip"
        start = time.monotonic()
        with pytest.raises(DataError, match="refused") as caught:
            fetch("esc50", folder, ignore, address=address)
    assert time.monotonic() - start < 2
    assert_says_what_to_do_by_hand(caught, address, folder)


def test_a_name_that_does_not_resolve_fails_at_once(folder, monkeypatch):
    def no_network(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(DataError, match="name resolution") as caught:
        fetch("esc50", folder, ignore)
    assert_says_what_to_do_by_hand(caught, ADDRESS, folder)
    assert names(folder) == []


def test_a_connection_that_does_not_come_up_is_given_up(folder, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch_module, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers the TLS greeting
        address = f"https://127.0.0.1:{silent.getsockname()[1]}/archive.zip"
        start = time.monotonic()
        with pytest.raises(DataError, match="timed out") as caught:
            fetch("esc50", folder, ignore, address=address)
    assert time.monotonic() - start < 2
    assert_says_what_to_do_by_hand(caught, address, folder)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_error_of_the_server_is_named(server, folder, status):
    server.status = status
    with pytest.raises(DataError, match=f"HTTP {status}") as caught:
        fetch_small(server, folder)
    assert_says_what_to_do_by_hand(caught, server.address, folder)


def test_a_server_that_speaks_no_http_is_named(folder, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer():
            connection, _ = odd.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"hello\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(DataError, match="hello"):
            fetch("esc50", folder, ignore, address=f"http://127.0.0.1:{odd.getsockname()[1]}/")
        thread.join()


def test_a_redirect_out_of_tls_is_refused(server, folder, monkeypatch):
    """The answer's address is what counts, so an opener that ends at http stands in for TLS here."""

    class Redirected:
        def open(self, request, timeout):
            return opener.open(server.address, timeout=timeout)

    opener = fetch_module.urllib.request.build_opener()
    monkeypatch.setattr(fetch_module.urllib.request, "build_opener", lambda *handlers: Redirected())
    with pytest.raises(DataError, match="which is not https"):
        fetch("esc50", folder, ignore, layout=SMALL)


def test_an_archive_downloaded_by_hand_is_used_without_network_and_kept(folder, small_esc50, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    folder.mkdir()
    (folder / "ESC-50-master.zip").write_bytes(zipped(small_esc50))
    target = fetch("esc50", folder, ignore, layout=SMALL)
    assert len(Esc50(target).clips) == 10
    assert names(folder) == ["ESC-50-master", "ESC-50-master.zip"]


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
