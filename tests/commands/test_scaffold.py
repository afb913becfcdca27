"""`xaibench new`: the written package works as it is, and bad names are refused with the remedy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import xaibench
from xaibench.commands.scaffold import new_explainer
from xaibench.errors import XaibenchError
from xaibench.testing import check_explainer

NAMES = ["x", "my-method", "a-rather-long-name-of-4-words-or-more"]


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_the_package_is_whole_and_clean(name: str, tmp_path: Path) -> None:
    folder = new_explainer(name, tmp_path / "made" / "on the way")
    assert folder == tmp_path / "made" / "on the way" / f"xaibench-{name}"
    module = name.replace("-", "_")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        ".gitignore",
        "README.md",
        "pyproject.toml",
        f"src/xaibench_{module}/__init__.py",
        f"tests/test_{module}.py",
    ]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        run = subprocess.run(ruff, cwd=folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
    assert f"--method {name} " in (folder / "README.md").read_text()
    assert not any("{{" in path.read_text() for path in folder.rglob("*") if path.is_file())


def test_the_package_registers_an_explainer_that_keeps_the_contract(tmp_path: Path) -> None:
    folder = new_explainer("my-method", tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "xaibench-my-method"
    assert project["dependencies"] == [f"xaibench>={xaibench.__version__}"]
    target = project["entry-points"]["xaibench.methods"]["my-method"]
    package, _, class_name = target.partition(":")
    explainer = getattr(load(folder / "src" / package / "__init__.py", package), class_name)
    assert explainer.title == "My method"
    check_explainer(explainer)


@pytest.mark.parametrize("name", ["", "My-method", "my_method", "my method", "4ways", "-x", "x-", "a--b", "../up", "é"])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(XaibenchError, match="lower-case letters, digits and single hyphens"):
        new_explainer(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_registered_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XaibenchError, match="'saliency' already, from xaibench; choose another name"):
        new_explainer("saliency", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    new_explainer("mine", tmp_path)
    changed = tmp_path / "xaibench-mine" / "README.md"
    changed.write_text("my own words")
    with pytest.raises(XaibenchError, match="exists already; choose another"):
        new_explainer("mine", tmp_path)
    assert changed.read_text() == "my own words"
