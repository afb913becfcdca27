"""Every registered dataset keeps the contract of datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaibench import registry
from xaibench.testing import check_dataset


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_the_dataset_keeps_its_contract(name: str, small_esc50: Path) -> None:
    kind = registry.load("datasets", name)
    check_dataset(kind(small_esc50) if kind.reads_folder else kind)
