"""Callables on numpy arrays as sound classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.wrapped_base import WrapConfig, Wrapped
from xaibench.errors import ClassifierError, named
from xaibench.storage.identity import Identity


class BlackBox(Wrapped):
    """A callable from float32 arrays (batch, samples) to arrays (batch, classes) as a sound classifier.

    Args:
        config: what is said of it.
        predict: the callable.
        version: of it, or "".
    """

    capabilities = frozenset()

    def __init__(self, config: WrapConfig, predict: Callable[[np.ndarray], Any], version: str) -> None:
        super().__init__(config)
        self.predict, self.version = predict, version
        self.settings |= {"version": version}

    def logits(self, waveform: Tensor) -> Tensor:
        self._check_length(waveform)
        try:
            output = np.array(self.bare(waveform), dtype=np.float64)  # a copy: some runtimes use one array again
        except (TypeError, ValueError) as error:
            raise ClassifierError(
                f"{self.name} fails on an array {tuple(waveform.shape)}: {named(error)}; expected a function from "
                "float32 (batch, samples) to (batch, classes)"
            ) from error
        self._check_shape(output.shape, len(waveform))
        return self._as_logits(torch.from_numpy(output)).to(waveform.device, torch.float32)

    def bare(self, waveform: Tensor) -> Any:
        # A copy as well, since it may write to what it is given.
        return self.predict(np.array(waveform.detach().cpu().numpy(), dtype=np.float32))

    def code_identity(self) -> Identity:
        if not self.version:
            return Identity("", f"{self.name} is a black box without a version; wrap it with version=...")
        return super().code_identity()
