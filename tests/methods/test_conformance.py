"""Every registered explainer keeps the contract of explainers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.few_passes import asks_rarely
from xaibench import registry
from xaibench.testing import check_explainer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", registry.names("methods"))
def test_the_explainer_keeps_its_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "l2i":  # it is fitted several times
        monkeypatch.setitem(registry.load("methods", name).settings, "components", 8)
    if not getattr(registry.load("methods", name), "fittable", True):
        pytest.skip("its weights are of another project; its own tests make some and check it with them")
    check_explainer(asks_rarely(registry.create("methods", name)))


def test_the_page_has_every_method_with_its_family_and_its_parity_test() -> None:
    """methods/README.md, against the registry and the tests that there are."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in (ROOT / "methods" / "README.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    own = {name for name in registry.names("methods") if registry.origin("methods", name) == "xaibench"}
    families = {row[0]: row[1] for row in rows if len(row) == 6}
    assert families == {name: registry.load("methods", name).family for name in own}
    compared = {row[0]: row[2] for row in rows if len(row) == 3}
    assert compared.keys() == {name for name in own if not registry.load("methods", name).control}
    files = {file.name: file.read_text() for file in Path(__file__).parent.glob("test_*.py")}
    for test in compared.values():
        assert test in files or any(f"def {test}(" in text for text in files.values()), test
