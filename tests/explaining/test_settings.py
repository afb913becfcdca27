"""Parameters of methods by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.objects import LoudBins
from xaibench import registry
from xaibench.errors import XaibenchError
from xaibench.explaining import settings
from xaibench.explaining.trainable import TrainableExplainer
from xaibench.storage import identity


def test_a_changed_copy_has_its_own_parameters_and_identity() -> None:
    method = LoudBins()
    changed = method.with_parameters(power=3, window=[5, 6], centred=True)
    assert changed.parameters == LoudBins.parameters | {"power": 3.0, "window": (5, 6), "centred": True}
    assert method.parameters == LoudBins.parameters == {**method.parameters, "power": 2.0}
    assert identity.of_object(changed).sha256 != identity.of_object(method).sha256
    back = changed.with_parameters(power=2.0, window=(3, 4), centred=False)
    for same in (back, method.with_parameters(), method.with_parameters(power=2)):
        assert identity.of_object(same).sha256 == identity.of_object(method).sha256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pwer": 3}, "no parameter 'pwer'; did you mean 'power'"),
        ({"zzz": 3}, "there are power=2.0, window="),
        ({"power": "loud"}, "power cannot be 'loud'; give a float"),
        ({"power": float("nan")}, "power cannot be nan"),
        ({"steps": 2.5}, "steps cannot be 2.5; give a int"),
        ({"steps": 0}, "steps cannot be 0; give a whole number from 1"),
        ({"steps": True}, "steps cannot be True"),
        ({"window": (1, 2, 3)}, "give 2 values"),
        ({"centred": 1}, "centred cannot be 1"),
        ({"baseline": "noise"}, "baseline cannot be noise; it is silence"),
    ],
)
def test_values_that_a_parameter_cannot_have_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(XaibenchError, match=words):
        LoudBins().with_parameters(**changes)


def test_methods_are_made_of_what_is_typed() -> None:
    name, method = settings.create("integrated-gradients:steps=64,path=direct")
    assert name == "integrated-gradients" and (method.parameters["steps"], method.parameters["path"]) == (64, "direct")
    _, occlusion = settings.create("occlusion:window=72x30")
    assert occlusion.parameters["window"] == (72, 30)
    for text, words in (
        ("integrated-gradients:step=64", "did you mean 'steps'"),
        ("integrated-gradients:steps", "is not METHOD:setting=value"),
        ("integrated-gradients:steps=many", "steps cannot be 'many'"),
        ("integrated-gradients:path=round", "path cannot be round; it is sound or direct"),
        ("salience:steps=3", "did you mean 'saliency'"),
    ):
        with pytest.raises(XaibenchError, match=words):
            settings.create(text)


def test_names_have_settings_only_where_they_would_collide() -> None:
    one, other = (settings.create(f"integrated-gradients:steps={steps}") for steps in (64, 128))
    plain = settings.create("integrated-gradients")
    assert list(settings.labelled([one])) == ["integrated-gradients"]
    assert list(settings.labelled([plain, one])) == ["integrated-gradients", "integrated-gradients:steps=64"]
    assert list(settings.labelled([one, other])) == [
        "integrated-gradients:steps=64",
        "integrated-gradients:steps=128",
    ]
    assert list(settings.labelled([one, one, settings.create("integrated-gradients:steps=64")])) == [
        "integrated-gradients"
    ]


def test_fitted_methods_refuse_what_was_decided_when_they_were_fitted() -> None:
    made = [registry.create("methods", name) for name in registry.names("methods")]
    fitted = [one for one in made if isinstance(one, TrainableExplainer)]
    assert fitted
    for method in fitted:
        with pytest.raises(XaibenchError, match="xaibench fit --set"):
            method.with_parameters(temperature=1)


@pytest.mark.parametrize("name", registry.names("methods"))
def test_what_is_chosen_from_is_what_is_there(name: str) -> None:
    method = registry.create("methods", name)
    for key, choices in method.choices.items():
        value = method.parameters.get(key)
        assert value is None or value in choices or not isinstance(value, str), "a number, or a word instead"
