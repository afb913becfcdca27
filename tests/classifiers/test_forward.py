"""Forward passes: batches that fit the memory, and options whose effect on the logits is known."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from xaibench.classifiers.forward import Forwarder
from xaibench.errors import ClassifierError, XaibenchError
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.testing import toy_batch, toy_classifier

LONG = bool(os.environ.get("XAIBENCH_LONG"))


def test_bfloat16_changes_the_logits_a_little() -> None:
    x, classifier = toy_batch().x, toy_classifier()
    full = Forwarder(classifier, 16).logits(x)
    reduced = Forwarder(classifier, 16, torch.bfloat16).logits(x)
    gap = (full - reduced).abs().max()
    assert reduced.dtype == torch.float64
    assert 0 < gap < 0.05 * full.abs().max()


def test_a_compiled_classifier_is_traced_once_for_batches_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is traced is run as it is: the compiler behind it takes half a minute."""
    traced: list[GraphModule] = []

    def keep(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep))
    x, classifier = toy_batch().x, toy_classifier()
    compiled = Forwarder(classifier, 16, compiled=True)
    for count in (3, 2):
        some = x[:count].clone()  # a part of a batch, as a view, would be traced again
        expected = Forwarder(classifier, 16).logits(some)
        torch.testing.assert_close(compiled.logits(some), expected, rtol=1e-4, atol=1e-4)
    assert len(traced) == 1


@pytest.mark.skipif(not LONG, reason="the compiler takes half a minute; XAIBENCH_LONG=1 runs it")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_logits_are_the_same_but_for_rounding() -> None:
    x, classifier = toy_batch().x, toy_classifier()
    compiled = Forwarder(classifier, 16, compiled=True)
    for count in (3, 2):
        expected = Forwarder(classifier, 16).logits(x[:count])
        torch.testing.assert_close(compiled.logits(x[:count]), expected, rtol=1e-4, atol=1e-4)


def test_memory_that_runs_out_halves_the_batch_and_frees_the_attempt(loaded: LoadedClassifier) -> None:
    forwarder = Forwarder(loaded.classifier, 8)
    attempts: list[tuple[int, int]] = []
    alive: list[weakref.ref[Tensor]] = []

    def work(start: int, stop: int) -> int:
        # What the failed attempt held must be gone, or the smaller batch has less room than the larger had.
        assert all(reference() is None for reference in alive)
        attempts.append((start, stop))
        activations = torch.zeros(10)
        if stop - start > 2:
            alive.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stop - start

    assert forwarder.in_micro_batches(5, work) == [2, 2, 1]
    assert attempts == [(0, 5), (0, 2), (2, 4), (4, 5)]
    assert forwarder.batch_size == 2

    def never(start: int, stop: int) -> int:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    with pytest.raises(XaibenchError, match=r"one clip does not fit in the memory .*; use --device cpu or a smaller"):
        forwarder.in_micro_batches(5, never)

    def other(start: int, stop: int) -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        forwarder.in_micro_batches(5, other)


def test_forwarder_counts_and_scales(loaded: LoadedClassifier) -> None:
    x = torch.rand(5, 513, 431, generator=torch.Generator().manual_seed(0))
    forwarder = Forwarder(loaded.classifier, 2)
    p = torch.softmax(forwarder.logits(x), dim=1)
    assert p.dtype == torch.float64
    assert forwarder.count == 5
    with torch.inference_mode():
        logits = loaded.classifier.picture_logits(x).double()
    expected = torch.softmax(loaded.classifier.temperature * logits, dim=1)
    torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("megabytes", [1 << 25, 1 << 42])
def test_memory_that_runs_out_is_recognised_in_the_words_of_this_system(
    loaded: LoadedClassifier, megabytes: int
) -> None:
    forwarder = Forwarder(loaded.classifier, 4)

    def work(start: int, stop: int) -> int:
        if stop - start > 1:
            torch.empty(megabytes << 20, dtype=torch.uint8)
        return stop - start

    assert forwarder.in_micro_batches(3, work) == [1, 1, 1]


@pytest.mark.parametrize("wrong", [lambda x: x[:, :3], lambda x: x[0], lambda x: x.tolist()])
def test_logits_of_other_classes_than_the_named_ones_are_refused(wrong: Callable[[Tensor], object]) -> None:
    classifier, x = toy_classifier(), toy_batch().x
    right = classifier.picture_logits
    classifier.picture_logits = lambda x: wrong(right(x))  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ClassifierError, match=r"toy-cnn gives logits .* for 3 clips and 4 classes, expected \(3, 4\)"):
        Forwarder(classifier, 16).logits(x)
