"""`xaibench new`: the written packages work as they are, and bad names are refused with the remedy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import xaibench
from tests.support.command_line import Command
from xaibench import testing
from xaibench.commands.scaffold import KINDS, new_package
from xaibench.errors import XaibenchError

NAMES = ["x", "my-method", "a-rather-long-name-of-4-words-or-more"]


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where a copy of what it defines looks for it
    spec.loader.exec_module(module)
    return module


def name_of(kind: str, words: str) -> str:
    return words.replace("-", KINDS[kind].separator)


@pytest.mark.parametrize("kind", KINDS)
def test_the_packages_are_whole_and_clean(kind: str, tmp_path: Path) -> None:
    for words in NAMES:
        name = name_of(kind, words)
        folder = new_package(kind, name, tmp_path / "made" / "on the way")
        assert folder == tmp_path / "made" / "on the way" / f"xaibench-{words}"
        module = words.replace("-", "_")
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
            ".gitignore",
            "README.md",
            "pyproject.toml",
            f"src/xaibench_{module}/__init__.py",
            f"tests/test_{module}.py",
        ]
        assert f"--{'method' if kind == 'explainer' else kind} {name} " in (folder / "README.md").read_text()
        assert not any("{{" in path.read_text() for path in folder.rglob("*") if path.is_file())
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        run = subprocess.run(ruff, cwd=folder.parent, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_registers_a_plugin_that_keeps_its_contract(kind: str, tmp_path: Path) -> None:
    name = name_of(kind, "my-own")
    folder = new_package(kind, name, tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "xaibench-my-own"
    assert project["dependencies"] == [f"xaibench>={xaibench.__version__}"]
    package, _, leaf = project["entry-points"][f"xaibench.{KINDS[kind].group}"][name].partition(":")
    try:
        made = getattr(load(folder / "src" / package / "__init__.py", package), leaf)
        getattr(testing, f"check_{kind}")(made)
    finally:
        sys.modules.pop(package, None)
    if kind != "classifier":
        assert made.__name__ == f"MyOwn{kind.capitalize()}"


def test_the_command_says_what_comes_next(xaibench: Command) -> None:
    for kind in KINDS:
        done = xaibench("new", kind, name_of(kind, f"my-{kind}"))
        assert done.code == 0, done.err
        folder = f"xaibench-my-{kind}"
        wrote, following, then = done.out.splitlines()
        assert wrote == f"wrote {folder}" and following == f"next: pip install -e {folder} && pytest {folder}"
        assert then.startswith("then: xaibench ") and name_of(kind, f"my-{kind}") in then


BAD = ["", "My-method", "my_method", "my method", "4ways", "-x", "x-", "a--b", "../up", "é", "all", "default"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_name_is_refused(kind: str, tmp_path: Path) -> None:
    for name in BAD:
        if kind == "metric":
            name = name.replace("_", "!").replace("-", "_").replace("!", "-")
        with pytest.raises(XaibenchError, match=r"lower-case letters, digits and single (hyphens|underscores)"):
            new_package(kind, name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name"),
    [("explainer", "saliency"), ("metric", "faithfulness"), ("classifier", "cnn-micro"), ("dataset", "synth")],
)
def test_a_registered_name_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(XaibenchError, match=f"'{name}' already, from xaibench; choose another name"):
        new_package(kind, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    new_package("explainer", "mine", tmp_path)
    changed = tmp_path / "xaibench-mine" / "README.md"
    changed.write_text("my own words")
    with pytest.raises(XaibenchError, match="exists already; choose another"):
        new_package("dataset", "mine", tmp_path)
    assert changed.read_text() == "my own words"
