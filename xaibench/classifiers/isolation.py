"""Nothing that is called may change what others are scored with: classifier, clips, and the state of the process.

After every call the cheap signs are read (version counters, modes, hooks, submodules, the process's settings). Some
writes leave none of them (`parameter.data.mul_()`, `parameter.detach().numpy()`), so weights, buffers and clips are
also compared with a pristine copy, once for each method and part. What was changed is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaibench.classifiers import determinism
from xaibench.classifiers.base import Classifier
from xaibench.errors import IsolationError
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import random_states, restore

_OF_CLASSIFIER = (
    "name",
    "family",
    "classes",
    "temperature",
    "activation",
    "sample_rate",
    "samples",
    "domain",
    "capabilities",
    "settings",
)
_MAPPINGS = ("_parameters", "_buffers", "_modules")
_HOOKS = tuple(name for name, value in vars(nn.Module()).items() if name.endswith("_hooks") and value is not None)


class Guard:
    """Watches one classifier, and the clips and the process around it, while other people's code runs.

    Args:
        classifier: as it must stay.
        announce: told of what is about to be called; when that is done, of the call around it, or "" if there is none.
    """

    def __init__(self, classifier: Classifier, announce: Callable[[str], None] = lambda what: None) -> None:
        self._classifier = classifier
        self._announce, self._calls = announce, [""]
        self._modules = [_Module(name, module) for name, module in classifier.named_modules()]
        self._facts = _facts(classifier)
        self._tensors = [_Kept(name, tensor) for name, tensor in _tensors(classifier)]

    @contextmanager
    def watched(self, what: str, batch: Batch, target: Tensor) -> Iterator[None]:
        """Watch a call for signs that it changes something; what it changed is put back.

        Args:
            what: is called, for the error.
            batch, target: what it is given.

        Raises:
            IsolationError: the call, which may have failed too, has left something changed.
        """
        given = _given(batch, target)
        versions = [_version(tensor) for tensor in given.values()]
        # As they are now: a metric may ask about the classifier with other weights, inside its own `with`.
        process, signs = _Process(), _Signs(self._classifier)
        self._calls.append(what)
        self._announce(what)
        try:
            yield
        finally:
            self._calls.pop()
            self._announce(self._calls[-1])
            changed = process.changes() + signs.changes(self._tensors)
            after = [_version(tensor) for tensor in given.values()]
            changed += [name for name, one, other in zip(given, versions, after, strict=True) if one != other]
            if changed:
                process.put_back()
                self.put_back()
                raise IsolationError(_sentence(what, changed))

    def check(self, what: str, clips: Clips) -> None:
        """Compare weights, buffers and clips with what they were, number by number; what changed is put back.

        Raises:
            IsolationError: something is other than it was.
        """
        changed = [one.name for one in self._tensors if not one.same()] + clips.changes()
        if changed:
            self.put_back()
            clips.put_back()
            raise IsolationError(_sentence(what, changed))

    def put_back(self) -> None:
        """Make the classifier what it was."""
        for module in self._modules:
            module.put_back()
        for name, value in self._facts.items():
            setattr(self._classifier, name, value)
        for tensor in self._tensors:
            tensor.put_back()


class _Signs:
    """The cheap signs of a classifier at one moment."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._modules = [_Module(name, module) for name, module in classifier.named_modules()]
        self._facts = _facts(classifier)
        self._tensors = [(name, tensor, _sign(tensor)) for name, tensor in _tensors(classifier)]

    def changes(self, pristine: list[_Kept]) -> list[str]:
        """Name what has changed since; what was written to and holds its pristine numbers again has not."""
        now = _facts(self._classifier)
        changed = [sign for module in self._modules for sign in module.changes()]
        changed += [f"the classifier's {name}" for name, value in self._facts.items() if now[name] != value]
        written = {name for name, tensor, sign in self._tensors if _sign(tensor)[0] != sign[0]}
        changed += [name for name, tensor, sign in self._tensors if _sign(tensor)[1:] != sign[1:]]
        return changed + [one.name for one in pristine if one.name in written and not one.same()]


class Clips:
    """A pristine copy of a batch and its targets."""

    def __init__(self, batch: Batch, target: Tensor) -> None:
        self._kept = [_Kept(name, tensor) for name, tensor in _given(batch, target).items()]

    def changes(self) -> list[str]:
        """Name what is other than it was."""
        return [one.name for one in self._kept if not one.same()]

    def put_back(self) -> None:
        """Make the clips what they were."""
        for one in self._kept:
            one.put_back()


@dataclass
class _Kept:
    """A tensor and what it was."""

    name: str
    tensor: Tensor

    def __post_init__(self) -> None:
        self._copy = self.tensor.detach().clone()
        self._asks_gradient = self.tensor.requires_grad

    def same(self) -> bool:
        return _equal(self.tensor.detach(), self._copy)

    def put_back(self) -> None:
        if not self.same():
            self.tensor.data = self._copy.clone()
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self._asks_gradient)
        self.tensor.grad = None
        self.tensor._backward_hooks = None


class _Module:
    """The structure of one module: its mode, what hangs on it, and its hooks."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self._module = name or "the classifier", module
        self._training = module.training
        self._forward = vars(module).get("forward")
        self._mappings = {key: dict(vars(module)[key]) for key in _MAPPINGS}
        self._hooks = {key: dict(hooks) for key in _HOOKS if (hooks := vars(module)[key])}

    def changes(self) -> list[str]:
        found = []
        if self._module.training != self._training:
            found.append(f"the training mode of {self.name}")
        if vars(self._module).get("forward") is not self._forward:
            found.append(f"forward() of {self.name}")
        for key, before in self._mappings.items():
            now = vars(self._module)[key]
            if now.keys() != before.keys() or any(now[name] is not before[name] for name in before):
                found.append(f"{key.removeprefix('_')} of {self.name}")
        for key in _HOOKS:
            hooks = vars(self._module)[key]
            if (hooks or key in self._hooks) and list(hooks) != list(self._hooks.get(key, ())):
                found.append(f"hooks of {self.name}")
                break
        return found

    def put_back(self) -> None:
        self._module.training = self._training
        if self._forward is None:
            vars(self._module).pop("forward", None)
        for key, before in self._mappings.items():
            now = vars(self._module)[key]
            now.clear()
            now.update(before)
        for key in _HOOKS:
            hooks = vars(self._module)[key]
            hooks.clear()
            hooks.update(self._hooks.get(key, {}))


class _Process:
    """Settings and random states of the process."""

    def __init__(self) -> None:
        self._random = random_states()
        self._settings = _settings()

    def changes(self) -> list[str]:
        now, states = _settings(), random_states()
        found = [name for name, value in self._settings.items() if now[name] != value]
        if not torch.equal(states.torch, self._random.torch) or any(
            not torch.equal(one, other) for one, other in zip(states.cuda, self._random.cuda, strict=False)
        ):
            found.append("torch's global random state (draw from batch.generator instead)")
        same_numpy = (
            np.array_equal(states.numpy[1], self._random.numpy[1]) and states.numpy[2:] == self._random.numpy[2:]
        )
        if not same_numpy:
            found.append("numpy's global random state (draw from batch.generator instead)")
        if states.python != self._random.python:
            found.append("Python's global random state (draw from batch.generator instead)")
        return found

    def put_back(self) -> None:
        torch.set_default_dtype(self._settings["torch's default dtype"])
        torch.set_grad_enabled(self._settings["torch's gradient mode"])
        torch.set_num_threads(self._settings["torch's number of threads"])
        determinism.restore(self._settings["torch's determinism"])
        restore(self._random)


def _settings() -> dict[str, Any]:
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's determinism": determinism.setting(),
    }


def _given(batch: Batch, target: Tensor) -> dict[str, Tensor]:
    return {"the target": target} | {f"batch.{name}": tensor for name, tensor in batch.tensors().items()}


def _tensors(classifier: Classifier) -> Iterator[tuple[str, Tensor]]:
    yield from classifier.named_parameters()
    yield from classifier.named_buffers()


def _facts(classifier: Classifier) -> dict[str, Any]:
    return {name: getattr(classifier, name) for name in _OF_CLASSIFIER}


def _sign(tensor: Tensor) -> tuple[int, bool, bool, int]:
    return _version(tensor), tensor.requires_grad, tensor.grad is None, len(tensor._backward_hooks or ())


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    missing = one.isnan()
    return torch.equal(missing, other.isnan()) and torch.equal(one[~missing], other[~missing])


def _sentence(what: str, changed: list[str]) -> str:
    listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return f"{what} leaves changed: {listed}; it must leave all as it was (it has been put back)"
