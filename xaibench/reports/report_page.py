"""The page of a report: one HTML file that works from disk and asks nothing of any network, or a folder of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from xaibench.storage.atomic import write_atomically

PAGE, CLIPS, SUBMIT = "index.html", "clips", "submit.html"
SOUND = ("sound", "fill", "methods")  # what a folder keeps of a clip in a file of its own
_TEMPLATES = "templates/report"


def write_page(report: Mapping[str, Any], path: Path, template: str = "page.html") -> int:
    """Write a report, or another page of it, as one file; return its bytes."""
    data = rendered(report, template).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    return len(data)


def write_folder(report: Mapping[str, Any], folder: Path) -> int:
    """Write a report as a folder, whose page loads each clip when it is looked at; return the bytes of all files."""
    (folder / CLIPS).mkdir(parents=True, exist_ok=True)
    total, shown = 0, []
    for place, one in enumerate(report["shown"]):
        clips = []
        for index, clip in enumerate(one["clips"]):
            file = f"{CLIPS}/{place}-{index:04d}.js"
            heavy = {key: clip[key] for key in SOUND}
            data = f"loaded({place}, {index}, {as_json(heavy)});\n".encode()
            write_atomically(folder / file, data)
            total += len(data)
            clips.append({key: value for key, value in clip.items() if key not in SOUND} | {"file": file})
        shown.append({**one, "clips": clips})
    return total + write_page({**report, "shown": shown}, folder / PAGE)


def rendered(report: Mapping[str, Any], template: str = "page.html") -> str:
    """Render a page.

    Scripts and styles run by their hash alone, so that nothing that a stranger called a clip or a method can.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xaibench", _TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["linked"] = _linked
    script, style = (_source(environment, name) for name in ("report.js", "report.css"))
    in_files = any("file" in clip for one in report["shown"] for clip in one["clips"])
    allowed = {
        "default-src": "'none'",
        "script-src": _hash(script) + " file: 'self'" * in_files,
        "style-src": _hash(style),
        "img-src": "file: 'self'" if report["site"] else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    policy = "; ".join(f"{key} {value}" for key, value in allowed.items())
    page = environment.get_template(f"{template}.jinja")
    return page.render(policy=policy, script=script, style=style, data=as_json(report), report=report)


def as_json(document: Any) -> str:
    """Write JSON that may stand in a script tag: no text in it can end the tag, or begin a comment."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _source(environment: jinja2.Environment, name: str) -> str:
    """Read a file of the templates as it is, between line breaks: what is hashed is all between the tags."""
    assert environment.loader is not None
    text, _, _ = environment.loader.get_source(environment, name)
    return f"\n{text}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _linked(text: str) -> str:
    """Escape a text, and make links of the addresses in it."""
    pieces = map(escape, re.split(r"(https?://[^\s()<>\"']+[^\s()<>\"'.,;:])", text))
    return "".join(f'<a href="{one}" rel="noreferrer">{one}</a>' if i % 2 else one for i, one in enumerate(pieces))
