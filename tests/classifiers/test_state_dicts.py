"""State dicts of strangers: small files that would take gigabytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from xaibench.classifiers.state_dicts import read_state
from xaibench.errors import CheckpointError


def test_a_compressed_state_dict_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros shrink a thousandfold: 3 MB were 6.9 GB in memory before they were refused."""
    plain, small = tmp_path / "plain.pt", tmp_path / "small.pt"
    torch.save({"weight": torch.zeros(1_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target:
        for record in source.infolist():
            target.writestr(record.filename, source.read(record))
    assert small.stat().st_size < 10_000
    assert torch.load(small, weights_only=True)["weight"].nbytes == 4_000_000, "torch itself takes it"
    assert read_state(plain)[0]["weight"].shape == (1_000_000,)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(CheckpointError, match=r"small\.pt is compressed, which torch never does; export"):
        read_state(small)
