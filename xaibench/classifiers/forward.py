"""Forward passes in micro-batches that fit the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ClassifierError, XaibenchError
from xaibench.sound.audio import CUT
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Listener

CPU_BATCH = 16
GPU_BATCH = 128

# How torch, and the system libraries below it, say that memory ran out where they raise a plain RuntimeError: on
# Windows, on a GPU, on Linux, and in C++.
_OUT_OF_MEMORY = (
    "not enough memory",
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
)

Result = TypeVar("Result")


def listener(classifier: Classifier, long: str = CUT) -> Listener:
    """Return a classifier as datasets may ask it: about sounds that are no clips.

    Args:
        classifier: on its device.
        long: what it hears of clips that are longer than its input.
    """

    @torch.inference_mode()
    def probabilities(waveforms: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(waveforms).split(CPU_BATCH)
        logits = torch.cat([classifier.logits(part.to(classifier.device)).double().cpu() for part in parts])
        logits = classifier.temperature * logits
        sigmoid = classifier.activation == "sigmoid"
        return (torch.sigmoid(logits) if sigmoid else torch.softmax(logits, dim=1)).numpy()

    return Listener(classifier.classes, classifier.sample_rate, classifier.samples, long, probabilities)


def automatic_batch_size(device: torch.device) -> int:
    """A batch size to start from; running out of memory halves it."""
    return CPU_BATCH if device.type == "cpu" else GPU_BATCH


class Forwarder:
    """A classifier's logits, counted, and halved in batch when memory runs out.

    Attributes:
        batch_size: inputs in one forward pass; only ever shrinks.
        count: inputs forwarded so far.

    Args:
        precision: torch.bfloat16 runs matrix products in it (autocast); logits differ in the third digit.
        compiled: with torch.compile, which fuses operations and so rounds otherwise.
        temperature: of the logits, or None for the classifier's own.
    """

    def __init__(
        self,
        classifier: Classifier,
        batch_size: int,
        precision: torch.dtype = torch.float32,
        compiled: bool = False,
        temperature: float | None = None,
    ) -> None:
        self.classifier = classifier
        self.batch_size = batch_size
        self.count = 0
        self._precision = precision
        self._temperature = temperature
        self._hear = torch.compile(classifier.logits, dynamic=True) if compiled else classifier.logits
        self._read = torch.compile(classifier.picture_logits, dynamic=True) if compiled else classifier.picture_logits

    def group(self, count: int) -> int:
        """How many batches of `count` inputs go together into one call of `logits`.

        One on a CPU, where more inputs are no faster: a value then depends, to the last bit, on its
        own batch alone and not on what else is asked.
        """
        return 1 if self.classifier.device.type == "cpu" else max(1, self.batch_size // count)

    def logits(self, x: Tensor, phase: Tensor | None = None, samples: int | None = None) -> Tensor:
        """Logits of pictures at the temperature, float64 (n, classes).

        Args:
            x: pictures (n, freq, time).
            phase: of the pictures, same shape, which are then turned into sound; None: they are fed as they are.
            samples: length of the sound.

        Raises:
            ClassifierError: the classifier gives anything but one logit for each class and clip.
        """
        if phase is None:
            return self._in_parts(len(x), x.device, lambda part: self._read(x[part]))
        assert samples is not None
        domain = self.classifier.domain
        return self._in_parts(
            len(x), x.device, lambda part: self._hear(domain.synthesise(x[part], phase[part], samples))
        )

    def logits_of_clips(self, batch: Batch) -> Tensor:
        """Logits of clips as they are, at the temperature, float64 (clips, classes)."""
        waveform = batch.waveform
        if waveform is None:
            return self.logits(batch.x)
        return self._in_parts(len(batch), waveform.device, lambda part: self._hear(waveform[part]))

    def silence(self, batch: Batch) -> Tensor:
        """Logits of silence of the clips' length, at the temperature, float64 (classes,)."""
        if batch.waveform is None:
            return self.logits(torch.zeros_like(batch.x[:1]))[0]
        nothing = torch.zeros_like(batch.waveform[:1])
        return self._in_parts(1, nothing.device, lambda part: self._hear(nothing[part]))[0]

    def _in_parts(self, count: int, device: torch.device, run: Callable[[slice], Tensor]) -> Tensor:
        temperature = self.classifier.temperature if self._temperature is None else self._temperature

        def forward(start: int, stop: int) -> Tensor:
            reduced = self._precision != torch.float32
            with torch.inference_mode(), torch.autocast(device.type, self._precision, enabled=reduced):
                logits = run(slice(start, stop))
            self._check(logits, stop - start)
            # Double precision keeps 1 - p meaningful where p is close to 1.
            return temperature * logits.double()

        parts = self.in_micro_batches(count, forward)
        self.count += count
        return torch.cat(parts)

    def _check(self, logits: Tensor, count: int) -> None:
        """Refuse what would be read as the probabilities of other classes, or of none."""
        name, expected = self.classifier.name, (count, len(self.classifier.classes))
        if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ClassifierError(
                f"{name} gives logits {shape} for {count} clips and {expected[1]} classes, expected {expected}; "
                "its head and its list of classes do not belong together"
            )

    def in_micro_batches(self, count: int, work: Callable[[int, int], Result]) -> list[Result]:
        """Call `work(start, stop)` over [0, count) in micro-batches, halving them when memory runs out.

        Args:
            count: inputs in all.
            work: what to do with inputs [start, stop).

        Raises:
            XaibenchError: a single input does not fit the device's memory.
        """
        parts: list[Result] = []
        start = 0
        while start < count:
            stop = min(start + self.batch_size, count)
            failure: Exception
            try:
                parts.append(work(start, stop))
                start = stop
                continue
            # Without its traceback: the frames in it would keep the failed attempt's tensors alive.
            except (torch.OutOfMemoryError, MemoryError) as error:
                failure = error.with_traceback(None)
            except RuntimeError as error:
                if not any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                    raise
                failure = error.with_traceback(None)
            if stop - start == 1:
                raise XaibenchError(
                    f"one clip does not fit in the memory of {self.classifier.name}'s device; "
                    "use --device cpu or a smaller classifier"
                ) from failure
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.batch_size = max(1, (stop - start) // 2)
        return parts
