"""The closure of a module: all code on which it depends, found in its source without running it.

The closure of a module is the module, the packages around it, and all modules of the same or another local
package that it imports, directly or not. Each is hashed by its syntax tree without docstrings and comments, so that
a wheel and a checkout of the same commit are the same code. For installed libraries the version is hashed, and for
packages of plugins the data files as well.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

from xaibench.storage import syntax
from xaibench.storage.syntax import Import

CORE = "xaibench"
# Modules with the public names and the version number; they change no value.
_FACES = frozenset({CORE, f"{CORE}._version"})
_NOT_DATA = frozenset({".py", ".pyc", ".pyi"})


@dataclass
class Closure:
    """The closure of a module.

    Attributes:
        modules: SHA-256 of the syntax tree of each local module, by its name.
        libraries: version of each installed library, by the name that is imported.
        files: SHA-256 of each data file of the plugins' packages, by its path inside the package.
        doubts: reasons why the closure may be incomplete; empty where it is complete.
    """

    modules: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def digest(self) -> str:
        """Return one SHA-256 of everything."""
        found = [sorted(part.items()) for part in (self.modules, self.libraries, self.files)]
        return hashlib.sha256(repr(found).encode()).hexdigest()


@cache
def closure_of(module: str) -> Closure:
    """Find the closure of a module by its name. Except for the packages around it, no module is imported for this."""
    found = Closure()
    open_names = [module]
    while open_names:
        name = open_names.pop()
        if name in found.modules or name in _FACES:
            continue
        seen = _look_at(name, top_of(module))
        found.modules |= seen.modules
        found.libraries |= seen.libraries
        found.doubts += seen.doubts
        open_names += seen.imported
    syntax.keep()
    for top in sorted({top_of(name) for name in found.modules} - {CORE}):
        found.files |= _data_files(top)
    return found


@dataclass(frozen=True)
class _Seen:
    """What one module adds to a closure, and the names that it imports."""

    modules: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    imported: list[str] = field(default_factory=list)


@cache  # most closures share most of their modules
def _look_at(name: str, own: str) -> _Seen:
    """Look at a module of a closure, or at the library that it belongs to.

    Args:
        name: of the module.
        own: top-level name of the package whose closure it is.
    """
    top = top_of(name)
    if top in sys.stdlib_module_names:
        return _Seen()
    path = source_of(name)
    if top not in {own, CORE} and (path is None or _is_installed(path)):
        return _Seen(libraries={top: library_version(top)})
    if path is None:
        if importlib.util.find_spec(top) is None:
            return _Seen(libraries={top: "missing"})
        return _Seen(doubts=[f"{name} is no Python source"] if _spec_origin(name) is not None else [])
    try:
        read = syntax.read(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return _Seen(doubts=[f"{path} cannot be read ({type(error).__name__})"])
    dynamic = [] if top == CORE else read.dynamic
    doubts = [f"{name} imports or runs code by name ({call})" for call in dynamic]
    is_package = path.name == "__init__.py"
    around = [name.rpartition(".")[0]] if "." in name and name.rpartition(".")[0] != CORE else []
    return _Seen({name: read.sha256}, {}, doubts, around + list(_imported(read.imports, name, is_package, own)))


def _imported(imports: Iterable[Import], module: str, is_package: bool, own: str) -> Iterator[str]:
    """Yield the names of all modules that may be imported."""
    package = module if is_package else module.rpartition(".")[0]
    for one in imports:
        if one.names is None:
            yield one.module
            continue
        base = one.module
        if one.level:
            steps = package.split(".")
            base = ".".join([*steps[: len(steps) - one.level + 1], *([base] if base else [])])
        for name in one.names:
            yield from _meant(base, name, own)


def _meant(base: str, name: str, own: str) -> Iterator[str]:
    """Yield the modules meant by `from base import name`."""
    home = getattr(sys.modules.get(CORE), "_HOMES", {}).get(name) if base == CORE else None
    if home is not None:  # a public name
        yield home
        return
    yield base
    if top_of(base) in sys.stdlib_module_names:
        return
    path = source_of(base)
    local = path is not None and (top_of(base) in {own, CORE} or not _is_installed(path))
    if path is not None and local and path.name == "__init__.py" and source_of(f"{base}.{name}") is not None:
        yield f"{base}.{name}"


@cache
def source_of(name: str) -> Path | None:
    """Return the Python source of a module, or None where it has none or cannot be found."""
    origin = _spec_origin(name)
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _spec_origin(name: str) -> str | None:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is not None:
        return str(file)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def is_library(module: str) -> bool:
    """Tell whether a module belongs to Python or to an installed library, so that a version says what it holds."""
    path = source_of(module) or source_of(top_of(module))
    return top_of(module) in sys.stdlib_module_names or path is None or _is_installed(path)


@cache
def _is_installed(path: Path) -> bool:
    """Tell whether a file lies where installers put libraries, so that its version says what it holds."""
    resolved = path.resolve()
    places = {sysconfig.get_paths()[key] for key in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(resolved.is_relative_to(Path(place).resolve()) for place in places) or "site-packages" in resolved.parts


@cache
def library_version(module: str) -> str:
    """Return the version of the distribution that a module belongs to; Python's own modules count as one library."""
    top = top_of(module)
    if not top or top in sys.stdlib_module_names:
        return platform.python_version()
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(top, [])
        return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names))) or "unknown"


def _data_files(top: str) -> dict[str, str]:
    """Hash everything but Python source below a package."""
    path = source_of(top)
    if path is None or path.name != "__init__.py":
        return {}
    root = path.parent
    found = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if file.is_file() and file.suffix not in _NOT_DATA and not hidden:
            found[f"{top}/{name.as_posix()}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def top_of(name: str) -> str:
    """Return the top-level package of a module."""
    return name.partition(".")[0]
