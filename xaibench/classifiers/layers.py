"""Which modules of a network give feature maps, found by watching one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# What explainers read unless they are told another layer: the feature map that a classifier names itself.
FEATURE_MAPS = "feature_maps"
# They work along the last axis, so their channels are there; and dropout gives what it has got.
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)
_NOTHING_OF_ITS_OWN = (nn.Dropout,)


def find_map_layers(network: nn.Module, run: Callable[[], object]) -> dict[str, nn.Module]:
    """Find the modules whose output is a map (batch, channels, h, w), by their names in `network.named_modules()`.

    A module counts if it runs once in the pass and gives one tensor of four axes that has more than one place. Modules
    that are, or hold, a Linear or a LayerNorm are left out, because maps that pass through these have their channels
    last.

    Args:
        network: in evaluation mode; it is left as it was.
        run: makes the pass, of one clip.
    """
    seen: dict[str, list[Any]] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.setdefault(name, []).append(output))
        for name, module in network.named_modules()
        if name and not isinstance(module, _NOTHING_OF_ITS_OWN) and not _has_channels_last(module)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: module for name, module in network.named_modules() if _is_map(seen.get(name, []))}


def noise(samples: int, device: torch.device) -> Tensor:
    """White noise to try a classifier on, (1, samples); always the same."""
    return (0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))).to(device)


def _is_map(outputs: list[Any]) -> bool:
    one = outputs[0] if len(outputs) == 1 else None
    return isinstance(one, Tensor) and one.ndim == 4 and one.shape[2] * one.shape[3] > 1


def _has_channels_last(module: nn.Module) -> bool:
    return any(isinstance(one, _CHANNELS_LAST) for one in module.modules())
