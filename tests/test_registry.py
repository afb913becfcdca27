"""Names: unknown, registered twice, broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from xaibench import registry
from xaibench.errors import RegistryError
from xaibench.explaining.explainer import Explainer

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Adds entry points beside the installed ones, as a plugin's installation does."""
    real = registry.entry_points

    def clear() -> None:
        registry._entries.cache_clear()
        registry.load.cache_clear()

    def add(group: str, *points: tuple[str, str]) -> None:
        added = [EntryPoint(name, value, f"xaibench.{group}") for name, value in points]

        def entry_points(group: str) -> list[EntryPoint]:
            return [*real(group=group), *(point for point in added if point.group == group)]

        monkeypatch.setattr(registry, "entry_points", entry_points)
        clear()

    yield add
    monkeypatch.undo()
    clear()


@pytest.mark.parametrize("group", ["methods", "metrics", "classifiers", "datasets"])
def test_everything_registered_loads_and_comes_from_a_distribution(group: registry.Group) -> None:
    names = registry.names(group)
    assert names == sorted(names)
    assert names
    for name in names:
        assert callable(registry.load(group, name))
        assert registry.load(group, name) is registry.load(group, name)
    assert registry.origin(group, names[0]) == "xaibench"


def test_the_methods_of_the_issue_are_there() -> None:
    expected = (
        "deeplift energy focalnet gradcam gradient-shap guided-backprop guided-gradcam input-x-gradient "
        "integrated-gradients occlusion oracle random saliency smoothgrad uniform vit-attention vit-rollout"
    )
    assert set(expected.split()) <= set(registry.names("methods"))
    for name in expected.split():
        made = registry.create("methods", name)
        assert isinstance(made, Explainer)


@pytest.mark.parametrize(
    ("group", "typo", "message"),
    [
        ("methods", "salincy", r"^unknown method 'salincy'; did you mean 'saliency'\?$"),
        ("metrics", "faithfullness", r"^unknown metric 'faithfullness'; did you mean 'faithfulness'\?$"),
        ("classifiers", "cnn_micro", r"^unknown classifier 'cnn_micro'; did you mean 'cnn-micro'\?$"),
        ("datasets", "ecs50", r"^unknown dataset 'ecs50'; did you mean 'esc50'\?$"),
        ("methods", "zzz", r"^unknown method 'zzz'; see 'xaibench methods'$"),
        ("methods", "", r"^unknown method ''; see 'xaibench methods'$"),
    ],
)
def test_a_typo_gets_the_nearest_name(group: registry.Group, typo: str, message: str) -> None:
    for ask in (registry.entry, registry.load, registry.create, registry.origin):
        with pytest.raises(RegistryError, match=message):
            ask(group, typo)


def test_a_plugin_is_found_beside_the_builtins(install: Install) -> None:
    install("methods", ("zebra", "fractions:Fraction"))
    from fractions import Fraction

    assert registry.names("methods")[-1] == "zebra"
    assert "saliency" in registry.names("methods")
    assert registry.load("methods", "zebra") is Fraction
    assert registry.create("methods", "zebra") == Fraction(0)
    with pytest.raises(RegistryError, match="did you mean 'zebra'"):
        registry.load("methods", "zebr")
    assert "zebra" not in registry.names("metrics")


def test_a_name_registered_twice_is_an_error_that_names_both(install: Install) -> None:
    install("methods", ("saliency", "stranger.package:Saliency"))
    message = "^method 'saliency' is registered twice, by xaibench and by stranger.package:Saliency; uninstall one"
    for _ in range(2):  # not only the first time
        with pytest.raises(RegistryError, match=message):
            registry.names("methods")
    assert "faithfulness" in registry.names("metrics"), "the other groups go on"


def test_a_broken_plugin_is_named_and_breaks_nobody_else(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text("import a_package_that_nobody_has\n")
    (tmp_path / "half_plugin.py").write_text("class Method:\n    def __init__(self):\n        raise ValueError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    install("methods", ("broken", "broken_plugin:Method"), ("half", "half_plugin:Method"), ("absent", "half_plugin:No"))
    assert "broken" in registry.names("methods"), "listing imports nothing"
    assert "broken_plugin" not in sys.modules
    with pytest.raises(RegistryError, match=r"^method 'broken' of .* does not load: ModuleNotFoundError: No module"):
        registry.load("methods", "broken")
    with pytest.raises(RegistryError, match=r"^method 'absent' of .* does not load: AttributeError"):
        registry.load("methods", "absent")
    with pytest.raises(RegistryError, match=r"^method 'half' of .* cannot be made: ValueError: no$"):
        registry.create("methods", "half")
    assert registry.create("methods", "saliency").title == "Saliency"


def test_a_bridge_makes_the_metrics_of_its_prefix(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bridge_plugin.py").write_text(
        "from xaibench.errors import RegistryError\n"
        "def bridge(rest):\n"
        "    if rest == 'typo':\n"
        "        raise RegistryError('no such measure; did you mean other:type?')\n"
        "    if rest == 'broken':\n"
        "        raise ValueError('a bug')\n"
        "    return type('Bridged', (), {'title': rest})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = registry.names("metrics")
    install("metric_bridges", ("other", "bridge_plugin:bridge"))
    assert "bridge_plugin" not in sys.modules, "naming imports nothing"
    assert registry.names("metric_bridges") == ["other", "quantus"]
    assert registry.names("metrics") == names
    assert registry.entry("metrics", "other:a:b,c=1").name == "other"
    assert registry.load("metrics", "other:a:b,c=1").title == "a:b,c=1"
    assert registry.load("metrics", "other:x") is registry.load("metrics", "other:x")
    assert registry.create("metrics", "other:x").title == "x"
    assert registry.origin("metrics", "other:x") == "bridge_plugin:bridge"
    assert registry.load("metric_bridges", "other")("x").title == "x"
    with pytest.raises(RegistryError, match=r"^no such measure; did you mean other:type\?$"):
        registry.create("metrics", "other:typo")
    with pytest.raises(RegistryError, match=r"^metric 'other:broken' of .* does not load: ValueError: a bug$"):
        registry.load("metrics", "other:broken")


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("metrics", "quantu:Sparseness", r"^unknown metric 'quantu:Sparseness'; did you mean 'quantus:Sparseness'\?$"),
        ("metrics", "zzz:Sparseness", r"^unknown metric 'zzz:Sparseness'; see 'xaibench metrics'$"),
        ("metrics", "quantus", "^unknown metric 'quantus'; "),
        ("methods", "quantus:Sparseness", "^unknown method 'quantus:Sparseness'; "),
    ],
)
def test_a_prefix_that_no_bridge_has_is_unknown(group: registry.Group, name: str, message: str) -> None:
    for ask in (registry.entry, registry.load, registry.create, registry.origin):
        with pytest.raises(RegistryError, match=message):
            ask(group, name)


def test_names_import_no_leaf() -> None:
    """Listing names must stay quick: leaves import torch."""
    import subprocess

    code = (
        "import sys; from xaibench import registry; registry.names('methods'); registry.origin('methods', 'saliency');"
        "print([m for m in sys.modules if m.startswith(('torch', 'xaibench.methods'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
