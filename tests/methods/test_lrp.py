"""LRP against loops over the connections of a small network, sums of relevance, and what it must refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xaibench as xb
from tests.support.lazy import Lazy
from tests.support.sound_models import LogMel, clips, mel_cnn
from tests.support.toy import ids
from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import PictureClassifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.sound.audio import PICTURE_SHAPE
from xaibench.sound.batch import Batch
from xaibench.sound.randomness import seeded

RULES = ("z-plus", "gamma", "epsilon")
lrp = Lazy("xaibench.methods.lrp")
SHAPE = (6, 8)
TARGET = torch.tensor([1, 0])


class SmallCnn(PictureClassifier):
    """Two convolutions, a pool, the mean over places, two linear layers; in double precision."""

    def __init__(self, bias: bool = True, norm: bool = False, inplace: bool = False) -> None:
        super().__init__("small-cnn", "toy", ("a", "b", "c"), temperature=2.0)
        with seeded(3):
            self.blocks = nn.Sequential(
                nn.Conv2d(1, 3, 3, padding=1, bias=bias),
                *([nn.BatchNorm2d(3)] if norm else []),
                nn.ReLU(inplace),
                nn.AvgPool2d(2),
                nn.Conv2d(3, 4, 2, bias=bias),
                nn.ReLU(inplace),
            )
            self.head = nn.Sequential(nn.Linear(4, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3, bias=bias))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean[:] = torch.tensor([0.1, -0.2, 0.3])  # type: ignore[index]
                module.running_var[:] = torch.tensor([0.5, 2.0, 1.5])  # type: ignore[index]
                nn.init.uniform_(module.weight, -1, 1, generator=torch.Generator().manual_seed(0))
                nn.init.uniform_(module.bias, -1, 1, generator=torch.Generator().manual_seed(1))
        self.double().eval().requires_grad_(False)

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x[:, None].double()).mean(dim=(2, 3)))


class Residual(SmallCnn):
    """A sum of two ways, and a maximum; no biases."""

    def __init__(self) -> None:
        super().__init__(bias=False)
        with seeded(4):
            self.way = nn.Conv2d(4, 4, 3, padding=1, bias=False).double().requires_grad_(False)

    def picture_logits(self, x: Tensor) -> Tensor:
        features = self.blocks(x[:, None].double())
        features = torch.relu(features + self.way(features))
        return self.head(nn.functional.max_pool2d(features, 2, ceil_mode=True).mean(dim=(2, 3)))


class Smooth(SmallCnn):
    """A non-linearity that no module shows."""

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.gelu(self.blocks(x[:, None].double())).mean(dim=(2, 3)))


def pictures() -> Batch:
    return Batch(torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)), ids(2))


def method(name: str = "lrp", **parameters: Any) -> Explainer:
    made: Explainer = registry.create("methods", name).with_parameters(**parameters)
    return made


def logits_of_target(classifier: PictureClassifier, batch: Batch) -> Tensor:
    return classifier.temperature * classifier.picture_logits(batch.x).gather(1, TARGET[:, None])[:, 0]


def matrix(module: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A linear module as a matrix (outputs, inputs) and a bias, by asking it about every input alone."""
    nothing = torch.zeros(1, *shape, dtype=torch.float64)
    bias = module(nothing).flatten()
    columns = []
    for i in range(nothing.numel()):
        one = nothing.clone().flatten()
        one[i] = 1
        columns.append(module(one.reshape(1, *shape)).flatten() - bias)
    return torch.stack(columns, dim=1), bias


def shared(rule: str, a: list[float], w: list[list[float]], b: list[float], relevance: list[float]) -> list[float]:
    """Relevance of the inputs of one layer, connection by connection; "exact" is for pools, which have no epsilon."""
    found, gamma = [0.0] * len(a), 0.25
    for row, bias, arrived in zip(w, b, relevance, strict=True):
        parts = [one * weight for one, weight in zip(a, row, strict=True)]
        z = sum(parts) + bias
        if rule == "z-plus":
            parts, bias = [max(part, 0.0) for part in parts], max(bias, 0.0)
        elif rule == "gamma" and z > 0:
            parts, bias = [part + gamma * max(part, 0.0) for part in parts], bias + gamma * max(bias, 0.0)
        elif rule == "gamma":
            parts, bias = [part + gamma * min(part, 0.0) for part in parts], bias + gamma * min(bias, 0.0)
        total = sum(parts) + bias
        if rule != "exact":
            total += 1e-6 if total >= 0 else -1e-6
        if total != 0:
            found = [old + part / total * arrived for old, part in zip(found, parts, strict=True)]
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch norm"])
def test_lrp_by_loops(rule: str, norm: bool) -> None:
    """Bach et al., equations 58 and 60, Montavon et al. 2019, table 1: R_i = sum over j of z_ij / z_j R_j."""
    classifier, batch = SmallCnn(norm=norm), pictures()
    found = method(rule=rule).explain(classifier, batch, TARGET).map
    first, pool = nn.Sequential(*list(classifier.blocks)[: 2 if norm else 1]), nn.AvgPool2d(2)
    second = classifier.blocks[-2]
    mean = nn.Sequential(nn.AvgPool2d((2, 3)), nn.Flatten())
    layers = [
        (rule, *matrix(first, (1, 6, 8))),
        ("exact", *matrix(pool, (3, 6, 8))),
        (rule, *matrix(second, (3, 3, 4))),
        ("exact", *matrix(mean, (4, 2, 3))),
        ("epsilon", *matrix(classifier.head[0], (4,))),
        ("epsilon", *matrix(classifier.head[2], (5,))),
    ]
    rectified = (0, 2, 4)
    for clip in range(2):
        inputs = [batch.x[clip].double().flatten()]
        for number, (_, w, b) in enumerate(layers):
            z = w @ inputs[-1] + b
            inputs.append(z.relu() if number in rectified else z)
        relevance = [2.0 * float(z) if c == TARGET[clip] else 0.0 for c, z in enumerate(inputs[-1])]
        for (chosen, w, b), a in zip(reversed(layers), reversed(inputs[:-1]), strict=True):
            relevance = shared(chosen, a.tolist(), w.tolist(), b.tolist(), relevance)
        expected = torch.tensor(relevance).reshape(SHAPE)
        assert expected.abs().max() > 0
        torch.testing.assert_close(found[clip], expected.to(found), rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", [SmallCnn, Residual])
def test_without_biases_relevance_is_conserved(network: type[SmallCnn], rule: str) -> None:
    """The sum of the map is the logit, within 1%."""
    classifier, batch = Residual() if network is Residual else SmallCnn(bias=False), pictures()
    found = method(rule=rule).explain(classifier, batch, TARGET).map.sum(dim=(1, 2))
    torch.testing.assert_close(found.double(), logits_of_target(classifier, batch), rtol=0.01, atol=0)


def test_with_biases_they_take_the_rest() -> None:
    classifier, batch = SmallCnn(norm=True), pictures()
    for rule in RULES:
        found = lrp.propagate(
            classifier, lambda: classifier.temperature * classifier.picture_logits(batch.x), TARGET, rule
        )
        expected = float(logits_of_target(classifier, batch).sum())
        assert abs(found.of_bias) > 0.05 * abs(expected)
        assert found.total + found.of_bias == pytest.approx(expected, rel=1e-3)


class Everywhere(SmallCnn):
    """Logits at every place, which are averaged: nothing rectifies them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 3, 1).double().requires_grad_(False)
        self.last.bias[:] = torch.tensor([-1.0, -2.0, -3.0])

    def picture_logits(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(x[:, None].double())).mean(dim=(2, 3))


def test_what_a_negative_bias_takes_where_nothing_speaks_for_a_class_is_counted() -> None:
    """z-plus has nobody to give it to: that is no non-linearity."""
    classifier, batch = Everywhere(), pictures()
    classifier.last.weight.abs_().neg_()
    found = method().explain(classifier, batch, TARGET).map
    assert (found == 0).all()
    found = lrp.propagate(
        classifier, lambda: classifier.temperature * classifier.picture_logits(batch.x), TARGET, "z-plus"
    )
    assert found.of_bias == pytest.approx(float(logits_of_target(classifier, batch).sum()), rel=1e-3)


def test_a_relu_in_place_changes_nothing() -> None:
    batch = pictures()
    found = [method().explain(SmallCnn(norm=True, inplace=one), batch, TARGET).map for one in (False, True)]
    assert torch.equal(*found)


def test_epsilon_is_input_times_gradient_of_a_relu_network() -> None:
    """Ancona et al., arXiv 1711.06104, proposition 1; on the shipped network, by another route."""
    classifier = checkpoint.resolve("cnn-micro", "synth")[0]
    x = torch.rand(2, *PICTURE_SHAPE, generator=torch.Generator().manual_seed(0))
    batch = Batch(x, ids(2))
    found = method(rule="epsilon").explain(classifier, batch, TARGET).map
    expected = method("input-x-gradient", path="direct").explain(classifier, batch, TARGET).map
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()
    others = [method(rule=rule).explain(classifier, batch, TARGET).map for rule in ("z-plus", "gamma")]
    assert all((one - expected).abs().max() > 0.1 * expected.abs().max() for one in others)


def test_a_wrapped_network_is_explained_through_its_front_end() -> None:
    """With epsilon, the map is the gain's gradient; with all rules, what arrives behind the front end is the logit."""
    rate = 32_000
    classifier = xb.wrap(mel_cnn(), classes=("a", "b", "c", "d"), sample_rate=rate, front_end=LogMel())
    batch = Batch.of_sound(clips(2, rate, 1.0), ids(2), classifier.domain)
    assert method().refusal(classifier, has_ground_truth=False) is None
    found = method(rule="epsilon").explain(classifier, batch, TARGET).map
    expected = method("input-x-gradient").explain(classifier, batch, TARGET).map
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max() and expected.abs().max() > 0
    assert not torch.allclose(found, method(rule="z-plus").explain(classifier, batch, TARGET).map)


@pytest.mark.parametrize(
    ("name", "words"),
    [("vit-micro", "has no rule for LayerNorm"), ("focalnet-micro", "has no rule for LayerNorm")],
)
def test_what_has_no_rule_is_named(name: str, words: str) -> None:
    reason = method().refusal(checkpoint.build(name, ("a", "b")), has_ground_truth=False)
    assert reason is not None and reason.startswith(words) and name in reason


def test_a_non_linearity_that_no_module_shows_is_found_by_the_sum() -> None:
    assert method().refusal(Smooth(), has_ground_truth=False) is None
    with pytest.raises(ExplanationError, match=r"is not linear in pieces: relevance .* use integrated-gradients"):
        method().explain(Smooth(), pictures(), TARGET)
