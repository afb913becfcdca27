"""The listings of what there is."""

from __future__ import annotations

import pytest

from tests.support.command_line import Command
from xaibench import registry
from xaibench.classifiers import checkpoint, references


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
