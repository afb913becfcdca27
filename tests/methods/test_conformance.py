"""Every registered explainer keeps the contract of explainers."""

from __future__ import annotations

import pytest

from xaibench import registry
from xaibench.testing import check_explainer


@pytest.mark.parametrize("name", registry.names("methods"))
def test_the_explainer_keeps_its_contract(name: str) -> None:
    check_explainer(registry.load("methods", name))
