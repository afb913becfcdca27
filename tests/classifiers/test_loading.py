"""Batches come in order, one ahead, and on the device asked for."""

from __future__ import annotations

import threading

import pytest
import torch

from xaibench.classifiers.loading import ahead, batches, where_it_fits


def test_batches_are_the_indexed_data() -> None:
    data = torch.arange(24.0).reshape(8, 3)
    indices = torch.tensor([5, 0, 7, 2, 1]).split(2)
    found = list(batches(data, indices, torch.device("cpu")))
    assert [batch.tolist() for batch in found] == [data[index].tolist() for index in indices]


def test_a_gpu_gets_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the way to a GPU that is not here: what is asked of torch is recorded."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("pinned") or self)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, device, non_blocking=False: asked.append((str(device), non_blocking)) or self
    )
    data = torch.arange(8.0)
    found = list(batches(data, torch.arange(6).split(2), torch.device("cuda:1")))
    assert torch.cat(found).tolist() == data[:6].tolist()
    assert asked.count("pinned") == 3
    assert asked.count(("cuda:1", True)) == 3


@pytest.mark.parametrize("count", [0, 1, 5])
def test_ahead_keeps_the_order(count: int) -> None:
    assert list(ahead(lambda item: item**2, range(count))) == [item**2 for item in range(count)]


def test_the_next_is_made_while_this_one_is_used() -> None:
    """With both sides waiting for each other, taking turns would never end."""
    made = [threading.Event() for _ in range(3)]

    def make(item: int) -> int:
        made[item].set()
        return item

    for item in ahead(make, range(3)):
        assert made[min(item + 1, 2)].wait(timeout=20)


def test_what_fails_while_reading_ahead_is_raised_in_its_turn() -> None:
    def make(item: int) -> float:
        return 1 / (2 - item)

    found = ahead(make, range(4))
    assert [next(found), next(found)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(found)


@pytest.mark.parametrize("free", [97, 95])
def test_data_move_to_a_gpu_that_has_room_for_them(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """On a GPU that is not here: 24 bytes are a quarter of 96."""
    moved = torch.zeros(1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1000))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: moved)
    data = torch.arange(6.0)
    assert where_it_fits(data, torch.device("cuda:0")) is (moved if free > 96 else data)
    assert where_it_fits(data, torch.device("cpu")) is data


def test_data_on_the_device_are_indexed_there() -> None:
    data = torch.arange(8.0, device="meta")
    found = list(batches(data, torch.arange(6).split(2), torch.device("meta")))
    assert [batch.device.type for batch in found] == ["meta"] * 3
