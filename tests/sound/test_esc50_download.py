"""Downloading and resuming, against a server inside the test; nothing leaves this machine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx2
import pytest

from tests.support.archive_server import SMALL, Server, fetch_small, ignore, names, running, zipped
from xaibench.errors import DataError
from xaibench.sound import esc50_download as fetch_module
from xaibench.sound.esc50 import Esc50
from xaibench.sound.esc50_download import ADDRESS, OFFICIAL, Layout, fetch


def interrupt(server: Server, folder: Path, at: int) -> str:
    """Break a download off after some bytes; what is said of it."""
    server.cut = at
    with pytest.raises(DataError, match="run this again to continue it") as caught:
        fetch_small(server, folder)
    server.cut = None
    assert (folder / "ESC-50-master.zip.part").stat().st_size == at
    return str(caught.value)


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
    server.awake.clear()
    assert "timed out" in interrupt(server, folder, 3000), "the client, not the server, ended it"
    server.awake.set()
    fetch_small(server, folder)
    assert server.requests[-1]["Range"] == "bytes=3000-"


# No network


def assert_says_what_to_do_by_hand(error: pytest.ExceptionInfo[DataError], address: str, folder: Path) -> None:
    assert address in str(error.value)
    assert f"save it as {folder / 'ESC-50-master.zip'}, and run this again" in str(error.value)


def test_a_refused_connection_fails_at_once(folder, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    connect, tries = socket.create_connection, []
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kw: (tries.append(args), connect(*args, **kw))[1])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/archive.zip"
        with pytest.raises(DataError, match="refused") as caught:
            fetch("esc50", folder, ignore, address=address)
    assert len(tries) == 1
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
        end = threading.Timer(60, silent.close)  # a client without a limit would wait for ever
        end.start()
        with pytest.raises(DataError, match="timed out") as caught:
            fetch("esc50", folder, ignore, address=address)
        end.cancel()
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


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_redirect_out_of_tls_is_refused(folder, monkeypatch, comes_back):
    """Also where a later redirect would come back to TLS; the address outside it is never asked."""
    outside, inside = "http://elsewhere/archive.zip", "https://elsewhere/archive.zip"
    asked = []

    def answer(transport, request):
        asked.append(str(request.url))
        if comes_back and str(request.url) == outside:
            return httpx2.Response(302, headers={"Location": inside})
        return httpx2.Response(302, headers={"Location": outside})

    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", answer)
    with pytest.raises(DataError, match=f"redirects to {outside}, which is not https") as caught:
        fetch("esc50", folder, ignore, layout=SMALL)
    assert_says_what_to_do_by_hand(caught, ADDRESS, folder)
    assert asked == [ADDRESS]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "SSL_CERT_FILE"])
def test_proxies_and_certificates_that_cannot_be_used_are_named(folder, monkeypatch, variable):
    monkeypatch.setenv(variable, "ftp://nowhere")
    with pytest.raises(DataError, match="proxy or certificates") as caught:
        fetch("esc50", folder, ignore)
    assert_says_what_to_do_by_hand(caught, ADDRESS, folder)


def test_an_archive_downloaded_by_hand_is_used_without_network_and_kept(folder, small_esc50, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    folder.mkdir()
    (folder / "ESC-50-master.zip").write_bytes(zipped(small_esc50))
    target = fetch("esc50", folder, ignore, layout=SMALL)
    assert len(Esc50(target).clips) == 10
    assert names(folder) == ["ESC-50-master", "ESC-50-master.zip"]
