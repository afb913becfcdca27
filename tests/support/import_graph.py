"""Who imports whom in the package, and what is wrong with it; run as a script, it prints the folders' graph.

A module is called as Python calls it: methods/cam.py is xaibench.methods.cam. What it imports is written the
same way, with the imported name behind it: `from xaibench.sound.batch import Batch` is xaibench.sound.batch.Batch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "xaibench"
# A folder, or a module beside them, imports only what stands before it.
ORDER = (
    *("errors", "_version", "registry"),
    *("storage", "sound", "classifiers", "explaining", "results", "scoring", "reports", "validation", "papers"),
    *("benchmark", "commands", "cli", "__main__"),
)
# Found by entry points, or imported by their users: no folder imports them, they import what stands before this one.
LEAVES = ("methods", "metrics", "testing", "speechbrain", "engines")
BEFORE_LEAVES = ORDER[: ORDER.index("benchmark")]


def read(repository: Path = REPOSITORY) -> dict[str, set[str]]:
    """What every module of the package imports from the package, by the module's name."""
    return {
        module_name(path.relative_to(repository)): set(imported(path.relative_to(repository), path.read_text()))
        for folder in (PACKAGE, "methods", "metrics")
        for path in sorted((repository / folder).rglob("*.py"))
    }


def module_name(path: Path) -> str:
    """The name of the module in a file, whose path starts at the repository's root."""
    parts = path.with_suffix("").parts if path.parts[0] == PACKAGE else (PACKAGE, *path.with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imported(path: Path, source: str) -> Iterator[str]:
    """Names that a file imports from the package: anywhere in it, for types only, and by import_module("...") too."""
    module = module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(origin, names, level):
                base = resolve_name("." * level + (origin or ""), package)
                found = [f"{base}.{alias.name}" for alias in names]
            case ast.Call(ast.Name("import_module") | ast.Attribute(_, "import_module"), [ast.Constant(str(name)), *_]):
                found = [name]
            case _:
                continue
        yield from (name for name in found if name.partition(".")[0] == PACKAGE)


def complaints(imports: Mapping[str, set[str]]) -> list[str]:
    """What breaks the order of the folders, and one circle of modules if there are any; a sentence each."""
    rooms = {room(module) for module in imports}
    found = [f"{name} has no place in the order" for name in sorted(rooms - {PACKAGE, *ORDER, *LEAVES})]
    for module, names in sorted(imports.items()):
        for name in sorted(names):
            # A name that is no module's is one of those that the package itself exports.
            target = room(name) if room(name) in {*rooms, *ORDER, *LEAVES} else PACKAGE
            reason = refusal(room(module), target)
            if reason:
                found.append(f"{module} imports {name}: {reason}")
    files = {module: {_module_of(name, imports) for name in names} - {module} for module, names in imports.items()}
    try:
        TopologicalSorter(files).prepare()
    except CycleError as error:
        found.append("circle: " + " is imported by ".join(error.args[1]))
    return found


def refusal(importer: str, target: str) -> str | None:
    """Why one room may not import another, or None."""
    if importer in (target, PACKAGE):  # the package's own module may import anything
        return None
    if target == PACKAGE:
        return "the public names are for users; import from the module that defines it"
    if target in LEAVES:
        return f"{target} is a leaf, which no other folder imports"
    allowed = ORDER[: ORDER.index(importer)] if importer in ORDER else BEFORE_LEAVES
    return None if target in allowed else f"{target} does not stand before {importer}"


def room(name: str) -> str:
    """The folder, or the module beside the folders, that a name lies in; the package for itself."""
    return name.split(".")[1] if "." in name else PACKAGE


def _module_of(name: str, modules: Mapping[str, set[str]]) -> str:
    """The module that an imported name belongs to: itself, or the one that defines it."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name


def graph(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Which other rooms every room imports."""
    found: dict[str, set[str]] = {}
    for module, names in imports.items():
        found.setdefault(room(module), set()).update(room(name) for name in names)
    return {name: targets - {name} for name, targets in found.items()}


if __name__ == "__main__":
    everything = read()
    rooms = graph(everything)
    for name in (*ORDER, *LEAVES):
        if name in rooms:
            print(f"{name:12} {' '.join(one for one in (*ORDER, *LEAVES, PACKAGE) if one in rooms[name])}")
    print("\n".join(complaints(everything)) or "in order, no circle")
