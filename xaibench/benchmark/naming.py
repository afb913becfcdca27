"""Methods, metrics and engines that are given as names, classes or objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from xaibench import registry
from xaibench.errors import XaibenchError
from xaibench.explaining import settings
from xaibench.explaining.explainer import Explainer
from xaibench.scoring.engine import Engine
from xaibench.scoring.metric import Metric

Method = str | Explainer | type[Explainer]
MetricLike = str | Metric | type[Metric]
DEFAULT = "default"


def methods_named(given: Method | Sequence[Method]) -> dict[str, Explainer]:
    """Make methods of names ("saliency", "integrated-gradients:steps=64"), classes and objects.

    An object is called by its attribute `name` if it has one, else by the name under which its class is registered,
    else by that of its class: MyMethod is my-method.

    Raises:
        RegistryError: a name is unknown.
        XaibenchError: something is no method, or has the name of a registered one.
    """
    made: list[tuple[str, Explainer]] = []
    for one in as_list(given, "methods"):
        if isinstance(one, str):
            made.append(settings.create(one))
            continue
        thing = _made(one)
        if not isinstance(thing, Explainer):
            raise XaibenchError(f"{thing!r:.80} is no method; give a name, an Explainer, or its class")
        made.append((_name(thing, "methods", "-"), thing))
    return settings.labelled(made)


def controls_beside(asked: Mapping[str, Explainer], protocol: str) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Make the controls of a protocol that are scored beside every run, but not those that are asked for anyway.

    Returns:
        Controls by name, and why others could not be made, in a line each.
    """
    made, broken = registry.create_all("controls")
    there = {settings.registered_name(label) for label in asked}
    return {name: one for name, one in made.items() if name not in there and protocol in one.protocols}, broken


def engine_named(name: str, workers: int | None, address: str | None, resources: Mapping[str, str]) -> Engine:
    """Make an engine by its registered name, with the attributes of `Engine`.

    Raises:
        RegistryError: the name is unknown.
        XaibenchError: the engine has no use for an attribute, or what it needs is not installed.
    """
    engine: Engine = registry.load("engines", name)(workers=workers, address=address, resources=resources)
    return engine


def metrics_named(given: MetricLike | Sequence[MetricLike] | None, protocol: str) -> dict[str, Metric]:
    """Make metrics of names, classes and objects; None and "default" are the default ones of a protocol.

    An object is called as a method is, with underscores: MyMetric is my_metric.

    Raises:
        RegistryError: a name is unknown.
        XaibenchError: something is no metric, belongs to another protocol, or has the name of a registered one.
    """
    chosen: dict[str, Metric] = {}
    for one in as_list([DEFAULT] if given is None else given, "metrics"):
        if one == DEFAULT:
            every, _ = registry.create_all("metrics")
            chosen |= {name: one for name, one in every.items() if one.in_default_set and protocol in one.protocols}
            continue
        thing = registry.create("metrics", one) if isinstance(one, str) else _made(one)
        if not isinstance(thing, Metric):
            raise XaibenchError(f"{thing!r:.80} is no metric; give a name, a Metric, or its class")
        name = one if isinstance(one, str) else _name(thing, "metrics", "_")
        if protocol not in thing.protocols:
            raise XaibenchError(
                f"metric '{name}' does not belong to the protocol {protocol}; "
                f"choose {' or '.join(sorted(thing.protocols, reverse=True))}"
            )
        if type(chosen.get(name, thing)) is not type(thing):
            raise XaibenchError(f"two metrics are called {name}; give one of them a `name` of its own")
        chosen[name] = thing
    return dict(sorted(chosen.items()))


def as_list(given: Any, what: str) -> list[Any]:
    """Take one thing as a list of one.

    Raises:
        XaibenchError: it is an empty list.
    """
    found = list(given) if isinstance(given, list | tuple | set) else [given]
    if not found:
        raise XaibenchError(f"{what}=[] names nothing to score; give at least one")
    return found


def _made(one: Any) -> Any:
    return one() if isinstance(one, type) else one


def _name(thing: object, group: Literal["methods", "metrics"], joint: str) -> str:
    own = getattr(thing, "name", None)
    where = f"{type(thing).__module__}:{type(thing).__qualname__}"
    registered = [name for name in registry.names(group) if registry.entry(group, name).value == where]
    if not isinstance(own, str) and registered:
        return registered[0]
    name = own if isinstance(own, str) else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", joint, type(thing).__name__).lower()
    if name in registry.names(group):
        raise XaibenchError(
            f"{type(thing).__qualname__} would be called {name}, which is the name of a registered one; give it an "
            "attribute `name`"
        )
    return name
