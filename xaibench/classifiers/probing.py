"""Try a torch module on sound before anything is measured, and say in one line what is wrong with it."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ClassifierError, named, one_line
from xaibench.sound.audio import CLIP_SECONDS
from xaibench.sound.randomness import seeded

# How torch says that tensors are on several devices, of several types, or too short.
_DEVICE = ("on the same device", "on device", "on the expected device")
_TYPE = ("should be the same", "same dtype", "expected scalar type", "to have the same dtype")
_SHORT = (
    "kernel size can't be greater",
    "output size is too small",
    "padding size should be less",
    "too short",
    "non-empty",
    "reduction dim",
    "maximum size for tensor",
)
_LEVEL = 0.1
_QUIET = 1e-3  # of that
# Batches of another size round otherwise, and by less than this share of the logits.
MOOD = 1e-3


def try_out(classifier: Classifier, gradients: bool) -> bool:
    """Ask a classifier about noise, silence and faint noise of a clip's length.

    Args:
        classifier: frozen.
        gradients: whether to look for them, too.

    Returns:
        Whether gradients of the logits reach the waveform.

    Raises:
        ClassifierError: it fails, or does not give one finite logit for each class and clip.
    """
    samples = classifier.samples or round(CLIP_SECONDS * classifier.sample_rate)
    noise = _LEVEL * torch.randn(1, samples, generator=torch.Generator().manual_seed(0)).to(classifier.device)
    sounds = torch.cat([noise, torch.zeros_like(noise), _QUIET * noise])
    before = sounds.clone()
    with seeded(0), torch.no_grad():
        logits = _tried(classifier, sounds)
    if not torch.equal(sounds, before):
        raise ClassifierError(
            f"{classifier.name} changes the waveform that it is given; clone it before an operation in place"
        )
    for sound, row, remedy in zip(
        ("noise", "silence", "faint noise"),
        logits,
        ("check its weights", *["its front end needs a floor, such as log(mel + 1e-6)"] * 2),
        strict=True,
    ):
        if not row.isfinite().all():
            raise ClassifierError(f"{classifier.name} gives NaN or infinite logits for {sound}; {remedy}")
    _refuse_moods(classifier, sounds, logits)
    if getattr(classifier, "returns", "logits") == "logits" and _are_shares(logits):
        raise ClassifierError(
            f"{classifier.name} gives numbers from 0 to 1 that sum to 1, which are probabilities and no logits; say "
            'returns="probabilities", or wrap it without its softmax'
        )
    with seeded(0):
        return gradients and _reached(classifier, noise)


def _refuse_moods(classifier: Classifier, sounds: Tensor, in_company: Tensor) -> None:
    """Refuse a classifier whose answer about one clip depends on chance, or on other clips of the batch."""
    answers = []
    for seed, sound in ((1, sounds[:1]), (2, sounds[:1]), *((1, one[None]) for one in sounds[1:])):
        with seeded(seed), torch.no_grad():
            answers.append(_tried(classifier, sound.clone()))
    if not _close(answers[0], answers[1]):
        raise ClassifierError(
            f"{classifier.name} gives other logits for the same sound each time; turn off dropout, random crops and "
            "whatever else draws at random in evaluation mode"
        )
    # Of a loud and a faint clip one is changed by the other, whichever decides for both.
    if not all(_close(one, row[None]) for one, row in zip(answers[1:], in_company, strict=True)):
        raise ClassifierError(
            f"{classifier.name} gives other logits for a clip alone than beside others; normalise each clip by itself, "
            "not the batch (AmplitudeToDB with top_db takes the largest value of a batch: give it clips with an axis "
            "of channels, or leave top_db out)"
        )


def _are_shares(logits: Tensor) -> bool:
    sums = logits.sum(dim=1)
    within = bool(((logits >= 0) & (logits <= 1)).all())
    return logits.shape[1] > 1 and within and torch.allclose(sums, torch.ones_like(sums), atol=MOOD)


def _close(one: Tensor, other: Tensor) -> bool:
    scale = float(1 + other.nan_to_num().abs().max())
    return torch.allclose(one, other, rtol=MOOD, atol=MOOD * scale, equal_nan=True)


def explained(classifier: Classifier, error: RuntimeError, waveform: Tensor) -> ClassifierError | None:
    """Say what a known error of torch means for a sound model; None for others."""
    text, name = str(error).lower(), classifier.name
    if any(words in text for words in _DEVICE):
        return ClassifierError(
            f"{name} has tensors on several devices: {one_line(error)}; move model and front end to one device"
        )
    if any(words in text for words in _TYPE):
        return ClassifierError(
            f"{name} computes in several precisions: {one_line(error)}; waveforms are float32, so call model.float()"
        )
    if any(words in text for words in _SHORT):
        return ClassifierError(
            f"{name} needs more than {waveform.shape[1]} samples: {one_line(error)}; wrap it with samples=N, the "
            "length that it needs, and clips are padded to it"
        )
    return None


def _tried(classifier: Classifier, sounds: Tensor) -> Tensor:
    try:
        return classifier.logits(sounds)
    except ClassifierError:
        raise
    except Exception as error:  # of a stranger's model
        raise ClassifierError(
            f"{classifier.name} fails on waveforms {tuple(sounds.shape)}: {named(error)}; expected a module from "
            "waveforms (batch, samples) to logits (batch, classes), or from what front_end=... makes of them"
        ) from error


def _reached(classifier: Classifier, noise: Tensor) -> bool:
    """Tell whether the gradient of the logits reaches a waveform."""
    waveform = noise.clone().requires_grad_()
    try:
        with torch.enable_grad():
            logits = classifier.logits(waveform)
            # Not their sum, which is constant for some heads; nor that of an improbable class, which may be clamped.
            (gradient,) = torch.autograd.grad(logits[0].max(), waveform, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # numpy() of a tensor that asks for a gradient; an operation without a derivative
        return False
    return gradient is not None and bool((gradient != 0).any())
