"""Identities: a hash of everything that a result depends on, or the reason why it cannot be determined.

The explanation cache, resumed runs, and the comparison use identities. Two objects with the same identity compute the
same. Where the identity cannot be determined, nothing that was computed earlier is used again.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import re
import sys
import types
import weakref
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from xaibench.storage.code_closure import (
    CORE,
    closure_of,
    is_library,
    library_version,
    source_of,
    top_of,
)
from xaibench.storage.syntax import DESCRIPTIVE

_SCRIPTS = frozenset({"__main__", "__mp_main__"})
_PLAIN = (type(None), bool, int, float, complex, str, bytes, PurePath, torch.dtype, torch.device, torch.Size, np.dtype)
_CLASS_NOISE = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__abstractmethods__", "_abc_impl"}
    | {"__firstlineno__", "__static_attributes__", "__orig_bases__", "__parameters__", "__type_params__"}
)


@dataclass(frozen=True)
class Identity:
    """Identity of an object, of code, or of a result.

    Attributes:
        sha256: hash that is equal for things that compute the same; empty where it cannot be determined.
        doubt: reason why it cannot be determined, in one line; empty where it can.
    """

    sha256: str
    doubt: str = ""

    @property
    def known(self) -> bool:
        """Whether the identity could be determined."""
        return not self.doubt


def of_code(leaf: type | types.FunctionType) -> Identity:
    """Identify the code of a class or function: its module's closure, or its own content if it has no module file."""
    look = _Look(leaf)
    return look.seen(look.code(leaf))


def of_object(thing: Any) -> Identity:
    """Identify an object by the code of its class and all of its content."""
    look = _Look(type(thing))
    return look.seen(look.value(thing))


def of_module(name: str) -> Identity:
    """Identify a module of this distribution and all that it imports."""
    closure = closure_of(name)
    return Identity("", closure.doubts[0]) if closure.doubts else Identity(closure.digest())


def joined(*parts: Identity) -> Identity:
    """Identify a result that depends on several things."""
    for part in parts:
        if not part.known:
            return part
    return Identity(hashlib.sha256(" ".join(part.sha256 for part in parts).encode()).hexdigest())


class _Look:
    """A walk through code and values; an object that was met before is replaced by its number."""

    def __init__(self, leaf: type | types.FunctionType) -> None:
        self.doubts: list[str] = []
        self._own = {CORE, top_of(leaf.__module__ or "")}
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # so that Python gives no id twice during the walk

    def seen(self, digest: str) -> Identity:
        """Return the identity of everything that was met."""
        return Identity("", self.doubts[0]) if self.doubts else Identity(digest)

    def value(self, thing: Any) -> str:
        if isinstance(thing, _PLAIN):
            return _hash("plain", type(thing).__qualname__, repr(thing))
        if isinstance(thing, enum.Enum):
            return _hash("enum", type(thing).__qualname__, thing.name)
        if isinstance(thing, re.Pattern):
            return _hash("pattern", thing.pattern, str(thing.flags))
        if isinstance(thing, torch.Tensor):
            # A copy, because `contiguous` keeps odd strides along axes of length one (channels_last).
            array = thing.detach().cpu().clone(memory_format=torch.contiguous_format)
            data = array.reshape(-1).view(torch.uint8).numpy()
            return _hash("tensor", str(thing.dtype), str(tuple(thing.shape)), data.tobytes())
        if isinstance(thing, np.ndarray | np.generic) and thing.dtype != object:
            return _hash("array", str(thing.dtype), str(thing.shape), thing.tobytes())
        if id(thing) in self._met:
            return _hash("again", str(self._met[id(thing)]))
        self._met[id(thing)] = len(self._met)
        self._alive.append(thing)
        return self._compound(thing)

    def _compound(self, thing: Any) -> str:
        if isinstance(thing, dict | types.MappingProxyType):
            items = [(self.value(key), self.value(value)) for key, value in thing.items()]
            return _hash("dict", type(thing).__qualname__, *(part for item in items for part in item))
        if isinstance(thing, list | tuple):
            return _hash("list", type(thing).__qualname__, *(self.value(one) for one in thing))
        if isinstance(thing, set | frozenset):
            return _hash("set", type(thing).__qualname__, *sorted(self.value(one) for one in thing))
        if isinstance(thing, weakref.ReferenceType):  # of a recurrent layer to its own weights
            return _hash("weak reference", self.value(thing()))
        if isinstance(thing, functools.partial):
            return _hash("partial", *(self.value(one) for one in (thing.func, thing.args, thing.keywords)))
        if isinstance(thing, types.MethodType):
            return _hash("method", self.value(thing.__self__), self.value(thing.__func__))
        if isinstance(thing, type | types.FunctionType):
            return self.code(thing)
        if isinstance(thing, types.BuiltinFunctionType | types.ModuleType | types.WrapperDescriptorType):
            return self._named(thing)
        if isinstance(thing, property):
            return _hash("property", *(self.value(one) for one in (thing.fget, thing.fset, thing.fdel)))
        if isinstance(thing, staticmethod | classmethod | functools.cached_property):
            inner = thing.func if isinstance(thing, functools.cached_property) else thing.__func__
            return _hash(type(thing).__name__, self.value(inner))
        state = getattr(thing, "__dict__", None)
        if not isinstance(state, dict) or not all(map(_is_python, type(thing).__mro__[:-1])):
            self.doubts.append(f"it holds a {type(thing).__module__}.{type(thing).__qualname__}")
            return ""
        return _hash("object", self.code(type(thing)), self.value(state))

    def code(self, leaf: type | types.FunctionType) -> str:
        """Digest a class or function."""
        module = leaf.__module__ or ""
        if module in _SCRIPTS or not module:
            return self._live(leaf)
        if top_of(module) not in self._own and is_library(module):
            return self._named(leaf)
        closure = closure_of(module)
        self.doubts += closure.doubts
        own = _hash("code", module, leaf.__qualname__, closure.digest())
        # Code that was made while the program ran holds values that are not in the source.
        return own if _is_where_it_says(leaf) else _hash(own, self._live(leaf))

    def _live(self, leaf: type | types.FunctionType) -> str:
        """Digest the content of a class or function: byte code, defaults, closure, and the globals that it names."""
        if isinstance(leaf, types.FunctionType):
            names = sorted(_names(leaf.__code__) & set(leaf.__globals__))
            named = [(name, self.value(leaf.__globals__[name])) for name in names]
            cells = [self.value(_content(cell)) for cell in leaf.__closure__ or ()]
            rest = (self.value(leaf.__defaults__), self.value(leaf.__kwdefaults__))
            return _hash("function", _byte_code(leaf.__code__, leaf.__doc__), repr(named), *cells, *rest)
        bases = [self.code(base) for base in leaf.__bases__ if base is not object]
        own = sorted((key, value) for key, value in vars(leaf).items() if key not in _CLASS_NOISE | DESCRIPTIVE)
        return _hash("class", leaf.__qualname__, *bases, *(f"{key} {self.value(value)}" for key, value in own))

    def _named(self, thing: Any) -> str:
        """Digest an object of a library by its name and the library's version."""
        module = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or ""
        name = "" if isinstance(thing, types.ModuleType) else getattr(thing, "__qualname__", repr(thing))
        if module in _SCRIPTS:
            self.doubts.append("it holds the running script as a module")
            return ""
        if not module or is_library(module):
            return _hash("named", module, name, library_version(module))
        closure = closure_of(module)
        self.doubts += closure.doubts
        return _hash("named", module, name, closure.digest())


def _is_python(kind: type) -> bool:
    """Tell whether a class is written in Python, so that an instance's `__dict__` is all of its state."""
    return kind.__module__ in _SCRIPTS or source_of(kind.__module__) is not None


def _is_where_it_says(leaf: type | types.FunctionType) -> bool:
    found: Any = sys.modules.get(leaf.__module__ or "")
    for name in leaf.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is leaf


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _names(code: types.CodeType) -> set[str]:
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _byte_code(code: types.CodeType, doc: str | None = None) -> str:
    constants = [
        _byte_code(one) if isinstance(one, types.CodeType) else f"{type(one).__name__} {one!r}"
        for one in code.co_consts
        if not (doc is not None and one == doc)
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return _hash(code.co_code, repr(names), *constants)


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
