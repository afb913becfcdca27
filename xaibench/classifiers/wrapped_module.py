"""Torch modules as sound classifiers, with or without a front end of their own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.classifiers.layers import find_map_layers, noise
from xaibench.classifiers.map_axes import MapAxes, Spacing
from xaibench.classifiers.probing import explained
from xaibench.classifiers.wrapped_base import WrapConfig, Wrapped
from xaibench.errors import ClassifierError
from xaibench.sound.audio import clip_samples
from xaibench.storage import identity
from xaibench.storage.identity import Identity

_AXES = ("channels", "freq", "time")


class WrappedModule(Wrapped):
    """A torch module as a sound classifier.

    Attributes:
        net: the module.
        front_end: what turns waveforms into its input; None where it takes waveforms.
        feature_maps: an identity module through which the output of `layer` passes, as (batch, channels, freq, time).

    Args:
        config: what is said of it.
        net, front_end, layer: as in `wrap`.
        order: axes of the layer's output: where channels, freq and time are, without the batch.
        axes: where the layer's maps lie.
        gradients: whether gradients may be taken.
    """

    def __init__(
        self,
        config: WrapConfig,
        net: nn.Module,
        front_end: Callable[[Tensor], Tensor] | None,
        layer: str | None,
        order: tuple[str, ...],
        axes: MapAxes,
        gradients: bool,
    ) -> None:
        super().__init__(config)
        self.net, self.front_end = net, front_end
        self.layer, self._order, self._axes = layer, order, axes
        self.capabilities = frozenset({"gradients"} if gradients else ())
        self.settings |= {"gradients": gradients}
        if layer is not None:
            _find(net, layer)
            self.feature_maps = nn.Identity()
            self.capabilities |= {"feature_map"}
            self.settings |= {"layer": layer, "layer_axes": ",".join(order), "rows": axes.rows}

    def logits(self, waveform: Tensor) -> Tensor:
        self._check_length(waveform)
        self._check_mode()
        try:
            with self._through_feature_maps():
                output = self.bare(waveform)
        except RuntimeError as error:
            known = explained(self, error, waveform)
            if known is None:
                raise
            raise known from error
        if not isinstance(output, Tensor):
            raise ClassifierError(
                f"{self.name} returns a {type(output).__name__}, expected a tensor of logits (batch, classes); wrap a "
                "module whose forward() picks it out"
            )
        if output.device != waveform.device:
            raise ClassifierError(
                f"{self.name} hears on {waveform.device} and answers on {output.device}; move all of it to one device "
                "and wrap it again"
            )
        self._check_shape(tuple(output.shape), len(waveform))
        return self._as_logits(output)

    def bare(self, waveform: Tensor) -> Any:
        if "gradients" not in self.capabilities:
            waveform = waveform.detach()  # a front end through numpy takes no tensor that asks for a gradient
        return self.net(waveform if self.front_end is None else self.front_end(waveform))

    def _check_mode(self) -> None:
        """Refuse a net that its owner has put into training mode since it was wrapped: it would answer at random."""
        if not self.training and not torch.compiler.is_compiling() and any(one.training for one in self.net.modules()):
            raise ClassifierError(
                f"{self.name} is in training mode, where dropout and batch norm answer otherwise from pass to pass; "
                "call eval() on the model that was wrapped"
            )

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        """Bring maps (batch, h, w) of the layer to the picture (batch, *shape)."""
        return self._axes.to_picture(maps, shape, self.domain)

    def map_layers(self) -> dict[str, nn.Module]:
        """Find the modules of the net that give maps (batch, channels, freq, time), by the net's own names.

        Where `layer_axes` says that its maps have other axes, it is the named layer alone, as `feature_maps`.
        """
        own = super().map_layers()
        if not own or self._order != _AXES:
            return own
        clip = noise(self.samples or clip_samples(self.sample_rate), self.device)
        return find_map_layers(self.net, lambda: self.logits(clip)) | own

    def give_no_gradients(self) -> None:
        """Declare that autograd does not reach the waveform."""
        self.capabilities -= {"gradients"}
        self.settings |= {"gradients": False}

    def code_identity(self) -> Identity:
        return identity.joined(super().code_identity(), identity.of_object((self.net, self.front_end)))

    @contextmanager
    def _through_feature_maps(self) -> Iterator[None]:
        """Lead the output of the layer through `feature_maps` for one call; the module keeps no hook."""
        if self.layer is None:
            yield
            return

        def lead(module: nn.Module, given: Any, output: Any) -> Any:
            first, *rest = output if isinstance(output, tuple) else (output,)
            passed = self._back(self.feature_maps(self._in_order(first)))
            return (passed, *rest) if isinstance(output, tuple) else passed

        handle = _find(self.net, self.layer).register_forward_hook(lead)
        try:
            yield
        finally:
            handle.remove()

    def _in_order(self, output: Any) -> Tensor:
        """Put the layer's output into the order (batch, channels, freq, time)."""
        if not isinstance(output, Tensor) or output.ndim != len(self._order) + 1:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            expected = ", ".join(("batch", *self._order))
            raise ClassifierError(
                f"layer {self.layer!r} of {self.name} gives {shape}, and layer_axes says ({expected}); name its axes, "
                'such as layer_axes="time", "time,freq" or "time,channels"'
            )
        ordered = output.permute(0, *(1 + self._order.index(axis) for axis in _AXES if axis in self._order))
        return ordered if "freq" in self._order else ordered.unsqueeze(2)

    def _back(self, maps: Tensor) -> Tensor:
        """Undo `_in_order`."""
        present = [axis for axis in _AXES if axis in self._order]
        maps = maps if "freq" in self._order else maps.squeeze(2)
        return maps.permute(0, *(1 + present.index(axis) for axis in self._order))


def order_of(layer_axes: str) -> tuple[str, ...]:
    """Read `layer_axes`: the axes after the batch, with the channels first where they are not named."""
    axes = tuple(one.strip() for one in layer_axes.split(","))
    order = axes if "channels" in axes else ("channels", *axes)
    if len(set(order)) < len(order) or not {"channels", "time"} <= set(order) <= set(_AXES):
        raise ClassifierError(
            f'layer_axes is {layer_axes!r}; give "freq,time", "time,freq" or "time", with the channels where they '
            'are not first, as in "time,channels"'
        )
    return order


def axes_of(rows: Spacing | tuple[float, ...], config: WrapConfig) -> MapAxes:
    if isinstance(rows, str):
        if rows not in get_args(Spacing):
            raise ClassifierError(f"axis is {rows!r}; give one of {', '.join(get_args(Spacing))}, or rows_hz")
        return MapAxes(rows)
    steps = np.diff(rows)
    if not rows or not ((steps > 0).all() or (steps < 0).all()) or min(rows) < 0 or max(rows) > config.sample_rate / 2:
        raise ClassifierError(
            f"rows_hz must rise, or fall, from row to row, between 0 and {config.sample_rate / 2:g} Hz; give the "
            "centre of each row that the network reads"
        )
    return MapAxes(rows)


def _find(net: nn.Module, layer: str) -> nn.Module:
    """Find a module by its path."""
    modules = dict(net.named_modules())
    modules.pop("", None)
    if layer in modules:
        return modules[layer]
    near = difflib.get_close_matches(layer, modules, n=3, cutoff=0.4) or list(modules)[-3:]
    there = f"; there are {', '.join(near)}" if near else ""
    raise ClassifierError(
        f"{type(net).__name__} has no layer {layer!r}{there} (all names are those of model.named_modules())"
    )
