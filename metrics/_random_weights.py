"""Replace trained weights by random ones, group by group, and restore the trained ones afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from xaibench.sound.batch import clip_seed
from xaibench.sound.randomness import seeded

FEWEST_STAGES, MOST_STAGES = 5, 6

Layer = tuple[str, nn.Module]


@contextmanager
def restored(classifier: nn.Module) -> Iterator[None]:
    """Restore parameters and buffers at the end of the block, even after an exception; inside they may be overwritten.

    A deep copy would be the alternative, but hooks that a classifier has on its own modules would
    then write into the original.
    """
    tensors = [*classifier.parameters(), *classifier.buffers()]
    contents = [tensor.data for tensor in tensors]
    slots: list[dict[str, Any]] = [
        slot for module in classifier.modules() for slot in (module._parameters, module._buffers)
    ]
    names = [dict(slot) for slot in slots]
    try:
        for tensor, content in zip(tensors, contents, strict=True):
            tensor.data = content.clone()
        yield
    finally:
        # A plugin's reset_parameters may have put new tensors into the slots.
        for slot, former in zip(slots, names, strict=True):
            slot.update(former)
        for tensor, content in zip(tensors, contents, strict=True):
            tensor.data = content


def reset(module: nn.Module, seed: int) -> None:
    """Initialise a module by its own `reset_parameters`, on the CPU, so that a GPU gets the same weights."""
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    module.cpu()
    with seeded(seed % 2**32), torch.no_grad():  # 32 bits: other seeds would be other weights than the results'
        module.reset_parameters()  # type: ignore[operator]
    module.to(device)


def randomise(layers: Iterable[Layer], seed: int) -> None:
    """Draw random weights for layers; the weights of a layer depend only on the seed and the layer's name.

    A layer that cannot initialise itself (a bare nn.Parameter: class tokens, position embeddings,
    class vectors), or whose `reset_parameters` leaves a parameter as it was (weight normalisation),
    gets normal values with the mean and standard deviation of the trained ones.
    """
    for name, module in layers:
        trained = {key: tensor.detach().clone() for key, tensor in module.named_parameters(recurse=False)}
        own = clip_seed(seed, name, "random weights")
        if hasattr(module, "reset_parameters"):
            reset(module, own)
        generator = torch.Generator().manual_seed(own)
        for key, former in trained.items():
            present = module._parameters[key]
            assert present is not None
            if torch.equal(present, former):
                draws = torch.randn(former.shape, generator=generator).to(former)
                present.data.copy_(former.mean() + former.std(correction=0) * draws)


def layers(classifier: nn.Module) -> list[Layer]:
    """Return all modules that have something of their own to randomise, in order of registration."""
    return _Part("", classifier).layers


def stages(classifier: nn.Module) -> list[list[Layer]]:
    """Divide a classifier into five or six groups of layers (fewer if there are fewer layers), the output's first.

    The largest module is split into its children until there are at least five groups. The smallest neighbours are
    then joined until there are at most six; the output's group is left alone. The order is that of
    registration, which is the order of computation in a classifier that is written top to bottom.
    """
    parts = [_Part("", classifier)]
    while len(groups := _groups(parts)) < FEWEST_STAGES:
        closed = [part for part in parts if part.inside]
        if not closed:
            break
        largest = max(closed, key=lambda part: part.size)
        at = parts.index(largest)
        parts[at : at + 1] = largest.inside
    while len(groups) > MOST_STAGES:
        sizes = [sum(_size(module, recurse=False) for _, module in group) for group in groups[:-1]]
        at = min(range(len(sizes) - 1), key=lambda i: sizes[i] + sizes[i + 1])
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
    return groups[::-1]


def _groups(parts: Sequence[_Part]) -> list[list[Layer]]:
    """Group the parts' layers; a part without a matrix (a single normalisation) joins the part before it."""
    groups: list[list[Layer]] = []
    for part in parts:
        vectors_only = all(tensor.ndim < 2 for _, module in part.layers for tensor in module.parameters(recurse=False))
        if groups and vectors_only:
            groups[-1] = groups[-1] + part.layers
        elif part.layers:
            groups.append(part.layers)
    return groups


@dataclass(frozen=True)
class _Part:
    """A module with everything in it, or (`alone`) only the tensors of its own."""

    name: str
    module: nn.Module
    alone: bool = False

    @property
    def size(self) -> int:
        return _size(self.module, recurse=not self.alone)

    @property
    def layers(self) -> list[Layer]:
        """Modules that hold tensors of their own to randomise."""
        inside = [(self.name, self.module)] if self.alone else self.module.named_modules(prefix=self.name)
        return [(name, module) for name, module in inside if _has_own(module)]

    @property
    def inside(self) -> list[_Part]:
        """The module's own tensors and its children; empty if it has no children."""
        if self.alone:
            return []
        prefix = f"{self.name}." if self.name else ""
        children = [_Part(prefix + name, child) for name, child in self.module.named_children()]
        children = [child for child in children if child.layers]
        own = [_Part(self.name, self.module, alone=True)] if _has_own(self.module) else []
        return [*own, *children] if children else []


def _has_own(module: nn.Module) -> bool:
    """Tell whether a module has parameters of its own, or statistics that `reset_parameters` resets."""
    resettable = hasattr(module, "reset_parameters") and any(True for _ in module.buffers(recurse=False))
    return resettable or any(True for _ in module.parameters(recurse=False))


def _size(module: nn.Module, recurse: bool) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse))
