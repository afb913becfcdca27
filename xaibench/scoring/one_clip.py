"""One clip explained for eyes and ears: maps, masks, probabilities and the sound of what is kept and removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.forward import Forwarder, automatic_batch_size
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import XaibenchError, named
from xaibench.explaining.bound import BoundExplainer
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import defects
from xaibench.scoring import protocol as protocols
from xaibench.scoring.context import Clean, ScoringContext
from xaibench.sound import audio


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
        sounds: "kept", "removed" and, of a soft mask, "soft": samples (80000,).
    """

    pair: Pair
    predicted: str
    p_full: float
    importance: np.ndarray
    mask: np.ndarray
    top: Shares
    soft: Shares | None
    sounds: dict[str, Tensor]


@dataclass(frozen=True)
class Illustrated:
    """A clip and what every pair says of it.

    Attributes:
        name: of the clip.
        waveform: samples (80000,).
        spectrogram: log1p magnitudes (freq, time).
        panels: in the order of the pairs.
    """

    name: str
    waveform: Tensor
    spectrogram: np.ndarray
    panels: tuple[Panel, ...]


def illustrate(
    name: str, clip_id: str, waveform: np.ndarray, pairs: Iterable[Pair], seed: int, area: float
) -> Illustrated:
    """Explain one clip by every pair; each classifier's own verdict is what its pairs explain.

    Args:
        name: of the clip, for people.
        clip_id: random draws depend on it and the seed.
        waveform: samples (80000,).
        pairs: on their devices.
        seed: of every random draw.
        area: share of bins that the masks of equal area keep.

    Raises:
        XaibenchError: a method fails, or its map cannot be ranked.
    """
    sound = torch.from_numpy(waveform)[None]
    rules = protocols.default()
    known: dict[str, tuple[Forwarder, Clean]] = {}
    panels = []
    for pair in pairs:
        classifier = pair.loaded.classifier
        if pair.loaded.label not in known:
            device = classifier.device
            forwarder = Forwarder(classifier, automatic_batch_size(device))
            batch = rules.batch(sound, (clip_id,), classifier.domain, seed).to(device)
            known[pair.loaded.label] = (
                forwarder,
                Clean(
                    batch,
                    forwarder.logits_of_clips(batch),
                    forwarder.silence(batch),
                    activation=classifier.activation,
                ),
            )
        panels.append(_panel(pair, *known[pair.loaded.label], sound, area))
    return Illustrated(name, sound[0], audio.spectrogram(sound)[0].numpy(), tuple(panels))


def _panel(pair: Pair, forwarder: Forwarder, clean: Clean, sound: Tensor, area: float) -> Panel:
    explainer = BoundExplainer(pair.explainer, forwarder)
    try:
        explanation = explainer.explain(clean.batch, clean.target)
    except XaibenchError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's plugin may raise anything
        raise XaibenchError(f"{pair.name} failed: {named(error)}") from error
    broken = defects(explanation.map)[0]
    if broken is not None:
        raise XaibenchError(f"{pair.name} explains nothing here: {broken}")
    context = ScoringContext(clean, explanation.map, explainer)
    mask = context.mask(area)
    masks = {"kept": mask.float(), "removed": (~mask).float()}
    if pair.explainer.native_mask:
        masks["soft"] = context.mask(None)
    return Panel(
        pair,
        forwarder.classifier.classes[int(clean.target[0])].replace("_", " "),
        float(context.p_full[0]),
        context.importance[0].cpu().numpy(),
        mask[0].cpu().numpy(),
        _shares(context, area),
        _shares(context, None) if pair.explainer.native_mask else None,
        {part: audio.DOMAIN.masked(sound, one.cpu())[0] for part, one in masks.items()},
    )


def _shares(context: ScoringContext, area: float | None) -> Shares:
    p_kept, p_removed = context.p_kept(area), context.p_removed(area)
    return Shares(float(context.mask(area).double().mean()), float(p_kept[0]), float(p_removed[0]))
