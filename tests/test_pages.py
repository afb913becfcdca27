"""All pages: links and anchors hold, each is in the site, commands are known, and numbers are those of the files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

import xaibench
from xaibench.cli import app
from xaibench.reports import tables
from xaibench.reports.agreement import metric_agreement
from xaibench.results.comparison import at_primary_area
from xaibench.results.orders import tau

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
# Pages of advice: all of their numbers are read from files.
ADVICE = ["fifteen-minutes", "reading", "which-metric", "faq", "glossary", "submit"]


def pages() -> list[str]:
    """The Markdown pages and notebooks of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.ipynb"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def text_of(path: Path) -> str:
    """What a page says; of a notebook, its Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose(path), flags=re.MULTILINE):
        bare = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")
        count = 0
        while (name := f"{slug}-{count}" if count else slug) in found:
            count += 1
        found.add(name)
    return found


def dead_links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    dead = []
    for link in re.findall(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)?)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        known = target.is_file() and (not anchor or target.suffix != ".md" or anchor in anchors(target.resolve()))
        dead += [] if known else [link]
    return dead


def test_every_link_and_anchor_between_pages_holds() -> None:
    found = {page: dead_links(ROOT / page) for page in pages()}
    assert len(found) > 20
    assert {page: dead for page, dead in found.items() if dead} == {}


@pytest.mark.parametrize(
    "link", ["none.md", "page.md#none", "#none", "..", "page.md#a-heading-1", "https://a.b/c", "#a-heading"]
)
def test_a_dead_link_is_noticed(link: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A `heading`!\n\n[link]({link})\n\n```bash\n# Another heading\n```\n")
    assert dead_links(page) == ([] if link in {"https://a.b/c", "#a-heading"} else [link])


def test_every_page_is_in_the_navigation_of_the_site_and_no_other() -> None:
    nav = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(nav) == sorted(page.replace(".ipynb", ".md") for page in pages()), "add the page to nav in mkdocs.yml"


def test_the_public_names_are_those_of_the_page() -> None:
    named = re.findall(r"^::: xaibench\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(set(dir(xaibench)) - {"__version__"})


def test_every_mark_of_a_board_is_explained() -> None:
    rows = [line for line in (ROOT / "docs" / "reading.md").read_text().splitlines() if line.startswith("| ")]
    for mark in (
        tables.DAGGER,
        tables.DOUBLE_DAGGER,
        tables.PARTIAL,
        tables.OTHERWISE,
        tables.UNPROVEN,
        tables.MISSING,
    ):
        assert sum(row.startswith(f"| {mark}") for row in rows) == 1, mark


def commands_of(page: Path) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("xaibench ") and "$" not in line]


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_commands_have_the_options_that_pages_name(page: str) -> None:
    for line in commands_of(ROOT / "docs" / page):
        command: Any = typer.main.get_command(app)
        words = shlex.split(line, comments=True)[1:]
        while hasattr(command, "get_command") and words:
            found = command.get_command(typer.Context(command), words[0])
            assert found is not None, line
            command, words = found, words[1:]
        command.make_parser(typer.Context(command)).parse_args(words)


@cache
def numbers(source: str) -> list[float]:
    """What a file says about the line that a comment behind a number names."""
    kind, *key = source.split(" | ")
    if kind == "standard":
        classifier, method, metric = key
        lines = standard()
        chosen = lines[(lines["metric"] == metric) & (lines["classifier"] == classifier) & (lines["method"] == method)]
        (line,) = chosen[["mean", "low", "high"]].to_numpy(float).tolist()
        return line
    if kind == "agreement":
        return [agreement().loc[key[0], key[1]]]
    if kind == "better":
        own = standard()[(standard()["metric"] == key[0]) & ~standard()["control"]]
        return [(own["better_than_random"].fillna(False).astype(bool)).sum(), len(own)]
    lines = pd.read_csv(RESULTS / "orders-esc10.csv")
    if kind == "tau":
        return [tau(lines, *key)]
    assert kind == "order", source
    chosen = lines.set_index(["condition", "classifier", "method"]).loc[tuple(key)]
    return chosen[["mean", "low", "high"]].astype(float).tolist()


@cache
def standard() -> pd.DataFrame:
    lines = at_primary_area(pd.read_csv(RESULTS / "comparison.csv.gz"))
    return lines[lines["dataset"] == "esc10"]


@cache
def agreement() -> pd.DataFrame:
    return metric_agreement(standard())


NUMBER = r"[+-]?\d+(?:\.\d+)?"
CLAIM = re.compile(rf"({NUMBER}(?: \[{NUMBER}, {NUMBER}\]| of \d+)?)<!-- (.*?) -->")


@pytest.mark.parametrize("page", ADVICE)
def test_every_number_of_the_advice_is_that_of_the_files(page: str) -> None:
    text = prose(ROOT / "docs" / f"{page}.md")
    for claimed, source in CLAIM.findall(text):
        written = re.findall(NUMBER, claimed)
        known = numbers(source)
        assert len(written) == len(known), source
        for number, value in zip(written, known, strict=True):
            decimals = len(number.partition(".")[2])
            assert float(number) == pytest.approx(value, abs=0.51 * 10**-decimals), source
    rest = re.sub(r"`[^`\n]*`|^#.*$|\]\([^)]*\)|Python 3\.11 to 3\.13", "", CLAIM.sub("", text), flags=re.MULTILINE)
    assert re.findall(r"\d+\.\d+", rest) == [], "a number without the line of a file behind it"


def test_the_advice_makes_claims() -> None:
    assert len(CLAIM.findall((ROOT / "docs" / "which-metric.md").read_text())) > 20
