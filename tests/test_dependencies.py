"""pyproject.toml lists the libraries that the code imports: none is missing, none is unused."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain

from tests.support.import_graph import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
TOOLS = {"test", "docs"}  # extras that no module of the package imports
OWN = {"xaibench", "tests", "engine", "throughput", "_quantus", "_processes"}  # the last four are benchmarks


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(lines: list[str]) -> set[str]:
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}  # type: ignore[index]


# Reads the records of everything that is installed.
distributions = cache(packages_distributions)


def imported(*folders: str) -> set[str]:
    """Distributions whose modules the files of some folders import."""
    top: set[str] = set()
    for path in (path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                top |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                top.add(str(node.module).partition(".")[0])
    origins = distributions()
    return {normal(origins[name][0]) for name in top - OWN - sys.stdlib_module_names}


def test_the_package_imports_what_it_declares_and_nothing_else() -> None:
    extras = [lines for name, lines in PROJECT["optional-dependencies"].items() if name not in TOOLS]
    every = declared([*PROJECT["dependencies"], *chain(*extras)])
    assert imported("xaibench", "methods", "metrics") == every


def test_the_tests_import_what_is_declared() -> None:
    extra = declared(PROJECT["optional-dependencies"]["test"])
    assert imported("tests", "benchmarks") - declared(PROJECT["dependencies"]) <= extra
