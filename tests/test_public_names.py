"""The names that `xaibench` exports: all load, nothing loads before its use, and packages need no others."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import xaibench
from tests.support.import_graph import REPOSITORY, imported
from xaibench import errors, registry
from xaibench.commands.scaffold import KINDS, new_package

EXAMPLE = REPOSITORY / "examples" / "xaibench-band-occlusion"
PAGES = ["README.md", "CONTRIBUTING.md", "methods/README.md", "metrics/README.md", "results/README.md", "docs/*.md"]
GROUPS = set(get_args(registry.Group))


def python(code: str) -> str:
    """What code prints in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def snippets(page: str) -> Iterator[str]:
    """The Python blocks of a page."""
    yield from re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def private_names(path: Path, source: str) -> list[str]:
    """What a file uses of xaibench that is no public name."""
    used = set(imported(path, source)) - {"xaibench"}
    used |= {f"xaibench.{name}" for name in re.findall(r"\bxb\.(\w+)", source)}
    return sorted(used - {f"xaibench.{name}" for name in dir(xaibench)})


@pytest.mark.parametrize("name", dir(xaibench))
def test_a_public_name_loads(name: str) -> None:
    assert getattr(xaibench, name) is not None


def test_editors_and_mypy_see_the_same_names_in_the_same_modules() -> None:
    tree = ast.parse(Path(xaibench.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    written = {(alias.asname, node.module) for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert written == set(xaibench._HOMES.items())


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, xaibench as xb; xb.__version__; dir(xb); xb.XaibenchError; from xaibench import RegistryError\n"
        "print([name for name in sys.modules if name.startswith(('torch', 'numpy', 'xaibench.'))])"
    )
    assert python(code) == "['xaibench._version', 'xaibench.errors']\n"


def test_every_error_that_a_user_catches_is_public() -> None:
    kinds = [errors.XaibenchError, *errors.XaibenchError.__subclasses__()]
    own = [kind for kind in kinds if kind.__module__ == errors.__name__]
    assert all(getattr(xaibench, kind.__name__) is kind for kind in own)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'xaibench' has no attribute 'Explaner'"):
        getattr(xaibench, "Explaner")  # noqa: B009
    with pytest.raises(ImportError, match="cannot import name 'Explaner'"):
        exec("from xaibench import Explaner")


def test_the_example_needs_public_names_alone() -> None:
    sources = sorted(EXAMPLE.rglob("*.py"))
    assert len(sources) >= 5
    assert {path.name: private_names(path, path.read_text()) for path in sources} == {path.name: [] for path in sources}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_needs_public_names_alone(kind: str, tmp_path: Path) -> None:
    folder = new_package(kind, "mine", tmp_path)
    sources = sorted(folder.rglob("*.py"))
    assert len(sources) == 2
    assert all(any(imported(path, path.read_text())) for path in sources)
    assert {path.name: private_names(path, path.read_text()) for path in sources} == {path.name: [] for path in sources}


def test_the_pages_name_public_names_alone() -> None:
    pages = [path for pattern in PAGES for path in sorted(REPOSITORY.glob(pattern))]
    pages += sorted((REPOSITORY / "examples").glob("*/README.md"))
    private = {
        str(page.relative_to(REPOSITORY)): [
            *(name for code in snippets(page.read_text()) for name in private_names(page, code)),
            *(
                name
                for name in re.findall(r"`xaibench\.(\w+)", page.read_text())
                if name not in {*dir(xaibench), *GROUPS}
            ),
        ]
        for page in pages
    }
    assert private == {page: [] for page in private}


@pytest.mark.parametrize(
    "source",
    [
        "from xaibench.sound.batch import Batch",
        "import xaibench.sound.batch",
        "from xaibench import registry",
        "import xaibench as xb\nxb.sound.batch.Batch",
    ],
)
def test_a_module_path_is_noticed(source: str) -> None:
    assert private_names(Path("xaibench/x.py"), source)


def test_the_readmes_explainer_keeps_the_contract() -> None:
    (code,) = [one for one in snippets((REPOSITORY / "README.md").read_text()) if "class MyMethod" in one]
    known: dict[str, type[xaibench.Explainer]] = {}
    exec(code, known)
    xaibench.check_explainer(known["MyMethod"])
