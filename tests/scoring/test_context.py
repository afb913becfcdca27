"""Probabilities of parts: right, each forwarded once, whatever the batch size and the memory."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from tests.support.toy import LinearToy, context, ids, probability_function
from xaibench import registry
from xaibench.classifiers.forward import CPU_BATCH, GPU_BATCH, Forwarder, automatic_batch_size
from xaibench.errors import XaibenchError
from xaibench.explaining.bound import BoundExplainer
from xaibench.results.areas import AREAS, CURVE_AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import Masked, Perturbation, ScoringContext
from xaibench.scoring.protocol import SPECTROGRAM
from xaibench.sound.batch import Batch
from xaibench.testing import GradientTimesInput

ALL_PAIRS = [(part, area) for area in (*AREAS, *CURVE_AREAS) for part in ("kept", "removed")]


def clips(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 9, 7, generator=generator), torch.rand(count, 9, 7, generator=generator)


class Recording(LinearToy):
    """Remembers every spectrogram that it classifies."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[bytes] = []

    def picture_logits(self, x: Tensor) -> Tensor:
        self.inputs.extend(one.numpy().tobytes() for one in x)
        return super().picture_logits(x)


class Cramped(LinearToy):
    """Runs out of memory above `room` inputs, as a GPU or as the CPU's allocator says it."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room = room
        self.error = error

    def picture_logits(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            self.forwarded.append(-len(x))
            raise self.error
        return super().picture_logits(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate"),
    RuntimeError("CUDA error: out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("part", ["kept", "removed"])
def test_parts_are_the_spectrogram_times_the_mask_and_its_complement(part):
    x, importance = clips(4)
    made = context(LinearToy(), x, importance)
    single = probability_function(LinearToy())
    for area in AREAS:
        mask = made.ranking.top(area)
        masked = x * (mask if part == "kept" else ~mask)
        expected = torch.tensor([list(single(one.numpy())) for one in masked], dtype=torch.float64)
        assert torch.allclose(made.probabilities(Masked(part, area)), expected, rtol=1e-12, atol=1e-12)


def test_target_is_the_predicted_class_and_p_its_probability():
    x, importance = clips(6)
    made = context(LinearToy(), x, importance)
    single = probability_function(LinearToy())
    for i in range(6):
        p = list(single(x[i].numpy()))
        assert int(made.target[i]) == p.index(max(p))
        assert float(made.p_full[i]) == pytest.approx(max(p), rel=1e-12)
        c = int(made.target[i])
        assert float(made.p_kept(0.1)[i]) == float(made.probabilities(Masked("kept", 0.1))[i, c])
        assert float(made.p_removed(0.1)[i]) == float(made.probabilities(Masked("removed", 0.1))[i, c])
    assert len(made) == 6


def test_every_part_is_forwarded_once_whoever_asks():
    x, importance = clips(3)
    classifier = Recording()
    made = context(classifier, x, importance)
    classifier.inputs.clear()
    made.require([Masked(*pair) for pair in (*ALL_PAIRS, *ALL_PAIRS)])
    for name in registry.names("metrics"):
        metric = registry.load("metrics", name)()
        if metric.in_default_set and SPECTROGRAM.name in metric.protocols and not metric.needs_ground_truth:
            for area in AREAS if metric.per_area else (None,):
                metric.score(made, area)
    for part, area in ALL_PAIRS:
        made.probabilities(Masked(part, area))
    inner = {pair for pair in ALL_PAIRS if 0 < pair[1] < 1}
    assert len(inner) == 2 * 19  # the protocol's areas are points of the curves
    assert len(classifier.inputs) == 3 * len(inner)
    assert set(Counter(classifier.inputs).values()) == {1}


def test_ends_of_the_curves_are_the_clean_clip_and_silence_and_cost_nothing():
    x, importance = clips(3)
    classifier = Recording()
    made = context(classifier, x, importance)
    classifier.inputs.clear()
    silence = made.clean.silence.softmax(0).expand(3, -1)
    assert torch.equal(made.probabilities(Masked("kept", 1.0)), made.clean.probabilities)
    assert torch.equal(made.probabilities(Masked("removed", 0.0)), made.clean.probabilities)
    assert torch.equal(made.probabilities(Masked("kept", 0.0)), silence)
    assert torch.equal(made.probabilities(Masked("removed", 1.0)), silence)
    assert classifier.inputs == []


@pytest.mark.parametrize("clip_count", [1, 3, 10])
def test_batch_size_does_not_change_probabilities(clip_count):
    x, importance = clips(clip_count)
    found = {}
    for batch_size in (1, 7, 16):
        classifier = LinearToy()
        made = context(classifier, x, importance, batch_size=batch_size)
        made.require([Masked(*pair) for pair in ALL_PAIRS])
        assert max(classifier.forwarded) <= batch_size
        found[batch_size] = torch.stack([made.probabilities(Masked(part, area)) for part, area in ALL_PAIRS])
    assert torch.allclose(found[1], found[7], rtol=0, atol=1e-6)
    assert torch.allclose(found[1], found[16], rtol=0, atol=1e-6)


def test_on_a_cpu_a_perturbation_is_a_batch_of_its_own():
    x, importance = clips(3)
    classifier = LinearToy()
    made = context(classifier, x, importance, batch_size=16)
    classifier.forwarded.clear()
    made.require([Masked(part, area) for area in AREAS for part in ("kept", "removed")])
    assert classifier.forwarded == [3] * 8


def test_the_forwarder_counts_inputs():
    x, _ = clips(9)
    forwarder = Forwarder(LinearToy(), 4)
    forwarder.logits(x)
    forwarder.logits(x[:2])
    assert forwarder.count == 11
    assert forwarder.classifier.forwarded == [4, 4, 1, 2]


def test_probabilities_are_double_at_the_classifiers_temperature():
    x, _ = clips(2)
    classifier = LinearToy(temperature=0.25)
    p = torch.softmax(Forwarder(classifier, 4).logits(x), dim=1)
    assert p.dtype == torch.float64
    assert not p.requires_grad
    assert torch.allclose(p.sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(p, torch.softmax(0.25 * classifier.picture_logits(x), dim=1), rtol=1e-12)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__}-{str(error)[:12]}")
@pytest.mark.parametrize("room", [1, 3, 5])
def test_running_out_of_memory_halves_the_batch_and_is_remembered(room, error):
    x, importance = clips(7)
    classifier = Cramped(room, error)
    forwarder = Forwarder(classifier, 16)
    assert torch.allclose(forwarder.logits(x), Forwarder(LinearToy(), 16).logits(x), rtol=1e-12)
    assert forwarder.batch_size <= room
    assert forwarder.count == 7
    classifier.forwarded.clear()
    forwarder.logits(x)
    assert min(classifier.forwarded) > 0  # no second failure
    halved = context(Cramped(room, error), x, importance)
    whole = context(LinearToy(), x, importance)
    for part, area in ALL_PAIRS:
        expected = whole.probabilities(Masked(part, area))
        assert torch.allclose(halved.probabilities(Masked(part, area)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__}-{str(error)[:12]}")
def test_one_input_that_does_not_fit_is_an_error_with_a_remedy(error):
    forwarder = Forwarder(Cramped(0, error), 16)
    with pytest.raises(XaibenchError, match="does not fit in the memory of linear-toy's device; use --device cpu"):
        forwarder.logits(clips(5)[0])


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")])
def test_other_errors_pass_through_untouched(error):
    forwarder = Forwarder(Cramped(2, error), 16)
    with pytest.raises(type(error)) as caught:
        forwarder.logits(clips(5)[0])
    assert caught.value is error
    assert forwarder.batch_size == 16


def test_micro_batches_cover_every_index_once_and_in_order():
    spans: list[tuple[int, int]] = []

    def work(start: int, stop: int) -> int:
        if stop - start > 4:
            raise torch.OutOfMemoryError("full")
        spans.append((start, stop))
        return stop - start

    forwarder = Forwarder(LinearToy(), 9)
    assert sum(forwarder.in_micro_batches(11, work)) == 11
    assert spans == [(0, 4), (4, 8), (8, 11)]
    assert forwarder.in_micro_batches(0, work) == []


class _Activation:
    """Stands for what a failed forward pass holds on the device."""


def test_a_failed_pass_is_freed_before_the_half_is_tried():
    held: list[weakref.ref] = []
    alive: list[bool] = []

    def work(start: int, stop: int) -> int:
        alive.extend(reference() is not None for reference in held)
        activation = _Activation()
        held.append(weakref.ref(activation))
        if stop - start > 1:
            raise torch.OutOfMemoryError("full")
        return 1

    Forwarder(LinearToy(), 4).in_micro_batches(4, work)
    assert not any(alive)


class Unsteady(LinearToy):
    """Logits that differ in the last digits with the size of the batch, as matrix products in float32 do."""

    def picture_logits(self, x: Tensor) -> Tensor:
        logits = super().picture_logits(x)
        return logits + 1e-7 * len(x) * torch.arange(logits.shape[1])


def test_a_part_that_is_the_whole_clip_has_its_probability():
    """Digital silence fills more than half of many clips: a mask on all that sounds removes nothing."""
    x, _ = clips(3)
    x[:, :, 2:] = 0
    made = context(Unsteady(), x, x)
    assert torch.equal(x * made.ranking.top(0.4), x)
    assert torch.equal(made.p_kept(0.4), made.p_full)
    assert torch.equal(made.logits(Masked("removed", 0.4)), made.clean.silence.expand(3, -1))


def test_known_evidence_is_the_batchs():
    x, importance = clips(2)
    known = importance > 0.5
    assert torch.equal(context(LinearToy(), x, importance, known).ground_truth, known)
    assert context(LinearToy(), x, importance).ground_truth is None


def test_evidence_of_one_batch_is_shared_by_methods():
    """Two methods on one Clean forward only their own parts."""
    x, importance = clips(2)
    classifier = Recording()
    forwarder = Forwarder(classifier, 16)
    clean = Clean(Batch(x, ids(2)), forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    for maps in (importance, 1 - importance):
        ScoringContext(clean, maps, BoundExplainer(GradientTimesInput(), forwarder)).require(
            [Masked("kept", 0.1), Masked("removed", 0.1)]
        )
    assert forwarder.count == 2 + 1 + 2 * 2 * 2


def test_automatic_batch_size():
    assert automatic_batch_size(torch.device("cpu")) == CPU_BATCH
    assert automatic_batch_size(torch.device("cuda")) == GPU_BATCH


@dataclass(frozen=True)
class Halved(Perturbation):
    """The clip at half its level, whatever the map."""

    depends_on_map = False

    def apply(self, context: ScoringContext) -> Tensor:
        return context.clean.batch.x / 2


def test_what_does_not_depend_on_the_map_is_forwarded_once_for_all_methods():
    x, importance = clips(2)
    classifier = Recording()
    first = context(classifier, x, importance)
    second = ScoringContext(first.clean, 1 - importance, first.explainer)
    classifier.inputs.clear()
    assert torch.equal(first.logits(Halved()), second.logits(Halved()))
    assert len(classifier.inputs) == 2
    assert not torch.equal(first.logits(Masked("kept", 0.2)), second.logits(Masked("kept", 0.2)))
    assert len(classifier.inputs) == 2 + 2 * 2
