"""One clip explained for eyes and ears: maps, masks, probabilities and the sound of what is kept and removed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.forward import Forwarder, automatic_batch_size
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError, named
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import defects
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import Masked, Part, ScoringContext
from xaibench.scoring.protocol import Protocol
from xaibench.sound.dataset import Dataset


@dataclass(frozen=True)
class Pair:
    """A method and the classifier it explains.

    Attributes:
        name: in file names.
        explainer: with its weights, if it needs some.
        loaded: the classifier.
    """

    name: str
    explainer: Explainer
    loaded: LoadedClassifier


@dataclass(frozen=True)
class Shares:
    """A mask's area (mean over the bins) and the probability of the explained class for both its parts."""

    area: float
    p_kept: float
    p_removed: float


@dataclass(frozen=True)
class Panel:
    """What a pair says of a clip.

    Attributes:
        pair: the method and its classifier.
        predicted: the class that is explained: the classifier's own verdict.
        p_full: its probability for the whole clip.
        importance: non-negative (freq, time).
        mask: the top bins, bool (freq, time).
        top: what the mask does.
        soft: what the map does as a mask, or None where it is none.
        sounds: "kept", "removed" and, of a soft mask, "soft": samples, as they are scored.
        text: what the method says in words; empty for methods that say nothing.
    """

    pair: Pair
    predicted: str
    p_full: float
    importance: np.ndarray
    mask: np.ndarray
    top: Shares
    soft: Shares | None
    sounds: dict[str, Tensor]
    text: str


@dataclass(frozen=True)
class Illustrated:
    """A clip and what every pair says of it.

    Attributes:
        name: of the clip.
        waveform: samples, as the first pair's classifier hears them.
        spectrogram: its picture, log1p magnitudes (freq, time).
        panels: in the order of the pairs.
        sample_rate: of the waveform, in Hz.
    """

    name: str
    waveform: Tensor
    spectrogram: np.ndarray
    panels: tuple[Panel, ...]
    sample_rate: int


def illustrate(
    name: str, clip_id: str, data: Dataset, rules: Protocol, pairs: Iterable[Pair], seed: int, area: float
) -> Illustrated:
    """Explain one clip by every pair; each classifier's own verdict is what its pairs explain.

    Args:
        name: of the clip, for people.
        clip_id: random draws depend on it and the seed.
        data: that holds nothing but the clip.
        rules: what is heard of it.
        pairs: on their devices.
        seed: of every random draw.
        area: share of bins that the masks of equal area keep.

    Raises:
        XaibenchError: a method fails, or its map cannot be ranked.
    """
    heard: dict[str, Heard] = {}
    panels = []
    for pair in pairs:
        if pair.loaded.label not in heard:
            heard[pair.loaded.label] = hear(pair.loaded.classifier, data, rules, clip_id, seed)
        panels.append(panel(pair, explained(pair.name, pair.explainer, heard[pair.loaded.label]), area))
    return illustrated(name, next(iter(heard.values())), panels)


@dataclass(frozen=True)
class Heard:
    """One clip as a classifier hears it, and what it says of it."""

    forwarder: Forwarder
    clean: Clean


def hear(classifier: Classifier, data: Dataset, rules: Protocol, clip_id: str, seed: int) -> Heard:
    """Let a classifier hear one clip.

    Args:
        classifier: on its device.
        data: that holds nothing but the clip.
        rules: what is heard of it.
        clip_id: random draws depend on it and the seed.
        seed: of every random draw.
    """
    device, listening = classifier.device, rules.listening(classifier)
    forwarder = Forwarder(listening, automatic_batch_size(device))
    sound = rules.waveform(data, data.clips[0], listening)
    batch = rules.batch([sound], (clip_id,), listening, seed).to(device)
    logits, silence = forwarder.logits_of_clips(batch), forwarder.silence(batch)
    return Heard(forwarder, Clean(batch, logits, silence, activation=classifier.activation))


def explained(name: str, method: Explainer, heard: Heard) -> ScoringContext:
    """Explain a clip's verdict.

    Args:
        name: of the method, in errors.
        method: with its weights, if it needs some.
        heard: the clip.

    Raises:
        XaibenchError: the method fails, or its map cannot be ranked.
    """
    explainer = BoundExplainer(method, heard.forwarder)
    try:
        explanation = explainer.explain(heard.clean.batch, heard.clean.target)
    except XaibenchError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's plugin may raise anything
        raise XaibenchError(f"{name} failed: {named(error)}") from error
    broken = defects(explanation.map)[0]
    if broken is not None:
        raise XaibenchError(f"{name} explains nothing here: {broken}")
    return ScoringContext(heard.clean, explanation.map, explainer, explanation.texts)


def sound_of(context: ScoringContext, part: Part, area: float | None) -> Tensor:
    """Return what is kept or removed of a clip as the classifier hears it when it is scored, float32 (samples,)."""
    waveform = context.changed(Masked(part, area)).waveform
    assert waveform is not None  # the default protocol is of sound
    return waveform[0].cpu()


def illustrated(name: str, heard: Heard, panels: Sequence[Panel]) -> Illustrated:
    """Put together what is drawn of a clip."""
    batch, domain = heard.clean.batch, heard.forwarder.classifier.domain
    assert batch.waveform is not None
    sound = batch.waveform[0].cpu()
    return Illustrated(name, sound, batch.x[0].cpu().numpy(), tuple(panels), domain.sample_rate)


def panel(pair: Pair, context: ScoringContext, area: float) -> Panel:
    """Collect what is shown of a pair's explanation of a clip."""
    masks: dict[str, tuple[Part, float | None]] = {"kept": ("kept", area), "removed": ("removed", area)}
    if pair.explainer.native_mask:
        masks["soft"] = ("kept", None)
    return Panel(
        pair,
        context.classifier.classes[int(context.target[0])].replace("_", " "),
        float(context.p_full[0]),
        context.importance[0].cpu().numpy(),
        context.mask(area)[0].cpu().numpy(),
        _shares(context, area),
        _shares(context, None) if pair.explainer.native_mask else None,
        {name: sound_of(context, *one) for name, one in masks.items()},
        "".join(context.texts),
    )


def _shares(context: ScoringContext, area: float | None) -> Shares:
    p_kept, p_removed = context.p_kept(area), context.p_removed(area)
    return Shares(float(context.mask(area).double().mean()), float(p_kept[0]), float(p_removed[0]))
