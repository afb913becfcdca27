"""Modules that a test file names at its top and that are loaded when a test first asks for something of theirs."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Stand for a module that is not imported yet, such as a leaf's own or a large library.

    Collecting the suite imports every test file; what only some tests use need not be loaded for that.

    To replace something of it, name it: `monkeypatch.setattr("module.attribute", value)`.

    Args:
        name: of the module, absolute.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or attribute == "_mock_name":
            raise AttributeError(attribute)  # pytest asks every object of a test file whether it is a test, or a mock
        return getattr(importlib.import_module(self._name), attribute)
