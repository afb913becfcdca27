"""Make sound classifiers of anything: torch modules, with or without a front end of their own, and black boxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from xaibench.classifiers.base import Activation, Classifier
from xaibench.classifiers.black_box import BlackBox
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.map_axes import Spacing
from xaibench.classifiers.probing import try_out
from xaibench.classifiers.wrapped_base import Returns, WrapConfig, as_int
from xaibench.classifiers.wrapped_module import WrappedModule, axes_of, order_of
from xaibench.errors import ClassifierError

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
        classes=_names(classes),
        sample_rate=as_int(sample_rate),
        samples=as_int(samples),
        activation=activation,
        temperature=temperature,
        returns=returns,
    )
    if isinstance(model, nn.Module):
        if version:
            raise ClassifierError("version is for black boxes; a torch module is told by its weights and code")
        rows: Spacing | tuple[float, ...] = axis if rows_hz is None else tuple(map(float, rows_hz))
        module = WrappedModule(config, model, front_end, layer, order_of(layer_axes), axes_of(rows, config), gradients)
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


def _names(classes: object) -> tuple[str, ...]:
    """Read the names of the classes; none where there is no list of them."""
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        return ()
    names = tuple(classes.values() if isinstance(classes, Mapping) else classes)
    if isinstance(classes, Mapping) or not all(isinstance(one, str) for one in names):
        names = names[:3]
        raise ClassifierError(
            f"classes is a {type(classes).__name__} with {', '.join(map(repr, names))}; give a list of texts, in the "
            f"order of the outputs, such as {list(map(str, names))}"
        )
    return tuple(map(str, names))


def _name_of(model: object) -> str:
    """Name a model after its class or function, as results can hold it."""
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", type(model).__name__)
    return re.sub(r"[^A-Za-z0-9._-]", "", name).lstrip("._-") or _NAME_OF_NOBODY
