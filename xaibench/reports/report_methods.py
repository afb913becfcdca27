"""What a report says of each method: what it is, what it needs, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from xaibench import registry
from xaibench.errors import RegistryError
from xaibench.explaining.settings import registered_name
from xaibench.reports.report_board import plain
from xaibench.reports.tables import duration
from xaibench.results.parts import MethodFacts
from xaibench.results.selection import Group


def methods_of(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Say what the methods of runs are, controls last; more where they are installed."""
    facts: dict[str, MethodFacts] = {}
    for group in groups:
        for part in group.parts:
            facts.setdefault(part.info.method.name, part.info.method)
    return [
        {
            "name": one.name,
            "title": one.title,
            "control": one.control,
            "polarity": one.polarity,
            "parameters": {key: str(value) for key, value in one.parameters.items()},
            **_installed(one),
        }
        for one in sorted(facts.values(), key=lambda one: (one.control, one.name))
    ]


def costs_of(comparison: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by classifier and method what maps cost, in words where they are for people.

    Args:
        comparison: lines of one group.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in comparison.drop_duplicates(["classifier", "method"]).to_dict("records"):
        fitted = line["trained"] and not pd.isna(line["training_seconds"])
        found.setdefault(line["classifier"], {})[line["method"]] = {
            "seconds": plain(line["seconds_per_clip"]),
            "megabytes": plain(line["peak_memory_mb"]),
            "resolution": line["native_resolution"],
            "training": duration(line["training_seconds"]) if fitted else "",
        }
    return found


def _installed(facts: MethodFacts) -> dict[str, Any]:
    try:
        method = registry.load("methods", registered_name(facts.name))
        sentence = " ".join((method.__doc__ or "").partition("\n\n")[0].split())
        return {
            "what": _sentence(sentence or method.description),
            "family": method.family,
            "reference": method.reference,
            "requires": [str(name).replace("_", " ") for name in sorted(map(str, method.requires))],
        }
    except (RegistryError, AttributeError):  # results are read without the plugin that made them, too
        return {"what": "", "family": "other", "reference": "", "requires": []}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
