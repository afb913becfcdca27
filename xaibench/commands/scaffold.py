"""Write a plugin package that works as it is, for its author to change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xaibench import registry
from xaibench._version import __version__
from xaibench.errors import XaibenchError

# Path in the package -> template file; both are templates.
_FILES = {
    "pyproject.toml": "pyproject.toml.jinja",
    "README.md": "{{ kind }}.md.jinja",
    ".gitignore": "gitignore.jinja",
    "src/{{ package }}/__init__.py": "{{ kind }}.py.jinja",
    "tests/test_{{ module }}.py": "test.py.jinja",
}
_RESERVED = frozenset({"all", "default"})  # words with a meaning of their own on the command line


@dataclass(frozen=True)
class Kind:
    """A kind of plugin.

    Attributes:
        group: in which it is registered.
        separator: between the words of a name.
        leaf: what is registered; {words} stands for the name's words.
    """

    group: registry.Group
    separator: str
    leaf: str


KINDS = {
    "explainer": Kind("methods", "-", "{words}Explainer"),
    "metric": Kind("metrics", "_", "{words}Metric"),
    "classifier": Kind("classifiers", "-", "make"),
    "dataset": Kind("datasets", "-", "{words}Dataset"),
}


def new_package(kind: str, name: str, out: Path) -> Path:
    """Write the folder `xaibench-NAME`, a package that registers a plugin of that name.

    Args:
        kind: one of `KINDS`.
        name: the plugin's name on the command line.
        out: folder in which the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        XaibenchError: the name is invalid or taken, or the folder exists.
    """
    group, separator = KINDS[kind].group, KINDS[kind].separator
    article = "an" if kind == "explainer" else "a"
    if not re.fullmatch(rf"[a-z][a-z0-9]*({separator}[a-z0-9]+)*", name) or name in _RESERVED:
        marks = "hyphens" if separator == "-" else "underscores"
        raise XaibenchError(
            f"'{name}' cannot name {article} {kind}; use lower-case letters, digits and single {marks}, such as "
            f"my{separator}{kind}"
        )
    if name in registry.names(group):
        origin = registry.origin(group, name)
        raise XaibenchError(f"there is {article} {kind} '{name}' already, from {origin}; choose another name")
    words = name.split(separator)
    project = "-".join(["xaibench", *words])
    folder = Path(out) / project
    if folder.exists():
        raise XaibenchError(f"{folder} exists already; choose another name or --out, or remove it")

    module = "_".join(words)
    facts = {
        "kind": kind,
        "group": group,
        "name": name,
        "project": project,
        "module": module,
        "package": f"xaibench_{module}",
        "leaf": KINDS[kind].leaf.format(words="".join(word.capitalize() for word in words)),
        "title": " ".join(words).capitalize(),
        "version": __version__,
    }
    templates = Environment(
        loader=FileSystemLoader(str(resources.files("xaibench") / "templates" / "new")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, no HTML
    )
    # Everything is rendered before anything is written, so that there is never half a package.
    contents = {
        templates.from_string(path).render(facts): templates.get_template(
            templates.from_string(template).render(facts)
        ).render(facts)
        for path, template in _FILES.items()
    }
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    return folder
