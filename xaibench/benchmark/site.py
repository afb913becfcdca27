"""A web site of boards: static files for any web host, made of the rows of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xaibench import registry
from xaibench.benchmark import reporting
from xaibench.errors import RegistryError
from xaibench.reports import boards, plots, report_page
from xaibench.reports.marks import NO_MARKS, Marks
from xaibench.results import selection
from xaibench.results.archives import pack
from xaibench.results.comparison import compare_groups, compared_rows
from xaibench.results.runs import find_runs
from xaibench.results.selection import Group

TITLE = "Explanations of sound classifiers, compared"


def site(*places: str | Path, folder: str | Path = "site", title: str = TITLE, submit: str = "") -> Path:
    """Write a web site of the boards of several runs: a folder of static files for any web host.

    Its page has the boards of all data sets, protocols and classifiers, which sort and filter, the methods, profiles,
    the agreement of metrics, figures, licences and how to cite; another page says how to submit a result, and how it is
    verified. Tables (CSV, Markdown, LaTeX), figures (PDF) and the rows (archives, as `Results.publish` writes them) are
    there to be loaded. It has no sound, and asks nothing of any other host.

    Args:
        places: run folders, folders with run folders below them, or archives that `publish` wrote.
        folder: to write; files of the same names in it are replaced.
        title: of the site.
        submit: address where results are handed in, such as that of a repository's issues.

    Returns:
        Its first page, `index.html`.

    Raises:
        ResultsError: no run is there, or one is not finished.
    """
    return write_site(selection.group(find_runs(*map(Path, places))), Path(folder), title=title, submit=submit)


def write_site(
    groups: Sequence[Group], folder: Path, *, title: str = TITLE, submit: str = "", marks: Marks = NO_MARKS
) -> Path:
    """Write the site of groups of runs; see `site`.

    Args:
        groups: as `selection.group` gives them.
        folder: to write.
        title: of the site.
        submit: address where results are handed in, or "".
        marks: of metrics that a validation speaks against.
    """
    comparison, rows = compare_groups(groups), compared_rows(groups)
    figures = [path for path in plots.write_plots(rows, comparison, folder / "figures", marks) if path.suffix == ".png"]
    files = boards.write(comparison, folder / "tables", marks)
    for group in groups:
        for index, run in enumerate(group.runs):
            name = group.name + f"-{index + 1}" * (len(group.runs) > 1)
            files.append(pack(run, folder / "rows" / name))
    about: dict[str, Any] = {
        "figures": [
            {
                "png": path.relative_to(folder).as_posix(),
                "pdf": path.relative_to(folder).with_suffix(".pdf").as_posix(),
                "title": plots.title(path.stem),
            }
            for path in figures
        ],
        "files": [{"path": path.relative_to(folder).as_posix(), "size": path.stat().st_size} for path in files],
        "licences": {name: _licence(name) for name in dict.fromkeys(group.conditions.dataset for group in groups)},
        "submit": submit,
    }
    page = reporting.page_of(groups, comparison, rows, marks, title) | {"site": about}
    report_page.write_page(page, folder / report_page.PAGE)
    report_page.write_page(page, folder / report_page.SUBMIT, report_page.SUBMIT)
    return folder / report_page.PAGE


def _licence(dataset: str) -> str:
    """Return the licence of a dataset's sound, as far as it is known here."""
    try:
        return str(getattr(registry.load("datasets", dataset), "licence", ""))
    except RegistryError:
        return ""
