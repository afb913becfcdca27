"""Every registered dataset keeps the contract of datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import small_folder
from xaibench import registry
from xaibench.testing import check_dataset


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_the_dataset_keeps_its_contract(
    name: str, small_esc50: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind = registry.load("datasets", name)
    if kind.origin:  # made of real clips
        check_dataset(kind(request.getfixturevalue("esc50_folder")))
        return
    layouts = {
        "folder": lambda: small_folder.as_folder(small_esc50, tmp_path / "folder"),
        "csv": lambda: small_folder.as_table(small_esc50, tmp_path / "clips.csv"),
        "urbansound8k": lambda: small_folder.as_urbansound8k(small_esc50, tmp_path / "urban"),
    }
    check_dataset(kind(layouts.get(name, lambda: small_esc50)()) if kind.reads_folder else kind)
