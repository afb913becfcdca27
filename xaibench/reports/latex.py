"""Tables for papers: one LaTeX table for a group of runs, its classifiers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xaibench.reports.tables import (
    DAGGER,
    DOUBLE_DAGGER,
    MISSING,
    NO_DAGGER,
    NO_DIGIT,
    OTHERWISE,
    PARTIAL,
    UNPROVEN,
    Cell,
    Markup,
    Row,
    Table,
)

# Characters of \footnotesize on a line across both columns of a usual two-column page (7 in). What is wider is scaled.
PAPER_WIDTH = 110

MINUS = "\N{MINUS SIGN}"

_MARKUP = Markup(
    str.maketrans(
        {c: "\\" + c for c in "&%$#_{}"}
        | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
        | {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "↑": r"$\uparrow$"}
        | {"↓": r"$\downarrow$", MISSING: "--", "[": "{[}", "]": "{]}", "*": "{*}"}
        | {
            DOUBLE_DAGGER: r"$^{\ddagger}$",
            DAGGER: r"$^{\dagger}$",
            UNPROVEN: r"$^{\S}$",
            OTHERWISE: r"$^{\P}$",
            PARTIAL: r"$^{\circ}$",
            NO_DAGGER: r"\phantom{$^{\dagger}$}",
            NO_DIGIT: r"\phantom{0}",
            MINUS: "$-$",
        }
    ),
    r"\textbf{%s}",
    r"\textit{%s}",
)


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """How a table stands in a paper.

    Attributes:
        caption: LaTeX, as it is; None for one that says which runs these are.
        label: for \\ref; None for one made of the group's name.
    """

    caption: str | None = None
    label: str | None = None


def side_by_side(
    tables: Mapping[str, Table], order: Sequence[tuple[str, bool]], *, everything: bool
) -> tuple[Table, tuple[tuple[str, int], ...]]:
    """Put tables of the same kind beside each other.

    Marks behind the names of rows are moved to the first cell of a table, since they may differ.

    Args:
        tables: by what stands above their columns.
        order: of the rows, each by its name and whether it is `Row.apart`.
        everything: whether all columns are kept, and not only as many of the first ones as PAPER_WIDTH has a place for.

    Returns:
        The table, and what stands above how many of its columns.
    """
    columns = list(dict.fromkeys(_unmarked(column) for table in tables.values() for column in table.columns))
    for count in range(len(columns), 0, -1):
        joined = _join(tables, order, columns[:count])
        if everything or joined.width <= PAPER_WIDTH:
            break
    return joined, tuple((title, count) for title in tables)


def _join(tables: Mapping[str, Table], order: Sequence[tuple[str, bool]], columns: list[str]) -> Table:
    chosen = []
    for table in tables.values():
        own = {_unmarked(column): column for column in table.columns}
        chosen.append(table.choose([own.get(head, head) for head in columns]))
    if len(chosen) > 1:
        chosen = [replace(table, rows=_mark_first_cells(table.rows)) for table in chosen]
    by_key = [{(row.name, row.apart): row for row in table.rows} for table in chosen]
    nothing = (Cell(""),) * len(columns)
    rows = []
    for key in order:
        known = [found[key] for found in by_key if key in found]
        cells = [found[key].cells if key in found else nothing for found in by_key]
        rows += [replace(row, cells=tuple(cell for block in cells for cell in block)) for row in known[:1]]
    notes = dict.fromkeys(note for table in chosen for note in table.notes)
    legend = dict.fromkeys(line for table in chosen for line in table.legend)
    return replace(
        chosen[0],
        columns=tuple(column for table in chosen for column in table.columns),
        rows=tuple(rows),
        notes=tuple(notes),
        legend=tuple(legend),
        findings=_findings(tables),
    )


def _findings(tables: Mapping[str, Table]) -> tuple[str, ...]:
    """Say of which tables each finding is, if it is not one of all."""
    titles: dict[str, list[str]] = {}
    for title, table in tables.items():
        for finding in table.findings:
            titles.setdefault(finding, []).append(title)
    return tuple(finding if len(of) == len(tables) else f"{', '.join(of)}: {finding}" for finding, of in titles.items())


def _unmarked(column: str) -> str:
    """Return a heading without the mark of a metric, which tables beside each other need not share."""
    return column.removesuffix(f"({UNPROVEN})").removesuffix(UNPROVEN)


def _mark_first_cells(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    most = max(len(row.marks) for row in rows)
    marked = []
    for row in rows:
        first, *others = row.cells
        first = replace(first, tail=first.tail + row.marks.ljust(most, NO_DAGGER))
        marked.append(replace(row, cells=(first, *others), marks=""))
    return tuple(marked)


def latex(table: Table, above: tuple[tuple[str, int], ...] = (), config: PaperConfig = PaperConfig()) -> str:
    """Write the table as LaTeX: one `table*`, as wide as the text at most, with booktabs and adjustbox.

    Args:
        table: what is written.
        above: what stands above how many of the columns; of one thing only, nothing does.
        config: caption and label.
    """
    caption = _MARKUP.escape(table.caption) if config.caption is None else config.caption
    heads, rules, place = [], [], 2
    for title, count in above if len(above) > 1 else ():
        heads.append(rf" & \multicolumn{{{count}}}{{c}}{{{_MARKUP.escape(title)}}}")
        rules.append(rf"\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    body: list[str] = []
    for title, rows in table.groups():
        if body:
            span = rf"\multicolumn{{{len(table.columns) + 1}}}{{@{{}}l}}{{\textit{{{_MARKUP.escape(title)}}}}}"
            body += [r"\midrule", rf"{span} \\"]
        body += [" & ".join(_MARKUP.line(_with_minus(row))) + r" \\" for row in rows]
    notes = _MARKUP.escape(" ".join(table.explanations))
    lines = [
        r"% Needs \usepackage{booktabs,adjustbox}. Scaled down where the text is narrower than the table.",
        r"\begin{table*}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        *([rf"\label{{{config.label}}}"] if config.label else []),
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        *(["".join(heads) + r" \\", "".join(rules)] if heads else []),
        " & ".join([table.names, *map(_MARKUP.escape, table.columns)]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        *(["", rf"\smallskip\parbox{{\textwidth}}{{\footnotesize\raggedright {notes}}}"] if notes else []),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _with_minus(row: Row) -> Row:
    cells = (replace(c, text=MINUS + c.text[1:]) if c.text.startswith("-") else c for c in row.cells)
    return replace(row, cells=tuple(cells))
