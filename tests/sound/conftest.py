"""A server with a small dataset, and where to put it."""

from __future__ import annotations

import pytest

from tests.support.archive_server import Server, running, zipped


@pytest.fixture
def server(small_esc50, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running(Server(zipped(small_esc50))) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"
