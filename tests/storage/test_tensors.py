"""Named tensors come back as they were written, whatever their layout; a file that is none is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch

from xaibench.errors import CheckpointError
from xaibench.storage import tensors


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    shared = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    tensors.write(path, {"a": shared.T, "b": shared, "n": torch.tensor(3)}, {"who": "somebody"})
    found, texts = tensors.read(path, "make it again")
    assert texts == {"who": "somebody"}
    assert {name: one.dtype for name, one in found.items()} == {
        "a": torch.float32,
        "b": torch.float32,
        "n": torch.int64,
    }
    assert torch.equal(found["a"], shared.T.float())
    assert torch.equal(found["b"], shared.float())
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_without_texts_there_are_none(tmp_path: Path) -> None:
    tensors.write(tmp_path / "made", {"a": torch.ones(1)})
    assert tensors.read(tmp_path / "made", "")[1] == {}


def test_only_floating_point_numbers_change_their_precision() -> None:
    made = tensors.cast({"x": torch.tensor([1 / 3]), "n": torch.tensor([2**40])}, torch.float16)
    assert made["x"].dtype == torch.float16
    assert made["n"].tolist() == [2**40]


@pytest.mark.parametrize("content", [b"", b"zzz", b"\x80\x04}."])
def test_other_files_are_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "made"
    with pytest.raises(CheckpointError, match=r"made is missing; make it again$"):
        tensors.read(path, "make it again")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"made is not a safetensors file \(.*\); make it again$") as caught:
        tensors.read(path, "make it again")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("precision", [torch.float16, torch.float32])
def test_numbers_that_are_none_are_refused(tmp_path: Path, number: float, precision: torch.dtype) -> None:
    broken = torch.zeros(3, 3, dtype=precision)
    broken[1, 2] = number
    tensors.write(tmp_path / "made", {"whole": torch.ones(2), "broken": broken})
    with pytest.raises(CheckpointError, match=r"made: 'broken' holds NaN or infinite numbers; make it again$"):
        tensors.read(tmp_path / "made", "make it again")
