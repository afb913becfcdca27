"""Explainers, metrics, classifiers, datasets, protocols and papers by name: entry points, loaded only when used.

A built-in is registered as a stranger's plugin is, by a line in its distribution's metadata. The methods that are
scored beside every run are registered twice, under the same name: as methods and as controls. A metric's
name may also be PREFIX:REST: the bridge registered as PREFIX makes the metric that REST names, so that
all metrics of another library can be used without a line each.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Literal

from xaibench.errors import RegistryError, named, one_line

Group = Literal[
    "methods",
    "controls",
    "metrics",
    "classifiers",
    "datasets",
    "metric_bridges",
    "papers",
    "protocols",
    "checkpoint_formats",
    "capabilities",
    "engines",
]
_SINGULAR: dict[Group, str] = {
    "methods": "method",
    "controls": "control",
    "metrics": "metric",
    "classifiers": "classifier",
    "datasets": "dataset",
    "metric_bridges": "metric bridge",
    "papers": "paper",
    "protocols": "protocol",
    "checkpoint_formats": "checkpoint format",
    "capabilities": "capability",
    "engines": "engine",
}
# By a command of their own.
LISTED: tuple[Group, ...] = ("methods", "metrics", "classifiers", "datasets")
_BRIDGE_MARK = ":"
_OWN = "xaibench"  # the distribution
_given_up: dict[tuple[Group, str], str] = {}


@cache
def _entries(group: Group) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"xaibench.{group}"):
        if point.name in found:
            raise RegistryError(
                f"{_SINGULAR[group]} '{point.name}' is registered twice, by {_origin(found[point.name])} and by "
                f"{_origin(point)}; uninstall one of them"
            )
        found[point.name] = point
    return dict(sorted(found.items()))


def _origin(point: EntryPoint) -> str:
    return point.value if point.dist is None else _distribution(point.dist)[0]


@cache  # reading a distribution's metadata takes longer than all the rest of a listing
def _distribution(dist: Distribution) -> tuple[str, str]:
    return dist.name, dist.version


def provider(group: Group, name: str) -> tuple[str, ...]:
    """Name and version of the distribution that registered a name; empty where there is no distribution."""
    point = entry(group, name)
    return () if point.dist is None else _distribution(point.dist)


def is_foreign(group: Group, name: str) -> bool:
    """Tell whether a name is registered by another distribution than xaibench."""
    try:
        return provider(group, name)[:1] not in {(), (_OWN,)}
    except RegistryError:
        return False


def names(group: Group) -> list[str]:
    """All registered names, sorted."""
    return list(_entries(group))


def entry(group: Group, name: str) -> EntryPoint:
    """The entry point of a name; of PREFIX:REST the bridge's, whatever REST is.

    Raises:
        RegistryError: unknown name, with the nearest known one.
    """
    known = _entries(group)
    if name in known:
        return known[name]
    prefix, mark, rest = name.partition(_BRIDGE_MARK)
    if group == "metrics" and mark:
        bridges = _entries("metric_bridges")
        if prefix in bridges:
            return bridges[prefix]
        near = [bridge + mark + rest for bridge in difflib.get_close_matches(prefix, bridges, n=1)]
    else:
        near = difflib.get_close_matches(name, known, n=1)
    listed = f"see 'xaibench {group}'" if group in LISTED else "there are " + ", ".join(known)
    hint = f"did you mean '{near[0]}'?" if near else listed
    raise RegistryError(f"unknown {_SINGULAR[group]} '{name}'; {hint}")


def origin(group: Group, name: str) -> str:
    """Name of the distribution that registered a name."""
    return _origin(entry(group, name))


@cache
def load(group: Group, name: str) -> Any:
    """The registered object: an Explainer, Metric or Dataset class, or a classifier factory.

    A bridged metric is what the bridge, called with the rest of the name, returns.

    Raises:
        RegistryError: unknown name, also to the bridge, or its module does not import.
    """
    point = entry(group, name)
    if (group, name) in _given_up:
        raise RegistryError(f"{_SINGULAR[group]} '{name}' of {_origin(point)} {_given_up[group, name]}")
    try:
        found = point.load()
        return found if name == point.name else found(name.partition(_BRIDGE_MARK)[2])
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:
        raise RegistryError(f"{_SINGULAR[group]} '{name}' of {_origin(point)} does not load: {named(error)}") from error


def give_up(group: Group, name: str, reason: str) -> None:
    """Refuse to load a name from now on, because it ended or stopped a process that tried (`scoring.trial`)."""
    _given_up[group, name] = reason


def create(group: Group, name: str) -> Any:
    """An explainer or metric by its name, made without arguments.

    Raises:
        RegistryError: unknown name, or it cannot be imported or made.
    """
    kind = load(group, name)
    try:
        return kind()
    except (Exception, SystemExit) as error:
        raise RegistryError(
            f"{_SINGULAR[group]} '{name}' of {origin(group, name)} cannot be made: {named(error)}"
        ) from error


def create_all(group: Group) -> tuple[dict[str, Any], dict[str, str]]:
    """Make all explainers or metrics; one broken plugin costs itself alone.

    Returns:
        What could be made, by name, and why the others could not, in a line each.
    """
    made, broken = {}, {}
    for name in names(group):
        try:
            made[name] = create(group, name)
        except RegistryError as error:
            broken[name] = one_line(error)
    return made, broken
