"""Capabilities: the core's own, a plugin's, and names that nobody has registered."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Protocol

import pytest
import torch

from tests.support.toy import LinearToy
from xaibench import registry
from xaibench.classifiers import capabilities
from xaibench.classifiers.capabilities import Capability
from xaibench.testing import GradientTimesInput, check_explainer, toy_classifier


class Counted(Protocol):
    """What the invented capability comes with."""

    counter: torch.nn.Module

    def count(self) -> int: ...


REGISTERED = Capability(refusal="needs {a} counter {}, which {classifier} of {family} lacks", protocol=Counted)
NO_CAPABILITY = "a sentence without its class"


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Capabilities of an installed plugin: a good one, one of the wrong type, one whose module is missing."""
    values = {
        "counted": f"{__name__}:REGISTERED",
        "mistyped": f"{__name__}:NO_CAPABILITY",
        "broken": "a_package_that_nobody_has:CAPABILITY",
    }
    points = [EntryPoint(name, value, "xaibench.capabilities") for name, value in values.items()]
    real = registry.entry_points
    with monkeypatch.context() as patch:
        patch.setattr(
            registry,
            "entry_points",
            lambda group: [*real(group=group), *(points if group == "xaibench.capabilities" else [])],
        )
        registry._entries.cache_clear()
        registry.load.cache_clear()
        yield
    registry._entries.cache_clear()
    registry.load.cache_clear()


def needing(*names: str) -> GradientTimesInput:
    kind = type("Needing", (GradientTimesInput,), {"requires": frozenset(names)})
    return kind()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("modulation", "needs focal modulation, which linear-toy (toy) has not"),
        ("attentions", "needs attention weights, which linear-toy (toy) has not"),
        ("rectifiers", "needs ReLU as the only non-linearity, which linear-toy (toy) has not"),
        ("ground_truth", "needs clips with ground truth, such as --dataset synth"),
        ("hope", "needs the capability 'hope', which linear-toy (toy) does not offer"),
        ("{odd} {}", "needs the capability '{odd} {}', which linear-toy (toy) does not offer"),
    ],
)
def test_a_refusal_is_a_sentence_whether_the_name_is_registered_or_not(name: str, sentence: str) -> None:
    assert needing(name).refusal(LinearToy(), has_ground_truth=False) == sentence


@pytest.mark.usefixtures("_registered")
def test_a_plugin_registers_its_own() -> None:
    toy = LinearToy()
    assert needing("counted").refusal(toy, False) == "needs {a} counter {}, which linear-toy of toy lacks"
    for name in ("mistyped", "broken"):
        plain = f"needs the capability '{name}', which linear-toy (toy) does not offer"
        assert needing(name).refusal(toy, False) == plain
    assert needing("modulation").refusal(toy, False) == "needs focal modulation, which linear-toy (toy) has not"


def test_what_is_offered_is_not_refused() -> None:
    toy = LinearToy()
    toy.capabilities = frozenset({"hope"})
    assert needing("hope").refusal(toy, has_ground_truth=False) is None
    assert needing("hope", "ground_truth").refusal(toy, has_ground_truth=True) is None
    assert needing("hope", "faith").refusal(toy, True) == (
        "needs the capability 'faith', which linear-toy (toy) does not offer"
    )


@pytest.mark.usefixtures("_registered")
def test_a_protocol_says_what_a_classifier_must_have() -> None:
    toy = LinearToy()
    assert capabilities.missing_members("counted", toy) == ["count", "counter"]
    toy.counter = torch.nn.Identity()
    assert capabilities.missing_members("counted", toy) == ["count"]
    toy.count = lambda: 3  # type: ignore[assignment]
    assert capabilities.missing_members("counted", toy) == []
    assert capabilities.missing_members("hope", toy) == []


@pytest.mark.usefixtures("_registered")
def test_the_kit_checks_an_explainer_of_an_invented_capability() -> None:
    classifier = toy_classifier()
    classifier.capabilities |= {"counted", "hope"}
    check_explainer(needing("hope"), classifier)
    with pytest.raises(AssertionError, match=r"toy-cnn offers 'counted' but has no count, counter$"):
        check_explainer(needing("counted"), classifier)
