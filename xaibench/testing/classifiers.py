"""The contract of classifiers."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Activation, Classifier, PictureClassifier
from xaibench.classifiers.capabilities import missing_members
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.references import takes_classes
from xaibench.errors import named
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.domain import Domain
from xaibench.sound.randomness import seeded
from xaibench.storage import provenance
from xaibench.storage.cards import NAME
from xaibench.testing.common import check_words, close, require
from xaibench.testing.toys import CLASSES, settled, toy_batch
from xaibench.testing.unchanged import unchanged

_OTHER_SECONDS = (0.9, 2.37)  # lengths for a classifier that takes any


def check_classifier(classifier: Classifier | Callable[..., Classifier]) -> None:
    """Check every promise of a classifier on toy sound at its own rate and length.

    Args:
        classifier: a classifier, or a function that makes one, as a package registers it: without arguments, or of
            the names of classes.

    Raises:
        AssertionError: the promise that is broken.
    """
    model = classifier if isinstance(classifier, Classifier) else _made(classifier)
    _check_facts(model)
    sounds = _sounds(model)
    if not isinstance(classifier, Classifier) and takes_classes(classifier):
        freeze(settled(model, sounds))
    batch = Batch.of_sound(sounds, tuple(f"toy-{i}" for i in range(len(sounds))), model.domain)
    with _Passes(model) as passes:
        together = _ask(model, sounds, "two clips, one of them silent")
    passes.check(model, len(sounds))
    _check_independence(model, sounds, together)
    first = batch.slice(0, 1)
    with unchanged(model, first, torch.zeros(1, dtype=torch.long), "a forward and a backward pass"):
        _check_capabilities(model, first)
        if "gradients" in model.capabilities:
            _check_gradients(model, sounds[:1])
    _check_lengths(model, sounds)
    _check_pictures(model, first, together[:1])


def _made(factory: Callable[..., Any]) -> Classifier:
    """Make a classifier as the benchmark does, and freeze it."""
    if takes_classes(factory):
        with seeded(0):  # weights drawn at random may be such that a logit is constant
            made = factory(CLASSES)
        _require_classifier(made)
        require(tuple(made.classes) == CLASSES, f"asked for the classes {CLASSES}, it has {tuple(made.classes)}")
        return freeze(made)
    made, again = factory(), factory()
    _require_classifier(made)
    first, second = made.state_dict(), again.state_dict()
    same = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    require(same, "made twice, it has two kinds of weights; load them from a file, or draw them from a seed")
    return freeze(made)


def _require_classifier(made: object) -> None:
    require(
        isinstance(made, Classifier),
        f"the function makes a {type(made).__name__}; return what xaibench.wrap or xaibench.from_transformers makes, "
        "or another xaibench.Classifier",
    )


def _check_facts(model: Classifier) -> None:
    """What it says of itself makes sense, and it is ready to be asked."""
    check_words(model, ("name", "family"))
    require(re.fullmatch(NAME, model.name), f"name is {model.name!r}; use letters, digits, dots, dashes, underscores")
    classes = model.classes
    words = isinstance(classes, tuple) and classes and all(isinstance(one, str) and one for one in classes)
    require(words, f"classes must be a tuple of names, not {classes!r}")
    require(len(set(classes)) == len(classes), f"two classes have the same name: {classes}")
    require(model.activation in get_args(Activation), f"activation must be one of {', '.join(get_args(Activation))}")
    number = isinstance(model.temperature, float | int) and 0 < model.temperature < float("inf")
    require(number, f"temperature must be a positive number, not {model.temperature!r}")
    for name, value in (("sample_rate", model.sample_rate), ("samples", 1 if model.samples is None else model.samples)):
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        require(whole, f"{name} must be a whole number, not {value!r}")
    require(isinstance(model.domain, Domain), f"domain must be a Domain, not {model.domain!r}")
    require(
        model.domain.sample_rate == model.sample_rate,
        f"it hears {model.sample_rate} Hz, and its domain is of {model.domain.sample_rate} Hz; set domain = "
        "Domain.at(sample_rate)",
    )
    names = isinstance(model.capabilities, frozenset) and all(isinstance(one, str) for one in model.capabilities)
    require(names, f"capabilities must be a frozenset of names, not {model.capabilities!r}")
    try:
        provenance.plain(model.settings)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"settings must be plain JSON values, they are written to the results: {error}") from None
    moving = [name or "it" for name, module in model.named_modules() if module.training]
    require(not moving, f"{', '.join(moving[:3])} is in training mode; call eval()")
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    require(not trained, f"{', '.join(trained[:3])} asks for gradients; call requires_grad_(False)")
    for name in sorted(model.capabilities):
        lacking = missing_members(name, model)
        require(not lacking, f"it offers '{name}' but has no {', '.join(lacking)}")


def _sounds(model: Classifier) -> Tensor:
    """A tone burst over noise, and silence, (2, samples), at its rate and length."""
    waveform = toy_batch(1).waveform
    assert waveform is not None
    samples = model.samples or audio.clip_samples(model.sample_rate)
    burst = torch.from_numpy(audio.of_length(audio.at_rate(waveform[0].numpy(), model.sample_rate), samples))
    return torch.stack([burst, torch.zeros_like(burst)]).to(model.device)


def _ask(model: Classifier, sounds: Tensor, situation: str, seed: int = 0) -> Tensor:
    """Ask for logits (batch, classes) of sounds (batch, samples), and assert their form."""
    before = sounds.clone()
    try:
        with seeded(seed), torch.no_grad():
            logits = model.logits(sounds)
    except Exception as error:
        raise AssertionError(f"logits() of {situation} raised {named(error)}") from error
    require(torch.equal(sounds, before), f"logits() of {situation} changed the waveform; clone it first")
    require(isinstance(logits, Tensor), f"logits() returned {type(logits).__name__}, expected a tensor")
    expected = (len(sounds), len(model.classes))
    require(
        tuple(logits.shape) == expected,
        f"logits() of {situation} has shape {tuple(logits.shape)}, expected (batch, classes) = {expected}",
    )
    require(logits.dtype == torch.float32, f"logits are {logits.dtype}, expected torch.float32")
    require(logits.device == sounds.device, f"the logits are on {logits.device}, the waveform on {sounds.device}")
    for sound, row in zip(sounds, logits, strict=True):
        what = "a tone" if sound.any() else "silence"
        require(row.isfinite().all(), f"logits() of {situation} holds NaN or infinities for {what}")
    return logits


def _check_independence(model: Classifier, sounds: Tensor, together: Tensor) -> None:
    """A clip gets the same logits at every time, in every batch, and from a copy of the classifier."""
    backwards = _ask(model, sounds.flip(0), "a reversed batch", seed=1).flip(0)
    if not close(backwards, together):
        again = _ask(model, sounds, "the same batch again", seed=1)
        require(
            close(again, together),
            "the same sound gets other logits each time; turn off dropout, dither, random crops and what else draws",
        )
    require(close(backwards, together), "a clip's logits depend on the order of the batch")
    twin = copy.deepcopy(model)
    for sound, row in zip(sounds.split(1), together.split(1), strict=True):
        from_twin = _ask(twin, sound, "one clip, asked of a copy")
        if not close(from_twin, row):
            require(
                close(_ask(model, sound, "one clip"), row),
                "a clip's logits depend on the other clips of its batch; normalise each clip by itself",
            )
        require(close(from_twin, row), "a copy of the classifier (copy.deepcopy) gives other logits")


def _check_lengths(model: Classifier, sounds: Tensor) -> None:
    """A classifier that says that it takes any length does."""
    if model.samples is not None:
        return
    for seconds in _OTHER_SECONDS:
        samples = round(seconds * model.sample_rate)
        _ask(model, sounds[:1, :samples], f"a clip of {seconds:g} s (it says that it takes any length: samples = None)")


def _check_pictures(model: Classifier, clip: Batch, logits: Tensor) -> None:
    """The classifier as a function of pictures is that of the sound that they stand for."""
    assert clip.phase is not None and clip.samples is not None
    if type(model).logits_of is not Classifier.logits_of:
        with torch.no_grad():
            heard = model.logits_of(clip.x, clip.phase, clip.samples)
            made_again = model.domain.synthesise(clip.x, clip.phase, clip.samples)
        require(
            close(heard, _ask(model, made_again, "a clip made of its picture")),
            "logits_of() of a picture with its phase is not logits() of the sound that this stands for; do not "
            "override it",
        )
    if "picture" in model.capabilities and type(model).logits is not PictureClassifier.logits:
        with torch.no_grad():
            read = model.picture_logits(clip.x)
        require(
            close(read, logits),
            "it offers 'picture', and picture_logits() of a clip's picture is not logits() of the clip",
        )


def _check_gradients(model: Classifier, sound: Tensor) -> None:
    """Gradients of a logit reach the waveform, and are numbers."""
    waveform = sound.clone().requires_grad_()
    try:
        with seeded(0), torch.enable_grad():
            # Not their sum, which is constant for some heads.
            (gradient,) = torch.autograd.grad(model.logits(waveform)[0, 0], waveform, allow_unused=True)
    except Exception as error:
        raise AssertionError(f"it offers 'gradients', and asked for one it raised {named(error)}") from error
    reached = gradient is not None and (gradient != 0).any()
    require(reached, "it offers 'gradients', and none reaches the waveform; leave it out of capabilities")
    require(gradient.isfinite().all(), "its gradients hold NaN or infinities; put a floor under logarithms and roots")


class _Passes:
    """Counts, inside `with`, what passes through the modules that capabilities promise."""

    def __init__(self, model: Classifier) -> None:
        self._seen: dict[str, list[Any]] = {}
        self._modules: dict[str, nn.Module] = {}
        for capability, member in (("feature_map", "feature_maps"), ("modulation", "modulation")):
            if capability in model.capabilities:
                self._modules[member] = getattr(model, member)
        if "rectifiers" in model.capabilities:
            rectifiers = [(name, one) for name, one in model.named_modules() if isinstance(one, nn.ReLU)]
            require(rectifiers, "it offers 'rectifiers', and has no module torch.nn.ReLU")
            self._modules |= dict(rectifiers)

    def __enter__(self) -> _Passes:
        self._hooks = [
            module.register_forward_hook(lambda _, __, output, name=name: self._seen[name].append(output))
            for name, module in self._modules.items()
        ]
        self._seen = {name: [] for name in self._modules}
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def check(self, model: Classifier, clips: int) -> None:
        """Assert that each module ran once, on all clips, and gave what it should."""
        for name, outputs in self._seen.items():
            require(len(outputs) == 1, f"{name} ran {len(outputs)} times in one pass; explainers expect one")
            module = self._modules[name]
            if isinstance(module, nn.ReLU):
                require(not module.inplace, f"{name} is a ReLU in place, which explainers cannot follow")
                continue
            shape = tuple(outputs[0].shape)
            require(
                len(shape) == 4 and shape[0] == clips,
                f"{name} gives {shape}, expected (batch, channels, freq, time) = ({clips}, ...)",
            )
            _check_placed(model, shape[2:], clips)


def _check_placed(model: Any, shape: Sequence[int], clips: int) -> None:
    """Maps of the classifier's own size are brought to its picture."""
    samples = model.samples or audio.clip_samples(model.sample_rate)
    picture = model.domain.shape(samples)
    maps = torch.linspace(0, 1, math.prod(shape), device=model.device).reshape(1, *shape).expand(clips, -1, -1)
    placed = model.to_picture(maps, picture)
    expected = (clips, *picture)
    require(
        tuple(placed.shape) == expected and placed.isfinite().all(),
        f"to_picture() makes {tuple(placed.shape)} of maps {tuple(shape)}, expected finite numbers {expected}",
    )


def _check_capabilities(model: Any, clip: Batch) -> None:
    """What it offers beside modules gives what explainers read."""
    if "feature_pyramid" in model.capabilities:
        with torch.no_grad():
            maps = model.feature_pyramid(clip.x)
        good = maps and all(isinstance(one, Tensor) and one.ndim == 4 and len(one) == 1 for one in maps)
        require(good, "feature_pyramid() must give maps (batch, channels, freq, time), at least one")
    if "attentions" in model.capabilities:
        with torch.no_grad():
            logits, weights = model.logits_and_attentions(clip)
            expected = model.logits_of_clips(clip)
        high, wide = model.patch_grid
        tokens = model.special_tokens + high * wide
        require(weights, "logits_and_attentions() gives no attentions; give those of every block")
        require(close(logits, expected), "logits_and_attentions() gives other logits than logits()")
        for one in weights:
            good = one.ndim == 4 and len(one) == 1 and tuple(one.shape[2:]) == (tokens, tokens)
            require(
                good,
                f"attention weights are {tuple(one.shape)}, expected (batch, heads, tokens, tokens) with {tokens} "
                "tokens: special_tokens + the patches of patch_grid",
            )
            total = one.sum(dim=-1)
            require(close(total.flatten(1), torch.ones_like(total).flatten(1)), "rows of attention do not sum to 1")
        _check_placed(model, model.patch_grid, 1)
