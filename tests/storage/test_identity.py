"""Identity decides what is used again: what changes it, what does not, and where it cannot be told."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xaibench import registry
from xaibench.storage import code_closure, identity

CORE = '''
# a comment
SCALE = 2.0


def weigh(x):
    """Weigh."""
    return SCALE * x
'''
METHOD = '''
from plug.core import weigh


class Method:
    """A method."""

    title = "Method"
    description = "what it does"

    def __init__(self, steps=8):
        self.steps = steps

    def explain(self, x):
        return weigh(x) * self.steps
'''


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin's package whose method uses a helper in another folder of it."""
    root = tmp_path / "plug"
    (root / "methods").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "methods" / "__init__.py").write_text("")
    (root / "core.py").write_text(CORE)
    (root / "methods" / "m.py").write_text(METHOD)
    (root / "other.py").write_text("UNUSED = 1\n")
    (root / "table.csv").write_text("1,2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "plug"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    for cached in (code_closure.closure_of, code_closure._look_at, code_closure.source_of):
        cached.cache_clear()


def of_method(**arguments: Any) -> identity.Identity:
    _forget()
    kind = importlib.import_module("plug.methods.m").Method
    return identity.of_object(kind(**arguments))


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("core.py", "SCALE = 2.0", "SCALE = 3.0"),
        ("core.py", "SCALE * x", "SCALE * x * x"),
        ("methods/m.py", "* self.steps", "+ self.steps"),
        ("methods/m.py", "steps=8", "steps=9"),
        ("table.csv", "1,2", "1,3"),
        ("__init__.py", "", "FLAG = 1\n"),
    ],
)
def test_an_edit_anywhere_in_what_it_uses_changes_it(plug: Path, file: str, before: str, after: str) -> None:
    first = of_method()
    path = plug / file
    path.write_text(path.read_text().replace(before, after) if before else after)
    second = of_method()
    assert first.known and second.known
    assert first != second


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("core.py", "# a comment", "# another comment, and\n# a line more"),
        ("core.py", '"""Weigh."""', '"""Weigh by the scale."""'),
        ("methods/m.py", '"what it does"', '"what it does, in other words"'),
        ("other.py", "UNUSED = 1", "UNUSED = 2"),
    ],
)
def test_an_edit_that_decides_no_value_does_not(plug: Path, file: str, before: str, after: str) -> None:
    first = of_method()
    path = plug / file
    path.write_text(path.read_text().replace(before, after))
    assert of_method() == first


def test_what_the_constructor_got_counts(plug: Path) -> None:
    assert of_method(steps=8) == of_method() != of_method(steps=9)


@pytest.mark.parametrize(
    "line",
    [
        "import importlib\nweigh = importlib.import_module('plug.' + name).weigh",
        "weigh = __import__(name)",
        "exec(open('plug/core.py').read())",
    ],
)
def test_imports_by_name_cannot_be_followed(plug: Path, line: str) -> None:
    (plug / "methods" / "m.py").write_text(METHOD.replace("from plug.core import weigh", f"name = 'core'\n{line}"))
    _forget()
    found = code_closure.closure_of("plug.methods.m")
    assert any("imports or runs code by name" in doubt for doubt in found.doubts)


def test_classes_typed_into_a_notebook_differ_by_their_code_and_what_it_reaches() -> None:
    source = "class Mine:\n    def explain(self, x):\n        return helper(x) * SCALE\n"

    def made(helper: str, scale: float, **names: Any) -> identity.Identity:
        cell: dict[str, Any] = {"__name__": "__main__", "SCALE": scale, **names}
        exec(f"{helper}\n{source}", cell)
        return identity.of_code(cell["Mine"])

    plain = "def helper(x):\n    return x"
    assert made(plain, 2.0) == made(plain, 2.0, unused=5)
    assert len({made(plain, 2.0), made(plain, 3.0), made("def helper(x):\n    return x + 1", 2.0)}) == 3
    closed = "def outer(step):\n    def helper(x):\n        return x + step\n    return helper\nhelper = outer({})"
    assert made(closed.format(1), 2.0) == made(closed.format(1), 2.0) != made(closed.format(2), 2.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(3), torch.ones(3)),
        (np.zeros(3), np.zeros((3, 1))),
        ({"a": [1, (2, {3})]}, {"a": [1, (2, {4})]}),
        (1, True),
        ("1", 1),
        (torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)),  # other random weights
        (torch.nn.MaxPool2d(2), torch.nn.MaxPool2d(3)),
        (torch.float16, torch.float32),
    ],
)
def test_values_count(one: Any, other: Any) -> None:
    first, second = identity.of_object([one]), identity.of_object([other])
    assert first.known and second.known
    assert first == identity.of_object([one]) != second


def test_the_layout_of_a_tensor_in_memory_does_not_count() -> None:
    for plain in (torch.arange(6.0).reshape(1, 6, 1, 1), torch.randn(2, 3, 4, 4), torch.tensor(3.0), torch.zeros(0)):
        other = plain.to(memory_format=torch.channels_last) if plain.ndim == 4 else plain.clone()
        assert identity.of_object(other) == identity.of_object(plain)


@pytest.mark.parametrize("make", [lambda: (i for i in range(3)), lambda: sys.stdout, threading.Lock])
def test_where_it_cannot_be_told_it_says_so(make: Callable[[], Any]) -> None:
    found = identity.of_object([make()])
    assert not found.known and found.sha256 == ""
    assert found.doubt.startswith("it holds a ")
    assert not identity.joined(identity.of_object(1), found).known


def test_every_built_in_has_one() -> None:
    for group in ("methods", "metrics"):
        found = {}
        for name in registry.names(group):  # type: ignore[arg-type]
            one = identity.of_object(registry.create(group, name))  # type: ignore[arg-type]
            assert one.known, (name, one.doubt)
            found[name] = one
        assert len(set(found.values())) == len(found), "no two methods or metrics are the same"


def test_a_plot_or_a_help_text_is_no_part_of_a_score() -> None:
    modules = code_closure.closure_of("xaibench.scoring.part").modules
    assert {"xaibench.scoring.context", "xaibench.explaining.bound", "xaibench.sound.audio"} <= set(modules)
    aside = ("xaibench.reports", "xaibench.commands", "xaibench.papers", "xaibench.validation", "xaibench.cli")
    assert not [name for name in modules if name.startswith(aside)]


def test_a_script_on_standard_input_is_no_traceback() -> None:
    script = (
        "from xaibench.storage import identity\n"
        "class Mine:\n    def explain(self):\n        return 1\n"
        "print(identity.of_object(Mine()).known)\n"
    )
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"
