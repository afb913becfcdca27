"""What the benchmark asks of a sound classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaibench.classifiers.check import CLIPS, check
from xaibench.classifiers.check_findings import Check
from xaibench.classifiers.front_end import FrontEnd
from xaibench.classifiers.layers import FEATURE_MAPS, find_map_layers, noise
from xaibench.errors import ClassifierError
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Dataset
from xaibench.sound.domain import Domain
from xaibench.storage import identity
from xaibench.storage.identity import Identity

LABEL_SMOOTHING = 0.1

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained from scratch unless the command line says otherwise.

    Attributes:
        epochs: passes over the training folds.
        learning_rate: peak of AdamW's rate, after a linear warm-up and before a cosine decay.
        weight_decay: AdamW's decoupled decay, on matrices and kernels.
        batch_size: clips per step.
        frequency_shift: most bins by which a training clip is moved along the frequency axis.
        stretch: most by which the frequencies and the times of a training clip are stretched, as a share.
    """

    epochs: int = 120
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    batch_size: int = 16
    frequency_shift: int = 0
    stretch: float = 0.0


class Classifier(nn.Module):
    """A frozen sound classifier: waveform in, logits out.

    Attributes:
        name: registry name.
        family: "focalnet", "vit", "cnn", "sound", or a plugin's own.
        classes: class names in the order of the logits.
        temperature: the scale its head was trained at; p = softmax(temperature * logits).
        activation: "softmax", or "sigmoid" where several classes may be true of one sound.
        sample_rate: of the waveforms that it hears, in Hz.
        samples: their fixed length, or None where any will do.
        domain: the picture on which explanations of it live, and masks; by default that of its sample rate.
        capabilities: names of what only some classifiers have and some explainers require, such as "gradients"
            (`xaibench.classifiers.capabilities`), or a plugin's own.
        recipe: how `xaibench train` trains it.
        settings: what its code and its weights do not tell of its answers and maps, as JSON can hold it.
    """

    name: str
    family: str
    classes: tuple[str, ...]
    temperature: float
    activation: Activation = "softmax"
    sample_rate: int = audio.SAMPLE_RATE
    samples: int | None = audio.CLIP_SAMPLES
    domain: Domain = audio.DOMAIN
    capabilities: frozenset[str] = frozenset({"gradients"})
    recipe: Recipe = Recipe()
    settings: dict[str, Any] = {}

    def __init__(self, name: str, family: str, classes: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__()
        self.name = name
        self.family = family
        self.classes = tuple(classes)
        self.temperature = temperature

    def logits(self, waveform: Tensor) -> Tensor:
        """Logits (batch, classes) of waveforms (batch, samples), before the temperature."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        return self.logits(waveform)

    def picture_logits(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of pictures (batch, freq, time) that are fed as they are.

        Raises:
            ClassifierError: it reads no pictures (it has not the capability "picture").
        """
        raise ClassifierError(f"{self.name} hears sound and reads no pictures; use --protocol standard")

    def logits_of(self, x: Tensor, phase: Tensor | None = None, samples: int | None = None) -> Tensor:
        """Logits (batch, classes) as a function of pictures: what masks change, and what explanations explain.

        Args:
            x: pictures (batch, freq, time).
            phase: of the same shape: the pictures are turned into sound first. None: they are fed as they are.
            samples: length of the sound.
        """
        if phase is None:
            return self.picture_logits(x)
        assert samples is not None
        return self.logits(self.domain.synthesise(x, phase, samples))

    def logits_of_clips(self, batch: Batch) -> Tensor:
        """Logits (batch, classes) of clips as they are: of their sound, or of their pictures where these are fed."""
        return self.picture_logits(batch.x) if batch.waveform is None else self.logits(batch.waveform)

    def map_layers(self) -> dict[str, nn.Module]:
        """Find the modules whose output is a map (batch, channels, h, w) that `to_picture` places, by name.

        Class-activation methods read one of them. By default it is `feature_maps` alone, where there is one.
        """
        maps = getattr(self, FEATURE_MAPS, None)
        return {} if maps is None else {FEATURE_MAPS: maps}

    def check(
        self,
        data: Dataset | Tensor,
        bare: Callable[[Tensor], Any] | None = None,
        limit: int | None = CLIPS,
        folds: Sequence[int] | None = None,
    ) -> Check:
        """Check whether it is itself in here, and what its numbers can bear; `print` what is returned.

        Args:
            data: a dataset, or waveforms (clips, samples) at the classifier's rate and length.
            bare: the model as its owner asks it: a waveform (1, samples) in, one row of logits or probabilities out.
                By default that of a wrapped model.
            limit: clips to hear of a dataset: a sample of all its classes; None: all.
            folds: of a dataset, from which they are drawn, such as those that were not learned from; None: all.

        Raises:
            ClassifierError: it does not give one logit for each class and clip.
            DataError: there are no clips.
        """
        return check(self, data, bare, limit, folds)

    def code_identity(self) -> Identity:
        """Identify the code that makes its logits; its weights and settings are compared beside it."""
        return identity.of_code(type(self))

    @property
    def device(self) -> torch.device:
        """The device of its parameters; of its buffers where it has none, and else the CPU."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def parameter_count(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


class PictureClassifier(Classifier):
    """A classifier that reads the picture of 5 s at 16 kHz: log magnitudes (batch, 513, 431).

    Attributes:
        front_end: resizes the picture to the network's image, and maps back.
        feature_maps: an identity module whose output is the deepest spatial feature map
            (batch, channels, h, w), drawn over the image; what GradCAM and PIQ read.
    """

    front_end: FrontEnd
    feature_maps: nn.Module
    capabilities = frozenset({"gradients", "picture", "feature_map", "feature_pyramid"})

    def logits(self, waveform: Tensor) -> Tensor:
        return self.picture_logits(self.domain.log_magnitudes(waveform))

    def to_picture(self, maps: Tensor, shape: tuple[int, int]) -> Tensor:
        """Resize maps (batch, h, w) drawn over the image to the picture (batch, 513, 431)."""
        return self.front_end.to_picture(maps)

    def map_layers(self) -> dict[str, nn.Module]:
        """Find all its modules that give maps (batch, channels, h, w), which are drawn over the image, by name."""
        return find_map_layers(self, lambda: self.logits(noise(audio.CLIP_SAMPLES, self.device)))

    def deepest_map(self, x: Tensor) -> Tensor:
        """What `feature_maps` sees of pictures (batch, 513, 431): (batch, channels, h, w)."""
        seen: list[Tensor] = []
        hook = self.feature_maps.register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            self.picture_logits(x)
        finally:
            hook.remove()
        return seen[0]

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        """Feature maps (batch, channels, h, w) of pictures (batch, 513, 431), shallow to deep.

        The last is the deepest map; a classifier that has shallower ones to give overrides this.
        """
        return [self.deepest_map(x)]

    def log_probabilities(self, x: Tensor) -> Tensor:
        """Log-probabilities (batch, classes) of pictures, at the classifier's temperature."""
        return torch.log_softmax(self.temperature * self.picture_logits(x), dim=-1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """What its training makes small: cross-entropy at its temperature, with smoothed labels.

        A classifier whose parameters or answers shall have more than that adds it here.

        Args:
            logits: of a training batch, (batch, classes).
            target: probabilities of the classes, (batch, classes).
        """
        return functional.cross_entropy(self.temperature * logits, target, label_smoothing=LABEL_SMOOTHING)

    def after_training(self, pictures: Iterable[Tensor]) -> None:
        """Look once more at the clips that it was trained on, before its weights are written.

        A classifier that keeps measurements of its own parts makes them here, into buffers. By default nothing is done.

        Args:
            pictures: batches (batch, 513, 431) of the training clips as they are, each clip once.
        """

    def probabilities(self, x: Tensor) -> Tensor:
        """Probabilities (batch, classes) of pictures, at the classifier's temperature."""
        return torch.softmax(self.temperature * self.picture_logits(x), dim=-1)


def picture_reader(classifier: Classifier) -> PictureClassifier:
    """Return a classifier as one that reads pictures.

    Raises:
        ClassifierError: it hears sound only.
    """
    if not isinstance(classifier, PictureClassifier):
        raise ClassifierError(f"{classifier.name} hears sound; only classifiers that read pictures are trained here")
    return classifier


class CosineHead(nn.Module):
    """Batch norm, linear bottleneck, then cosines to class vectors, in [-1, 1].

    The head of the source paper's recipes (arXiv 2402.02754); trained at a scale of 30, which the
    classifier carries as its temperature.
    """

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.linear = nn.Linear(features, hidden)
        self.weight = nn.Parameter(torch.empty(classes, hidden))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embedding: Tensor) -> Tensor:
        hidden = self.linear(self.norm(embedding))
        unit = functional.normalize
        return unit(hidden, dim=-1) @ unit(self.weight, dim=-1).T


COSINE_SCALE = 30.0


class InputNorm(nn.Module):
    """Fixed standardisation of the log spectrogram, (x - mean) / scale, the same for every clip.

    Mean and scale are those of log1p magnitudes over ordinary recordings; a per-clip
    standardisation would let a mask change the value of bins it keeps.
    """

    MEAN = 0.35
    SCALE = 0.6

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.MEAN) / self.SCALE
