"""The resize as two matrix products: what torch's kernel gives, with its gradient, and when it is used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from xaibench.classifiers import resize as module
from xaibench.classifiers.resize import resize, resize_by_products
from xaibench.sound.audio import PICTURE_SHAPE


def with_gradient(function, size: tuple[int, int], new_size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    maps = torch.randn(2, *size, generator=draws).requires_grad_()
    resized = function(maps, new_size)
    (gradient,) = torch.autograd.grad((resized * torch.randn(resized.shape, generator=draws)).sum(), maps)
    return resized, gradient


@pytest.mark.parametrize(
    ("size", "new_size"),
    [(PICTURE_SHAPE, (128, 128)), ((8, 8), PICTURE_SHAPE), (PICTURE_SHAPE, (600, 50)), ((5, 7), (5, 7))],
)
def test_products_are_the_resize(size: tuple[int, int], new_size: tuple[int, int]) -> None:
    for found, expected in zip(*(with_gradient(f, size, new_size) for f in (resize_by_products, resize)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
def test_products_only_where_a_gradient_is_asked_of_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device stands in for a GPU: it computes nothing, so the weights of the products need none either."""
    asked = []

    def record(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        asked.append(maps.device.type)
        return maps

    monkeypatch.setattr(module, "resize_by_products", record)
    for device in ("cpu", "meta"):
        for requires_grad in (False, True):
            resize(torch.zeros(1, 4, 4, device=device, requires_grad=requires_grad), (2, 2))
    assert asked == ["meta"]
