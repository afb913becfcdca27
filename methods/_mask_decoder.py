"""Decoder from a classifier's feature maps to a mask of the size of its image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskDecoder(nn.Module):
    """Network that doubles the size of the deepest map up to the classifier's image, and adds shallower maps.

    Sizes may be odd and need not divide the image's, because every step resizes to an explicit size.

    Args:
        channels: channels of the maps, shallow to deep.
        sizes: (h, w) of the maps, in the same order.
        image_size: (height, width) of the mask.
        width: channels at half the image's size; they double each time the size halves, up to 4 times `width`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        sizes: Sequence[tuple[int, int]],
        image_size: tuple[int, int],
        width: int,
    ) -> None:
        super().__init__()
        self.sizes = _doublings(sizes[-1], image_size)
        steps = len(self.sizes)
        widths = [int(min(4 * width, max(4, width * 2.0 ** (steps - 2 - i)))) for i in range(steps)]
        entering = [widths[0], *widths[:-1]]
        self.skip_step = [self._first_as_large(size) for size in sizes]
        self.skips = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(count, affine=False), nn.Conv2d(count, entering[step], 1))
            for count, step in zip(channels, self.skip_step, strict=True)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in zip(entering, widths, strict=True)
        )
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def _first_as_large(self, size: tuple[int, int]) -> int:
        fits = [i for i, (h, w) in enumerate(self.sizes) if h >= size[0] and w >= size[1]]
        return fits[0] if fits else len(self.sizes) - 1

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits of a mask (batch, height, width) for maps (batch, channels, h, w), shallow to deep."""
        features: Tensor | None = None
        for step, (size, convolution) in enumerate(zip(self.sizes, self.steps, strict=True)):
            taken = [
                _resize(skip(one), size)
                for skip, one, at in zip(self.skips, maps, self.skip_step, strict=True)
                if at == step
            ]
            if features is not None:
                taken.append(_resize(features, size))
            # If no map enters at this size, there is always the step before.
            features = convolution(torch.stack(taken).sum(dim=0) if len(taken) > 1 else taken[0])
        assert features is not None
        return self.last(features)[:, 0]


def _doublings(size: tuple[int, int], largest: tuple[int, int]) -> list[tuple[int, int]]:
    """List sizes from `size` to `largest`, each at most twice the one before."""
    height, width = min(size[0], largest[0]), min(size[1], largest[1])
    found = [(height, width)]
    while (height, width) != largest:
        height, width = min(2 * height, largest[0]), min(2 * width, largest[1])
        found.append((height, width))
    return found


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
