"""Write a plugin package that works as it is, for its author to change."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xaibench import registry
from xaibench._version import __version__
from xaibench.errors import XaibenchError

# Path in the package, itself a template -> template file.
_EXPLAINER_FILES = {
    "pyproject.toml": "pyproject.toml.jinja",
    "README.md": "README.md.jinja",
    ".gitignore": "gitignore.jinja",
    "src/{{ package }}/__init__.py": "explainer.py.jinja",
    "tests/test_{{ module }}.py": "test_explainer.py.jinja",
}


def new_explainer(name: str, out: Path) -> Path:
    """Write the folder `xaibench-NAME`, a package that registers an explainer of that name.

    Args:
        name: the explainer's name on the command line.
        out: folder in which the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        XaibenchError: the name is invalid or taken, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise XaibenchError(
            f"'{name}' cannot name an explainer; use lower-case letters, digits and single hyphens, such as my-saliency"
        )
    if name in registry.names("methods"):
        origin = registry.origin("methods", name)
        raise XaibenchError(f"there is an explainer '{name}' already, from {origin}; choose another name")
    folder = Path(out) / f"xaibench-{name}"
    if folder.exists():
        raise XaibenchError(f"{folder} exists already; choose another name or --out, or remove it")

    module = name.replace("-", "_")
    words = {
        "name": name,
        "module": module,
        "package": f"xaibench_{module}",
        "class_name": "".join(part.capitalize() for part in name.split("-")) + "Explainer",
        "title": name.replace("-", " ").capitalize(),
        "version": __version__,
    }
    templates = Environment(
        loader=FileSystemLoader(str(resources.files("xaibench") / "templates" / "explainer")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Python and TOML, no HTML
    )
    # Everything is rendered before anything is written, so that there is never half a package.
    contents = {
        templates.from_string(path).render(words): templates.get_template(template).render(words)
        for path, template in _EXPLAINER_FILES.items()
    }
    for path, content in contents.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    return folder
