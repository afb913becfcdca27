"""Check new values of a method's parameters against those that it has."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from xaibench.errors import XaibenchError


def checked(
    title: str, parameters: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the changes as values of the kinds of the parameters.

    Args:
        title: of the method, for errors.
        parameters: all that it has, with their values.
        choices: the values that some of them may take; a parameter with one choice cannot be changed. Of a number,
            words that it may be instead.
        changes: new values by name.

    Raises:
        XaibenchError: no such parameter, or not a value that it may take.
    """
    found = {}
    for name, value in changes.items():
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean '{near[0]}'?" if near else listed(parameters)
            raise XaibenchError(f"{title} has no parameter '{name}'; {hint}")
        default, allowed = parameters[name], choices.get(name, ())
        if isinstance(value, str) and value in allowed:
            found[name] = value
            continue
        words = " or ".join(map(str, allowed))
        restricted = any(isinstance(one, type(default)) for one in allowed)
        found[name] = _converted(f"{title}: {name}", default, value, "" if restricted or not words else f", or {words}")
        if restricted and found[name] not in allowed:
            raise XaibenchError(f"{title}: {name} cannot be {value}; it is {words}")
    return found


def listed(parameters: Mapping[str, Any]) -> str:
    """Say which parameters there are, with their values."""
    return "there are " + (", ".join(f"{name}={value}" for name, value in parameters.items()) or "none")


def _converted(what: str, default: Any, value: Any, instead: str = "") -> Any:
    """Return a value as the type of the default: whole numbers also as floats, lists also as tuples."""
    if isinstance(default, tuple | list):
        if not isinstance(value, tuple | list) or len(value) != len(default):
            raise XaibenchError(f"{what} cannot be {value!r}; give {len(default)} values, as in {tuple(default)}")
        return tuple(_converted(what, old, new) for old, new in zip(default, value, strict=True))
    if isinstance(default, bool) or default is None or isinstance(value, bool):
        right = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        right = isinstance(value, int | float) and math.isfinite(value)
    else:
        right = isinstance(value, type(default))
    if not right:
        raise XaibenchError(f"{what} cannot be {value!r}; give a {type(default).__name__}, as {default} is{instead}")
    if isinstance(default, int) and not isinstance(default, bool) and default >= 1 > value:
        raise XaibenchError(f"{what} cannot be {value}; give a whole number from 1{instead}")
    return float(value) if isinstance(default, float) else value
