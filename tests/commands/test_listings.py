"""The listings of what there is."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.support.command_line import Command, assert_refused
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.storage.user_folders import CACHE_VARIABLE


@pytest.mark.parametrize("group", ["methods", "metrics", "classifiers", "datasets"])
def test_listings(xaibench: Command, group: registry.Group) -> None:
    done = xaibench(group)
    assert done.code == 0
    lines = done.out.splitlines()
    for name in registry.names(group):
        (line,) = [line for line in lines if line.split() and line.split()[0] == name]
        assert len(line.split()) > 3, "a name with no word about it"
    for name in registry.names(group)[:3]:
        shown = xaibench(group, "show", name)
        assert shown.code == 0
        assert shown.out.split()[:2] == ["name", name]
        assert shown.out.split()[-2:] == ["from", "xaibench"]


@pytest.mark.parametrize("group", ["methods", "metrics", "classifiers", "datasets"])
def test_a_name_without_show_is_told_the_remedy(xaibench: Command, group: registry.Group) -> None:
    name = registry.names(group)[0]
    assert_refused(
        xaibench(group, name), f"there is no command 'xaibench {group} {name}'", f"xaibench {group} show {name}"
    )


def test_methods_are_listed_by_family(xaibench: Command) -> None:
    every = {name: registry.load("methods", name) for name in registry.names("methods")}
    family, seen = "", {}
    for line in xaibench("methods").out.splitlines():
        words = line.split()
        if words[:1] == ["family"]:
            family = " ".join(words[1:])
        elif words and words[0] in every:
            seen[words[0]] = family
    assert seen == {name: method.family for name, method in every.items()}
    assert list(seen.values()) == sorted(seen.values())
    assert "other" not in {seen[name] for name in every if registry.origin("methods", name) == "xaibench"}
    assert "attention" in xaibench("methods", "show", "vit-rollout").out.splitlines()[2]


def test_piped_lines_end_where_their_text_ends(xaibench: Command) -> None:
    for group in ("methods", "metrics", "datasets"):
        lines = xaibench(group).out.splitlines()
        assert all(line == line.rstrip() for line in lines) and any(len(line) > 100 for line in lines)


def test_metrics_are_listed_by_family_and_the_default_set_is_marked(xaibench: Command) -> None:
    every = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    family, seen = "", {}
    for line in xaibench("metrics").out.splitlines():
        words = line.split()
        if words[:1] == ["family"]:
            (family,) = words[1:]
        elif words and words[0] in every:
            seen[words[0]] = (family, words[1] == "*")
    assert seen == {name: (metric.family, metric.in_default_set) for name, metric in every.items()}
    assert [family for family, _ in seen.values()] == sorted(family for family, _ in seen.values())


def test_listings_as_json(xaibench: Command) -> None:
    listed = {line["name"]: line for line in json.loads(xaibench("metrics", "--json").out)}
    assert set(registry.names("metrics")) < set(listed), "and the bridges"
    assert listed["average_drop"]["family"] == "faithfulness" and listed["average_drop"]["default"] is True
    shown = json.loads(xaibench("methods", "show", "saliency", "--json").out)
    assert shown["name"] == "saliency" and shown["from"] == "xaibench"


def test_show_tells_references_and_needs(xaibench: Command) -> None:
    shown = xaibench("methods", "show", "vit-rollout").out
    assert "2005.00928" in shown
    assert "attentions" in shown
    shown = xaibench("metrics", "show", "average_drop").out
    assert "lower" in shown
    assert "1710.11063" in shown
    dataset, name = references.shipped()[0]
    _, card = checkpoint.resolve(name, dataset)
    shown = " ".join(xaibench("classifiers", "show", name).out.split())
    assert f"{card.test_accuracy:.3f} on fold 5" in shown
    assert card.data_licence in shown


def test_show_tells_where_a_trained_method_gets_its_weights(xaibench: Command) -> None:
    shown = " ".join(xaibench("methods", "show", "piq").out.split())
    assert "fitted to one classifier: xaibench fit --method piq " in shown
    assert "codes=1024" in shown, "what --set can change"
    assert "also scored as this soft mask" in shown
    shown = " ".join(xaibench("methods", "show", "piq-speechbrain").out.split())
    assert "fitted to one classifier by another project: xaibench weights add piq-speechbrain " in shown
    assert "weights" not in xaibench("methods", "show", "saliency").out


def test_the_cost_of_a_method_is_told(xaibench: Command) -> None:
    """Before it is paid: in the list, and with the parameter that decides it."""
    listed = " ".join(xaibench("methods").out.split())
    assert "left and which are silenced (500 forward passes a clip)" in listed
    assert "forward passes per clip 500: the parameter masks" in " ".join(
        xaibench("methods", "show", "rise").out.split()
    )
    assert "forward passes" not in xaibench("methods", "show", "saliency").out


PLUGIN = """
class Method:
    description = "{description}"
    requires = frozenset()
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a method, one that says nothing of itself, and one that does not import."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "code" / "listed_plugin"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PLUGIN.format(description="first words"))
    (folder.parent / "silent_plugin.py").write_text("class Method: pass\n")
    monkeypatch.syspath_prepend(folder.parent)
    values = {"listed": "listed_plugin:Method", "silent": "silent_plugin:Method", "absent": "nobody_has_this:Method"}
    points = [EntryPoint(name, value, "xaibench.methods") for name, value in values.items()]
    with monkeypatch.context() as patch:
        patch.setattr(registry, "entry_points", lambda group: points if group == "xaibench.methods" else [])
        forget()
        yield folder / "__init__.py"
    forget()


def forget() -> None:
    """What a process knows of plugins, as if it had just started."""
    registry._entries.cache_clear()
    registry.load.cache_clear()
    sys.modules.pop("listed_plugin", None)
    sys.modules.pop("silent_plugin", None)
    importlib.invalidate_caches()


def test_a_plugin_is_imported_for_a_listing_only_when_it_has_changed(xaibench: Command, plugin: Path) -> None:
    assert "first words" in xaibench("methods").out
    forget()
    assert "first words" in xaibench("methods").out
    assert "listed_plugin" not in sys.modules
    assert "silent_plugin" in sys.modules, "it may have been mended by another package: it is asked every time"
    plugin.write_text(PLUGIN.format(description="other words, longer ones"))
    forget()
    changed = xaibench("methods").out
    assert "other words, longer ones" in changed
    assert "first words" not in changed


def test_a_broken_plugin_hides_no_other(xaibench: Command, plugin: Path) -> None:
    for _ in range(2):
        done = xaibench("methods")
        assert done.code == 0
        lines = {line.split()[0]: line for line in done.out.splitlines()}
        assert lines["listed"].split() == ["listed", "first", "words"]
        assert "is no method: AttributeError" in lines["silent"]
        assert "method 'absent' of nobody_has_this:Method does not load: ModuleNotFoundError" in lines["absent"]
        forget()


CALL = (
    "import sys; sys.argv = ['xaibench', *sys.argv[1:]]\n"
    "from xaibench import cli\n"
    "try:\n    cli.main()\nfinally:\n"
    "    print('LOADED', *sorted(set(sys.modules) & {'torch', 'numpy', 'pandas', 'captum', 'transformers'}), "
    "file=sys.stderr)\n"
)


@pytest.mark.parametrize("group", registry.LISTED)
def test_from_the_second_call_on_a_listing_imports_nothing_heavy(
    group: registry.Group, xaibench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    first = xaibench(group)
    second = subprocess.run([sys.executable, "-c", CALL, group], capture_output=True, text=True, check=True)
    assert first.out == second.stdout
    assert second.stderr == "LOADED\n"
