"""Methods that ask a classifier a few times: for tests of what does not depend on how good a map is."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaibench import registry
from xaibench.explaining.explainer import Explainer
from xaibench.storage.user_folders import CACHE_VARIABLE

FEWER = {"masks": 6, "samples": 6, "channels": 4, "steps": 4, "window": (171, 144), "stride": (86, 72)}


def asks_rarely(method: Explainer) -> Explainer:
    """The method with parameters that make it quick."""
    return method.with_parameters(**{name: value for name, value in FEWER.items() if name in method.parameters})


def let_all_ask_rarely(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Make every registered method that loads quick by default, for one test.

    What is kept of methods by package and version, such as their parameters, is kept in a cache of this test.
    """
    monkeypatch.setenv(CACHE_VARIABLE, str(cache / "of-quick-methods"))
    for method in registry.create_all("methods")[0].values():
        parameters = getattr(type(method), "parameters", {})
        for parameter in FEWER.keys() & parameters.keys():
            monkeypatch.setitem(parameters, parameter, FEWER[parameter])
