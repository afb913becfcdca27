"""What wrapped models of all kinds have in common: what is said of them, and what their answers must be."""

from __future__ import annotations

import contextlib
import operator
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xaibench.classifiers.base import Activation, Classifier
from xaibench.errors import ClassifierError
from xaibench.sound.domain import Domain
from xaibench.sound.reading import RATES
from xaibench.storage.cards import NAME

Returns = Literal["logits", "probabilities"]
# Probabilities are read as at least this, so that their logarithms are finite; p itself moves by no more.
LEAST_PROBABILITY = 1e-12
# Those of a sigmoid stay as far from 1 as float32 can tell, too.
LEAST_OF_SIGMOID = 1e-7
_SUM_TOLERANCE = 1e-3
_ROUNDING = 1e-6  # beyond 0 and 1, of probabilities that were summed in float32


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
            (
                not re.fullmatch(NAME, self.name),
                f"name is {self.name!r}; results need one of letters, digits, dots, dashes and underscores",
            ),
            (
                not _is_count(self.sample_rate) or self.sample_rate not in RATES,
                f"sample_rate is {self.sample_rate!r}; give a whole number of Hz, {RATES[0]} at least",
            ),
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


class Wrapped(Classifier):
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


def as_int(value: Any) -> Any:
    """Return whole numbers of numpy and torch as those of Python, and all else as it is."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        return value if isinstance(value, bool) else operator.index(value)
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
