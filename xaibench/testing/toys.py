"""Classifiers and sound small enough for a check to take seconds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from xaibench.classifiers.base import COSINE_SCALE, Classifier, PictureClassifier
from xaibench.classifiers.checkpoint import freeze
from xaibench.classifiers.cnn import CnnClassifier
from xaibench.classifiers.front_end import LinearResize, MelResize
from xaibench.classifiers.logic import LogicClassifier
from xaibench.errors import UnsupportedPairError
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded

CLASSES = ("bell", "crow", "rain", "saw")
_IMAGE = (32, 32)


def toy_classifier(capabilities: Iterable[str] = ()) -> Classifier:
    """A tiny seeded classifier, frozen, that has what is asked for ("rectifiers", "rules", "modulation", "attentions").

    Raises:
        UnsupportedPairError: no toy has all of it.
    """
    wanted = frozenset(capabilities)
    for build in (_toy_cnn, _toy_logic, _toy_focalnet, _toy_vit):
        if wanted <= _made(build).capabilities:
            return freeze(copy.deepcopy(_made(build)))
    raise UnsupportedPairError(f"no toy classifier offers {', '.join(sorted(wanted))}; pass a classifier of your own")


@cache
def _made(build: Callable[[], Classifier]) -> Classifier:
    with seeded(0), torch.no_grad():
        return settled(build(), toy_batch().waveform)


def settled(classifier: Classifier, waveform: Tensor | None) -> Classifier:
    """Give an untrained classifier the statistics of sound, (batch, samples).

    Without them all clips would look alike to it, and a mask would change nothing.
    """
    assert waveform is not None
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the statistics become those of the next pass
    with torch.no_grad():
        classifier.train().logits(waveform)
    return classifier


def toy_batch(count: int = 3, seed: int = 0, heard: bool = True, seconds: float = 5.0) -> Batch:
    """Clips with one tone burst each over noise, and the bins where the burst is louder as ground truth.

    Args:
        count: how many clips.
        seed: of the batch.
        heard: whether the classifier hears them, as in the protocol `standard`; else it is fed their pictures.
        seconds: length of each clip.
    """
    generator = torch.Generator().manual_seed(0)
    pitch, onset = torch.rand(2, count, 1, generator=generator)
    time = torch.arange(round(seconds * audio.SAMPLE_RATE)) / audio.SAMPLE_RATE
    during = (time > 0.6 * seconds * onset) & (time < 0.6 * seconds * onset + 0.3 * seconds)
    event = 0.5 * during * torch.sin(2 * math.pi * 300 * 2 ** (4 * pitch) * time)
    background = 0.02 * torch.randn(event.shape, generator=generator)
    ground_truth = audio.stft(event).abs() > audio.stft(background).abs()
    ids = tuple(f"toy-{i}" for i in range(count))
    batch = Batch.of_sound(event + background, ids, audio.DOMAIN, seed)
    if not heard:
        batch = Batch(batch.x, ids, seed)
    return replace(batch, ground_truth=ground_truth)


def _toy_cnn() -> PictureClassifier:
    classifier = CnnClassifier("toy-cnn", CLASSES, LinearResize(_IMAGE), (8, 16))
    classifier.temperature = COSINE_SCALE  # an untrained linear head hardly tells sounds apart
    return classifier


def _toy_logic() -> PictureClassifier:
    return LogicClassifier("toy-logic", CLASSES, MelResize(_IMAGE), (8, 16), concepts=6, each=2)


# transformers takes seconds to import: only where it is needed.
def _toy_focalnet() -> PictureClassifier:
    from transformers import FocalNetConfig

    from xaibench.classifiers.focalnet import FocalNetClassifier

    config = FocalNetConfig(
        image_size=_IMAGE,
        num_channels=1,
        embed_dim=8,
        depths=[1, 1],
        hidden_sizes=[16, 16],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
        out_features=["stage2"],  # type: ignore[call-arg]  # taken through kwargs by transformers
    )
    return FocalNetClassifier("toy-focalnet", CLASSES, MelResize(_IMAGE), config, hidden=8)


def _toy_vit() -> PictureClassifier:
    from transformers import ViTConfig

    from xaibench.classifiers.vit import VitClassifier

    config = ViTConfig(
        image_size=list(_IMAGE),
        patch_size=[8, 4],
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return VitClassifier("toy-vit", CLASSES, MelResize(_IMAGE), config, hidden=8)
