"""Every registered explainer keeps the contract of explainers."""

from __future__ import annotations

import pytest

from tests.support.few_passes import asks_rarely
from xaibench import registry
from xaibench.testing import check_explainer


@pytest.mark.parametrize("name", registry.names("methods"))
def test_the_explainer_keeps_its_contract(name: str) -> None:
    if not getattr(registry.load("methods", name), "fittable", True):
        pytest.skip("its weights are of another project; its own tests make some and check it with them")
    check_explainer(asks_rarely(registry.create("methods", name)))
