"""Batches on their way to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


# Of the free memory of a GPU; the rest is for the network, its gradients and what it keeps for them.
_SHARE_FOR_DATA = 0.25


def where_it_fits(data: Tensor, device: torch.device) -> Tensor:
    """Return data on a GPU if a quarter of its free memory holds them; else where they are."""
    if device.type != "cuda" or data.nbytes > _SHARE_FOR_DATA * torch.cuda.mem_get_info(device)[0]:
        return data
    return data.to(device)


def shuffled(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """Divide the numbers of `count` clips at random into batches of `size`; a last batch of one joins the one before.

    Batch norm over single numbers, as in `CosineHead`, learns nothing from one clip and refuses it.
    """
    found = list(torch.randperm(count, generator=generator).split(size))
    if len(found) > 1 and len(found[-1]) == 1:
        found[-2:] = [torch.cat(found[-2:])]
    return found


def batches(data: Tensor, indices: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """`data[index]` on the device, for each index (batch,) in turn.

    For a GPU the next batch is gathered into pinned memory while the device works on this one, and copied
    without making the processor wait. A CPU has no time of its own for that, and data on the device has no way to
    go: there it is a plain index.
    """
    if device.type != "cuda" or data.device.type == device.type:
        return (data[index].to(device) for index in indices)
    pinned = ahead(lambda index: data[index].pin_memory(), indices)
    return (batch.to(device, non_blocking=True) for batch in pinned)


def ahead(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`make(item)` for each item in turn; the next one is made in a thread while this one is used."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        following = None
        for item in items:
            ready, following = following, reader.submit(make, item)
            if ready is not None:
                yield ready.result()
        if following is not None:
            yield following.result()
