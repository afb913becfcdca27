"""Every registered metric keeps the contract of metrics."""

from __future__ import annotations

import pytest

from xaibench import registry
from xaibench.testing import check_metric


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_the_metric_keeps_its_contract(name: str) -> None:
    check_metric(registry.load("metrics", name))
