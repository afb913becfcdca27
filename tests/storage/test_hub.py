"""Files from the hub: through the real client, from a server inside the test; nothing leaves this machine."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, utils

from xaibench.errors import CheckpointError
from xaibench.storage import hub

COMMIT = "c0ffee" + 34 * "0"
OTHER = "decade" + 34 * "0"


class Hub(ThreadingHTTPServer):
    """Answers as the hub does for the files of one repository.

    Attributes:
        files: content by name.
        commit: of the main branch.
        asked: paths of the requests for files so far.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.commit = COMMIT
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        self.wfile.write(content)

    def _answer(self) -> bytes:
        hub = self.server
        content = b""
        if self.path == "/":
            self.send_response(200)
        else:
            hub.asked.append(self.path)
            repository, _, rest = self.path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            if repository != "/owner/model":
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
            elif name not in hub.files:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", hub.commit if revision == "main" else revision)
            else:
                content = hub.files[name]
                self.send_response(200)
                self.send_header("X-Repo-Commit", hub.commit if revision == "main" else revision)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub for the time of a test, and an empty cache of its client."""
    made = Hub({"weights.bin": b"numbers", "config.json": b"{}"})
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    point_client_to(made.address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def point_client_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT would before the client is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def recorded_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, in seconds, that somebody asks for from now on, as before another try; none is made."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def fetch(repository: str = "owner/model", optional: tuple[str, ...] = ("config.json", "labels.txt")) -> Path:
    """What the tests ask for."""
    return hub.fetch(repository, [hub.Layout((("model.safetensors", "weights.bin"),), optional)], "xaibench do FOLDER")


def test_named_files_of_one_commit(server: Hub) -> None:
    folder = fetch()
    assert folder.name == COMMIT
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.bin"]
    assert (folder / "weights.bin").read_bytes() == b"numbers"
    assert not any("README" in path for path in server.asked)
    # After the first file the branch is not asked again: it may move.
    after = [path for path in server.asked if "config.json" in path or "labels.txt" in path]
    assert after
    assert all(f"/resolve/{COMMIT}/" in path for path in after)


def test_a_new_commit_is_noticed(server: Hub) -> None:
    fetch()
    server.commit, server.files["weights.bin"] = OTHER, b"others"
    folder = fetch()
    assert folder.name == OTHER
    assert (folder / "weights.bin").read_bytes() == b"others"


def test_what_was_fetched_is_there_without_a_network(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch()
    point_client_to("http://127.0.0.1:9", monkeypatch)
    waits = recorded_waits(monkeypatch)
    assert fetch() == folder
    with pytest.raises(CheckpointError, match=r"owner/model cannot be fetched .*no answer from http://127\.0\.0\.1:9"):
        fetch(optional=("unknown.txt",))  # it may exist: what it says must not be guessed
    assert waits == []


def test_a_dead_network_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_client_to("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    waits = recorded_waits(monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        fetch()
    assert waits == []
    text = str(caught.value)
    assert "\n" not in text
    assert "download model.safetensors or weights.bin (and, if they exist, config.json, labels.txt) from " in text
    assert "http://127.0.0.1:9/owner/model/tree/main into a folder FOLDER, then give 'xaibench do FOLDER'" in text


def test_a_network_that_swallows_everything_is_given_up_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waited: list[float] = []

    class Silent:
        def head(self, url: str, timeout: float) -> None:
            waited.append(timeout)
            raise TimeoutError("timed out")

    monkeypatch.setattr(utils, "get_session", Silent)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no answer from .*: timed out"):
        fetch()
    assert waited == [hub.ASK_SECONDS]
    assert hub.ASK_SECONDS <= 5


def test_offline_by_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Hub) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        fetch()
    assert server.asked == []


def test_repositories_and_files_that_do_not_exist(server: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"owner/other cannot be fetched .*RepositoryNotFound") as caught:
        fetch("owner/other")
    assert "\n" not in str(caught.value)
    del server.files["weights.bin"]
    with pytest.raises(
        CheckpointError, match=r"owner/model on the hub has no model\.safetensors or weights\.bin; down"
    ):
        fetch()


def test_of_several_layouts_the_first_that_is_there_is_taken(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = [hub.Layout((("config.json",), ("a.ckpt", "b.ckpt")), ("labels.txt",)), hub.Layout((("weights.bin",),))]
    folder = hub.fetch("owner/model", layouts, "xaibench do FOLDER")
    assert (folder / "weights.bin").is_file()
    assert not any("labels.txt" in path for path in server.asked)
    (folder.parents[1] / ".no_exist").rename(folder.parents[1] / "forgotten")
    point_client_to("http://127.0.0.1:9", monkeypatch)
    assert hub.fetch("owner/model", layouts, "xaibench do FOLDER") == folder, "all of it is here, whatever else may be"
    point_client_to(server.address, monkeypatch)
    del server.files["weights.bin"]
    server.commit = OTHER
    with pytest.raises(
        CheckpointError, match=r"has no a\.ckpt or b\.ckpt, and no weights\.bin; download config\.json, "
    ):
        hub.fetch("owner/model", layouts, "xaibench do FOLDER")


def test_a_client_that_breaks_is_one_line(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    with pytest.raises(CheckpointError, match=r"owner/model cannot be fetched .*No space left on device") as caught:
        fetch()
    assert "\n" not in str(caught.value)


def test_a_client_that_says_nothing_is_one_line(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*arguments: object, **options: object) -> str:
        raise TimeoutError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", silent)
    with pytest.raises(CheckpointError, match=r"owner/model cannot be fetched from the hub \(TimeoutError"):
        fetch()


@pytest.mark.parametrize("text", ["owner/model", "speechbrain/focalnet-base-esc50", "a/b.c_d"])
def test_what_a_repository_is_called(text: str) -> None:
    assert hub.is_repository(text)


@pytest.mark.parametrize("text", ["model", "/etc/passwd", "../x", "a/b/c", "./a", "a/", "a b/c", "https://x/y"])
def test_what_is_no_repository(text: str) -> None:
    assert not hub.is_repository(text)
