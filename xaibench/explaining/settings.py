"""Methods as they are named: METHOD, or METHOD:setting=value,setting=value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xaibench import registry
from xaibench.errors import XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.parameters import listed
from xaibench.storage.provenance import plain

MARK = ":"
_BETWEEN, _EQUALS, _TIMES = ",", "=", "x"


def create(text: str) -> tuple[str, Explainer]:
    """Make the method that METHOD or METHOD:setting=value,setting=value names; return its registry name, too.

    Several numbers are typed with an x between them, as in occlusion:window=72x60.

    Raises:
        RegistryError: no such method.
        XaibenchError: no such setting, or not a value of its kind.
    """
    name, mark, rest = text.partition(MARK)
    method: Explainer = registry.create("methods", name)
    if not mark:
        return name, method
    if not isinstance(method, Explainer):
        raise XaibenchError(f"{name} is no Explainer but a {type(method).__name__}, and has no settings")
    changes: dict[str, Any] = {}
    for piece in rest.split(_BETWEEN):
        setting, _, value = piece.partition(_EQUALS)
        if not (setting and value):
            known = listed(method.parameters)
            raise XaibenchError(f"{text!r} is not METHOD:setting=value,setting=value; of {name} {known}")
        changes[setting] = _read(value, method.parameters.get(setting))
    return name, method.with_parameters(**changes)


def labelled(methods: Iterable[tuple[str, Explainer]]) -> dict[str, Explainer]:
    """Give the methods of a run their names: NAME, or NAME:setting=value where several have the same.

    Of those with the same name, the one with the parameters that its class has keeps it; the others are called after
    the parameters in which they differ. The same method twice is one.

    Raises:
        XaibenchError: two methods with the same name differ in nothing that could be told.
    """
    by_name: dict[str, list[Explainer]] = {}
    for name, method in methods:
        same = by_name.setdefault(name, [])
        if not any(_is_same(method, other) for other in same):
            same.append(method)
    found: dict[str, Explainer] = {}
    for name, same in by_name.items():
        if len(same) == 1:  # whatever it is: a run says of what is no Explainer that it is none
            found[name] = same[0]
            continue
        values = [plain(method.parameters) for method in same]
        varying = [key for key in values[0] if any(one.get(key) != values[0][key] for one in values)]
        for method in same:
            keeps = plain(method.parameters) == plain(type(method).parameters)
            label = name if keeps else name + MARK + _written(method.parameters, varying)
            if label in found or label.endswith(MARK):
                raise XaibenchError(
                    f"two methods are called {name}, and their parameters do not tell them apart; give their classes "
                    "names of their own"
                )
            found[label] = method
    return found


def registered_name(label: str) -> str:
    """Return the registry name of a method that results call NAME or NAME:setting=value."""
    return label.partition(MARK)[0]


def changes(method: Explainer, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be set of a method so that its parameters are others'."""
    own = plain(method.parameters)
    return {key: value for key, value in parameters.items() if key in own and own[key] != plain(value)}


def _is_same(one: Explainer, other: Explainer) -> bool:
    """Tell whether two methods are one, or of one class and with the same parameters, and have nothing else."""
    alike = type(one) is type(other) and {*vars(one), *vars(other)} <= {"parameters"}
    return one is other or (alike and plain(one.parameters) == plain(other.parameters))


def _written(parameters: Mapping[str, Any], names: Iterable[str]) -> str:
    return _BETWEEN.join(f"{name}{_EQUALS}{_write(parameters.get(name))}" for name in names)


def _write(value: Any) -> str:
    if isinstance(value, tuple | list):
        return _TIMES.join(map(_write, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(text: str, default: Any) -> Any:
    """Read a value of the kind of the default; what cannot be read stays text, which is refused later."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(default, tuple | list):
        return tuple(_read(one, default[0] if default else "") for one in text.split(_TIMES))
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            return text
    return text
