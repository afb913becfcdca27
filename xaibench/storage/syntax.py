"""What a Python source does, by its syntax tree: a hash without docstrings and comments, and what it imports.

Reading the seventy modules behind a run takes a second, and every worker does it. What was read is therefore kept in
the cache folder, by the SHA-256 of the source, of this file and of the version of Python.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from xaibench.storage.atomic import write_atomically
from xaibench.storage.user_folders import cache_folder

# Attributes that describe a class; they are printed and change no value.
DESCRIPTIVE = frozenset({"title", "reference", "description", "formula", "traps", "cost"})
_DYNAMIC = frozenset({"__import__", "import_module", "exec", "eval", "load_module", "exec_module", "run_path"})
_MOST = 2_000  # sources; when there are more, those of this process are kept


@dataclass(frozen=True)
class Import:
    """One import, as it is written.

    Attributes:
        module: after `import` or `from`; empty in `from . import x`.
        level: number of leading dots.
        names: what is imported from the module, or None where the module itself is.
    """

    module: str
    level: int = 0
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Syntax:
    """What a source does.

    Attributes:
        sha256: of its syntax tree without docstrings, code for type checkers and descriptive class attributes.
        imports: all of them, inside functions too.
        dynamic: names of calls that import or run code by name.
    """

    sha256: str
    imports: tuple[Import, ...]
    dynamic: tuple[str, ...]


def read(source: bytes) -> Syntax:
    """Read a source, or what was kept of it.

    Raises:
        SyntaxError, ValueError: it is no Python.
    """
    key = hashlib.sha256(_reader() + source).hexdigest()
    if key not in _kept():
        _kept()[key] = _parse(source)
        _new.add(key)
    _used.add(key)
    return _kept()[key]


def keep() -> None:
    """Write what was read anew into the cache folder; where that cannot be written, it is read again next time."""
    if not _new:
        return
    _new.clear()
    kept = _kept() if len(_kept()) <= _MOST else {key: _kept()[key] for key in _used}
    with contextlib.suppress(OSError):
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_path(), json.dumps(_sealed(_ADAPTER.dump_python(kept))).encode())


_ADAPTER = TypeAdapter(dict[str, Syntax])
_new: set[str] = set()
_used: set[str] = set()


@cache
def _kept() -> dict[str, Syntax]:
    with contextlib.suppress(OSError, ValueError, RecursionError, ValidationError):
        content = json.loads(_path().read_bytes())
        if isinstance(content, dict) and content == _sealed(content.get("read")):
            return _ADAPTER.validate_python(content["read"])
    return {}


def _sealed(content: Any) -> dict[str, Any]:
    """Put a hash beside what is kept: a damaged file must not make two codes one."""
    return {"read": content, "sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}


def _path() -> Path:
    return cache_folder() / "syntax.json"


@cache
def _reader() -> bytes:
    return hashlib.sha256(sys.version.encode() + Path(__file__).read_bytes()).digest()


def _parse(source: bytes) -> Syntax:
    stripped = _Strip().visit(ast.parse(source))
    sha256 = hashlib.sha256(ast.dump(stripped, annotate_fields=False).encode()).hexdigest()
    return Syntax(sha256, tuple(_imports(stripped)), tuple(sorted(set(_dynamic(stripped)))))


def _imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))


def _dynamic(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            is_method = isinstance(node.func, ast.Attribute) and name in {"eval", "exec"}  # model.eval()
            if name in _DYNAMIC and not is_method:
                yield name


class _Strip(ast.NodeTransformer):
    """Removal of code that changes no value: docstrings, code for type checkers, descriptive class attributes."""

    def _body(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_FunctionDef = visit_AsyncFunctionDef = _body

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._body(node)
        node.body = [one for one in node.body if not _describes(one)] or [ast.Pass()]
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            return [self.visit(one) for one in node.orelse]
        return self.generic_visit(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _describes(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    value = getattr(node, "value", None)
    return bool(names) and names <= DESCRIPTIVE and isinstance(value, ast.Constant) and isinstance(value.value, str)
