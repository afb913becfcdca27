"""What the benchmark asks of a sound classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from xaibench.classifiers.front_end import FrontEnd


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a classifier is trained from scratch unless the command line says otherwise.

    Attributes:
        epochs: passes over the training folds.
        learning_rate: peak of AdamW's rate, after a linear warm-up and before a cosine decay.
        weight_decay: AdamW's decoupled decay, on matrices and kernels.
        frequency_shift: most bins by which a training clip is moved along the frequency axis.
    """

    epochs: int = 120
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    frequency_shift: int = 0


class Classifier(nn.Module):
    """A frozen sound classifier on spectrograms.

    Attributes:
        name: registry name.
        family: "focalnet", "vit", "cnn", or a plugin's own.
        classes: class names in the order of the logits.
        temperature: the scale its head was trained at; p = softmax(temperature * logits).
        front_end: resizes the spectrogram inside `logits`, and maps back to its grid.
        feature_maps: an identity module whose output is the deepest spatial feature map
            (batch, channels, h, w), drawn over the image; what GradCAM and PIQ read.
        capabilities: names of what only some architectures have and some explainers require:
            "modulation" (a `modulation` module), "attentions" (`attention_weights`), "rectifiers"
            (ReLU is the only non-linearity and every ReLU module runs once), or a plugin's own
            (`xaibench.classifiers.capabilities`).
        recipe: how `xaibench train` trains it.
    """

    name: str
    family: str
    classes: tuple[str, ...]
    temperature: float
    front_end: FrontEnd
    feature_maps: nn.Module
    capabilities: frozenset[str] = frozenset()
    recipe: Recipe = Recipe()

    def __init__(self, name: str, family: str, classes: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__()
        self.name = name
        self.family = family
        self.classes = tuple(classes)
        self.temperature = temperature

    def logits(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of spectrograms (batch, 513, 431), before the temperature."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)

    def deepest_map(self, x: Tensor) -> Tensor:
        """What `feature_maps` sees of spectrograms (batch, 513, 431): (batch, channels, h, w)."""
        seen: list[Tensor] = []
        hook = self.feature_maps.register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            self.logits(x)
        finally:
            hook.remove()
        return seen[0]

    def feature_pyramid(self, x: Tensor) -> list[Tensor]:
        """Feature maps (batch, channels, h, w) of spectrograms (batch, 513, 431), shallow to deep.

        The last is the deepest map; a classifier that has shallower ones to give overrides this.
        """
        return [self.deepest_map(x)]

    def log_probabilities(self, x: Tensor) -> Tensor:
        """Log-probabilities (batch, classes) at the classifier's temperature."""
        return torch.log_softmax(self.temperature * self.logits(x), dim=-1)

    def probabilities(self, x: Tensor) -> Tensor:
        """Probabilities (batch, classes) at the classifier's temperature."""
        return torch.softmax(self.temperature * self.logits(x), dim=-1)

    @property
    def device(self) -> torch.device:
        """The device of its parameters; of its buffers where it has none, and else the CPU."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def parameter_count(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())


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
        unit = nn.functional.normalize
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
