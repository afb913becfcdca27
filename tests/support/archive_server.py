"""A server inside the test that hands out one archive, well or badly; nothing leaves this machine."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from xaibench.sound.esc50_download import Layout, fetch

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
        awake: cleared, the server says nothing after the cut until it is set again (or a minute is over).
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
        self.awake = threading.Event()
        self.awake.set()
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
        server.awake.wait(60)


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


def ignore(done: int, total: int | None) -> None:
    pass


def fetch_small(server: Server, folder: Path, progress=ignore) -> Path:
    return fetch("esc50", folder, progress, address=server.address, layout=SMALL)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
