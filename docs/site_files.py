"""A hook of MkDocs: the pages of the site are those of the repository, each in its place, so that links hold in both.

MkDocs wants all pages in one folder, and GitHub shows a README in each. So the files of the site are taken from the
whole repository, under the paths that they have there. The tutorial, a notebook, becomes a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TUTORIAL = "docs/tutorial.md"
# What the pages show or offer, beside pages.
SHOWN = ("docs/site.css", "results/**/*.png", "results/**/*.csv", "docs/*.ipynb")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the site."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    found = [page for page in pages(config.nav) if page != TUTORIAL]
    found += [path.relative_to(ROOT).as_posix() for pattern in SHOWN for path in sorted(ROOT.glob(pattern))]
    own = [File.generated(config, path, abs_src_path=str(ROOT / path)) for path in found]
    return Files([*theme, *own, File.generated(config, TUTORIAL, content=as_page(ROOT / "docs" / "tutorial.ipynb"))])


def on_page_markdown(markdown: str, **_: object) -> str:
    """Make one title of several: the table of contents that stands beside a page has the headings below one."""
    code, titles, lines = False, 0, []
    for line in markdown.splitlines():
        code ^= line.lstrip().startswith("```")
        titles += not code and line.startswith("# ")
        lines.append(f"#{line}" if titles > 1 and not code and re.match("#+ ", line) else line)
    return "\n".join(lines)


def pages(nav: Any) -> Iterator[str]:
    """The pages of a navigation, in their order."""
    if isinstance(nav, str):
        yield nav
    else:
        for one in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(one)


def as_page(notebook: Path) -> str:
    """The Markdown of a notebook without its outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in texts) + "\n"
