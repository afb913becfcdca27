"""Sound models made of anything: torch modules, with or without a front end of their own, and black boxes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Activation, Classifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.layers import find_map_layers, noise
from xaibench.classifiers.map_axes import MapAxes, Spacing
from xaibench.classifiers.probing import explained, try_out
from xaibench.errors import ClassifierError, named
from xaibench.sound.audio import clip_samples
from xaibench.sound.domain import Domain
from xaibench.storage import identity
from xaibench.storage.identity import Identity

Returns = Literal["logits", "probabilities"]
# Probabilities are read as at least this, so that their logarithms are finite; p itself moves by no more.
LEAST_PROBABILITY = 1e-12
# Those of a sigmoid stay as far from 1 as float32 can tell, too.
LEAST_OF_SIGMOID = 1e-7
_SUM_TOLERANCE = 1e-3
_ROUNDING = 1e-6  # beyond 0 and 1, of probabilities that were summed in float32
_NAME_OF_NOBODY = "model"


def wrap(
    model: Callable[..., Any],
    *,
    classes: Sequence[str],
    sample_rate: int,
    samples: int | None = None,
    front_end: Callable[[Tensor], Tensor] | None = None,
    layer: str | None = None,
    layer_axes: str = "freq,time",
    axis: Spacing = "linear",
    rows_hz: Sequence[float] | None = None,
    activation: Activation = "softmax",
    temperature: float = 1.0,
    returns: Returns = "logits",
    gradients: bool = True,
    version: str = "",
    name: str | None = None,
) -> Classifier:
    """Make a sound classifier of a torch module, or of any callable on numpy arrays.

    A torch module is put into evaluation mode and frozen (`requires_grad_(False)`), on the device where it is. It is
    used itself, and not copied: training it further changes the classifier. `copy.deepcopy` it first if that is not
    what you want. A callable that is no module is a black box, called with float32 arrays (batch, samples).

    Args:
        model: a torch module from waveforms (batch, samples), or from what `front_end` makes of them, to (batch,
            classes); or a callable from arrays (batch, samples) to arrays (batch, classes).
        classes: names, in the order of the outputs.
        sample_rate: of the waveforms that it hears, in Hz; clips are resampled to it.
        samples: fixed length of the waveforms; clips are cut, or padded with zeros. None: any length.
        front_end: of a torch module, on waveforms (batch, samples): a module or a function. If autograd does not reach
            the waveform through it, the classifier gives no gradients.
        layer: path of the module whose output is the feature map of the class-activation methods, such as "block4": one
            of the names in `model.named_modules()`.
        layer_axes: axes of its output after the batch: "freq,time", "time,freq" or "time", with the channels before
            them; channels that are elsewhere are named, as in "time,channels".
        axis: how the rows of its maps share out the frequencies from 0 Hz to half the sample rate: "linear" or "mel".
        rows_hz: in place of `axis`, the centres in Hz of the rows that the network reads, such as those of its mel
            filters; maps of fewer rows share out these.
        activation: "softmax", or "sigmoid" where several classes may be true of one sound.
        temperature: p = activation(temperature * logits).
        returns: "logits", or "probabilities". These are turned into logits: log p with p at least 1e-12 (softmax), or
            log(p / (1 - p)) with p from 1e-7 to 1 - 1e-7 (sigmoid).
        gradients: whether gradients may be taken; a black box has none.
        version: of a black box; change it whenever its answers change. Without one nothing that was computed of it is
            used again, because nobody can tell that it would be the same.
        name: in results; by default that of the model's class or function.

    Raises:
        ClassifierError: the model does not do what was said of it. Torch modules are tried at once, on noise and on
            silence; a black box says so when it is first asked.
    """
    config = WrapConfig(
        name=_name_of(model) if name is None else name,
        classes=tuple(classes) if not isinstance(classes, str) else (),
        sample_rate=sample_rate,
        samples=samples,
        activation=activation,
        temperature=temperature,
        returns=returns,
    )
    if isinstance(model, nn.Module):
        if version:
            raise ClassifierError("version is for black boxes; a torch module is told by its weights and code")
        rows: Spacing | tuple[float, ...] = axis if rows_hz is None else tuple(map(float, rows_hz))
        module = WrappedModule(config, model, front_end, layer, _order(layer_axes), _axes(rows, config), gradients)
        freeze(module)
        if not try_out(module, gradients):
            module.give_no_gradients()
        return module
    if not callable(model):
        raise ClassifierError(f"a {type(model).__name__} is no model; give a torch module, or a function of arrays")
    if gradients:
        raise ClassifierError(
            f"{config.name} is no torch module and gives no gradients: it is called with numpy arrays; say "
            "gradients=False, or put a function of tensors into a torch.nn.Module"
        )
    for argument, value in (("front_end", front_end), ("layer", layer), ("rows_hz", rows_hz)):
        if value is not None:
            raise ClassifierError(f"{argument} is for torch modules, and {config.name} is none; leave it out")
    return freeze(BlackBox(config, model, version))


@dataclass(frozen=True, kw_only=True)
class WrapConfig:
    """What is said of a wrapped model, whatever it is; the attributes are arguments of `wrap`.

    Raises:
        ClassifierError: a value makes no sense.
    """

    name: str
    classes: tuple[str, ...]
    sample_rate: int
    samples: int | None
    activation: Activation
    temperature: float
    returns: Returns

    def __post_init__(self) -> None:
        odd = (
            (not self.classes, "classes: give the names of all outputs, in their order, as a list"),
            (
                len(self.classes) == 1 and self.activation == "softmax",
                'classes: the softmax of one class is 1 whatever is heard; say activation="sigmoid", or name others',
            ),
            (len(set(self.classes)) < len(self.classes), "classes: two have the same name; give each its own"),
            (not _is_count(self.sample_rate), f"sample_rate is {self.sample_rate!r}; give a whole number of Hz"),
            (
                self.samples is not None and not _is_count(self.samples),
                f"samples is {self.samples!r}; give a whole number, or None for any length",
            ),
            (
                self.activation not in get_args(Activation),
                f"activation is {self.activation!r}; give one of {', '.join(get_args(Activation))}",
            ),
            (
                self.returns not in get_args(Returns),
                f"returns is {self.returns!r}; give one of {', '.join(get_args(Returns))}",
            ),
            (not 0 < self.temperature < float("inf"), f"temperature is {self.temperature}; give a positive number"),
        )
        for wrong, words in odd:
            if wrong:
                raise ClassifierError(words)


class _Wrapped(Classifier):
    """What wrapped models of all kinds have in common."""

    def __init__(self, config: WrapConfig) -> None:
        super().__init__(config.name, "sound", config.classes, config.temperature)
        self.activation, self.returns = config.activation, config.returns
        self.sample_rate, self.samples = config.sample_rate, config.samples
        self.domain = Domain.at(config.sample_rate)
        self.settings = {"returns": config.returns}

    def bare(self, waveform: Tensor) -> Any:
        """Ask the model itself about waveforms (batch, samples), as its owner would."""
        raise NotImplementedError

    def _check_length(self, waveform: Tensor) -> None:
        if self.samples is not None and waveform.shape[1] != self.samples:
            raise ClassifierError(
                f"{self.name} hears {self.samples} samples at {self.sample_rate} Hz, and got {waveform.shape[1]}; cut "
                "or pad the waveform, or wrap the model with samples=None if any length will do"
            )

    def _check_shape(self, shape: tuple[int, ...], count: int) -> None:
        expected = (count, len(self.classes))
        if shape == expected:
            return
        if len(shape) == 2 and shape[0] == count:
            raise ClassifierError(
                f"{self.name} gives {shape[1]} logits, and classes names {expected[1]}; name all of them, in their "
                "order"
            )
        raise ClassifierError(
            f"{self.name} gives an output of shape {shape} for {count} clips, expected (batch, classes) = {expected}; "
            "wrap a model that gives one row of logits for each clip"
        )

    def _check_probabilities(self, low: float, high: float, sums: tuple[float, float]) -> None:
        """Refuse numbers that are no probabilities; NaN is refused where logits are looked at."""
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ClassifierError(
                f"{self.name} gives values from {low:.3g} to {high:.3g}, which are no probabilities; say "
                'returns="logits"'
            )
        worst = max(sums, key=lambda total: abs(total - 1))
        if self.activation == "softmax" and abs(worst - 1) > _SUM_TOLERANCE:
            raise ClassifierError(
                f'{self.name} gives probabilities that sum to {worst:.3g}; say activation="sigmoid" if several '
                'classes may be true of one sound, or returns="logits"'
            )

    def _as_logits(self, output: Tensor) -> Tensor:
        """Turn what the model returns (batch, classes) into logits; gradients flow."""
        if self.returns == "logits":
            return output
        with torch.no_grad():
            sums = output.sum(dim=1).aminmax()
            low, high = output.aminmax()
        self._check_probabilities(float(low), float(high), (float(sums.min), float(sums.max)))
        if self.activation == "softmax":
            return output.clamp(min=LEAST_PROBABILITY).log()
        return output.logit(eps=LEAST_OF_SIGMOID)


class WrappedModule(_Wrapped):
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


class BlackBox(_Wrapped):
    """A callable from float32 arrays (batch, samples) to arrays (batch, classes) as a sound classifier.

    Args:
        config: what is said of it.
        predict: the callable.
        version: of it, or "".
    """

    capabilities = frozenset()

    def __init__(self, config: WrapConfig, predict: Callable[[np.ndarray], Any], version: str) -> None:
        super().__init__(config)
        self.predict, self.version = predict, version
        self.settings |= {"version": version}

    def logits(self, waveform: Tensor) -> Tensor:
        self._check_length(waveform)
        try:
            output = np.array(self.bare(waveform), dtype=np.float64)  # a copy: some runtimes use one array again
        except (TypeError, ValueError) as error:
            raise ClassifierError(
                f"{self.name} fails on an array {tuple(waveform.shape)}: {named(error)}; expected a function from "
                "float32 (batch, samples) to (batch, classes)"
            ) from error
        self._check_shape(output.shape, len(waveform))
        return self._as_logits(torch.from_numpy(output)).to(waveform.device, torch.float32)

    def bare(self, waveform: Tensor) -> Any:
        # A copy as well, since it may write to what it is given.
        return self.predict(np.array(waveform.detach().cpu().numpy(), dtype=np.float32))

    def code_identity(self) -> Identity:
        if not self.version:
            return Identity("", f"{self.name} is a black box without a version; wrap it with version=...")
        return super().code_identity()


_AXES = ("channels", "freq", "time")


def _order(layer_axes: str) -> tuple[str, ...]:
    """Read `layer_axes`: the axes after the batch, with the channels first where they are not named."""
    axes = tuple(one.strip() for one in layer_axes.split(","))
    order = axes if "channels" in axes else ("channels", *axes)
    if len(set(order)) < len(order) or not {"channels", "time"} <= set(order) <= set(_AXES):
        raise ClassifierError(
            f'layer_axes is {layer_axes!r}; give "freq,time", "time,freq" or "time", with the channels where they '
            'are not first, as in "time,channels"'
        )
    return order


def _axes(rows: Spacing | tuple[float, ...], config: WrapConfig) -> MapAxes:
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


def _name_of(model: object) -> str:
    """Name a model after its class or function, as results can hold it."""
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
    return re.sub(r"[^A-Za-z0-9._-]", "", name).lstrip("._-") or _NAME_OF_NOBODY


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
