"""A table for people, and the same table as Markdown, LaTeX and in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import rich.table

MOST_WIDTH = 100  # characters of a terminal; in small type also about a text width on paper
MISSING = "\N{EN DASH}"
DAGGER = "†"
DOUBLE_DAGGER = "‡"
PARTIAL = "°"
OTHERWISE = "¶"
UNPROVEN = "§"
NO_DAGGER = "\N{FIGURE SPACE}"  # keeps the numbers of a column aligned where others carry a dagger
NO_DIGIT = "\N{NO-BREAK SPACE}"  # keeps them aligned where others carry a count


@dataclass(frozen=True)
class Cell:
    """A number as people read it: `text` is set bold if `best`; `tail` (uncertainty, marks) never is."""

    text: str
    tail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A named line of cells; controls, or whatever the table has below its line, stand below all others.

    Rows that are `apart` are not controls and stand in a group of their own above them.
    """

    name: str
    control: bool
    cells: tuple[Cell, ...]
    apart: bool = False


@dataclass(frozen=True)
class Table:
    """A captioned table whose first column holds the rows' names; `notes` explain its marks.

    Attributes:
        names: head of the first column.
        below: what the rows below the line (`Row.control`) are.
        apart: what the rows of `Row.apart` are.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    names: str = "Method"
    below: str = "Controls"
    apart: str = "Soft masks"

    def split(self) -> list[Table]:
        """Split into tables that fit into MOST_WIDTH, few and of about equally many columns; the last has the notes."""
        for count in range(1, len(self.columns) + 1):
            pieces = [self._piece(columns) for columns in np.array_split(np.arange(len(self.columns)), count)]
            if all(piece.width() <= MOST_WIDTH for piece in pieces):
                break
        return [
            replace(
                piece,
                caption=self.caption if count == 1 else f"{self.caption} ({number} of {count})",
                notes=self.notes if number == count else (),
            )
            for number, piece in enumerate(pieces, start=1)
        ]

    def width(self) -> int:
        """Count the characters of a line, with three between columns and one at either edge."""
        names = [len(row.name) for row in self.rows]
        columns = [
            max(len(heading), *(len(row.cells[i].text + row.cells[i].tail) for row in self.rows))
            for i, heading in enumerate(self.columns)
        ]
        return max(names) + sum(columns) + 3 * len(columns) + 2

    def _piece(self, columns: NDArray[np.intp]) -> Table:
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in columns)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in columns), rows=rows)

    def groups(self) -> list[tuple[str, list[Row]]]:
        """Group the rows under titles: methods (without one), rows apart, controls; leave out empty groups."""
        kinds = ((False, False, ""), (False, True, self.apart), (True, False, self.below))
        groups = [
            (title, [row for row in self.rows if (row.control, row.apart) == (control, apart)])
            for control, apart, title in kinds
        ]
        return [(title, rows) for title, rows in groups if rows]


@dataclass(frozen=True)
class _Markup:
    """How a format writes special characters, bold and italic."""

    characters: dict[int, str]
    bold: str
    italic: str

    def escape(self, text: str) -> str:
        return text.translate(self.characters)

    def line(self, row: Row) -> list[str]:
        """Mark up the name and cells of a row."""
        name = self.escape(row.name)
        cells = [
            (self.bold % self.escape(c.text) if c.best else self.escape(c.text)) + self.escape(c.tail)
            for c in row.cells
        ]
        return [self.italic % name if row.control else name, *cells]


_MARKDOWN = _Markup(str.maketrans({c: "\\" + c for c in "\\|*_`<[]"}), "**%s**", "*%s*")
_LATEX = _Markup(
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
        }
    ),
    r"\textbf{%s}",
    r"\textit{%s}",
)


def pipe_table(align: str, lines: Sequence[Sequence[str]]) -> str:
    """Write cells that are Markdown already as a table.

    Args:
        align: "l" or "r" for each column.
        lines: the head, then the rows.
    """
    head, *rows = lines
    marks = [{"l": ":--", "r": "--:"}[side] for side in align]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, marks, *rows))


def markdown(table: Table) -> str:
    """Write the table as Markdown, a line with the title above each group but the first, notes below."""
    lines = [[table.names, *map(_MARKDOWN.escape, table.columns)]]
    for index, (title, group) in enumerate(table.groups()):
        if index:
            lines.append([f"*{title}*"] + [""] * len(table.columns))
        lines += [_MARKDOWN.line(row) for row in group]
    body = pipe_table("l" + "r" * len(table.columns), lines)
    notes = "".join(f"\n{_MARKDOWN.escape(note)}  " for note in table.notes)
    return f"**{_MARKDOWN.escape(table.caption)}**\n\n{body}\n" + (f"{notes}\n" if notes else "")


def html(table: Table) -> str:
    """Write the table as HTML for notebooks, whose own style it takes."""
    heads = "".join(f"<th>{escape(head)}</th>" for head in (table.names, *table.columns))
    lines = []
    for index, (title, group) in enumerate(table.groups()):
        if index:
            lines.append(f'<tr><th colspan="{len(table.columns) + 1}">{escape(title)}</th></tr>')
        for row in group:
            name = f"<i>{escape(row.name)}</i>" if row.control else escape(row.name)
            cells = (
                (f"<b>{escape(cell.text)}</b>" if cell.best else escape(cell.text)) + escape(cell.tail)
                for cell in row.cells
            )
            lines.append(f"<tr><td>{name}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    body = f"<table><caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead>"
    return f"{body}<tbody>{''.join(lines)}</tbody></table>" + "".join(map(html_text, table.notes))


def html_text(line: str) -> str:
    """Write a line of text as HTML."""
    return f"<div><small>{escape(line)}</small></div>"


def latex(table: Table) -> str:
    """Write the table as LaTeX that needs no package but booktabs."""
    header = " & ".join([table.names, *map(_LATEX.escape, table.columns)]) + r" \\"
    groups = ["\n".join(" & ".join(_LATEX.line(row)) + r" \\" for row in group) for _, group in table.groups()]
    notes = [rf"\par\smallskip {_LATEX.escape(' '.join(table.notes))}"] if table.notes else []
    lines = [
        r"\begin{table}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_LATEX.escape(table.caption)}}}",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        header,
        r"\midrule",
        "\n\\midrule\n".join(groups),
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def of_frame(caption: str, lines: pd.DataFrame, notes: Sequence[str] = (), names: str = "Method") -> Table:
    """Make a table of a frame whose index names the rows: floats with six decimals, all else as it is."""
    rows = tuple(
        Row(
            str(line[0]),
            False,
            tuple(Cell(f"{value:.6f}" if isinstance(value, float) else str(value)) for value in line[1:]),
        )
        for line in lines.itertuples()
    )
    return Table(caption, tuple(map(str, lines.columns)), rows, tuple(notes), names=names)


def duration(seconds: float) -> str:
    """Write a time as people say it: 12 s, 3 min, 1.5 h."""
    hours, minutes = seconds / 3600, seconds / 60
    return f"{seconds:.0f} s" if seconds < 59.5 else f"{minutes:.0f} min" if minutes < 59.5 else f"{hours:.1f} h"


def terminal(table: Table) -> rich.table.Table:
    """Make the table that rich prints; controls are dim and italic, below a rule."""
    import rich.box
    import rich.table
    from rich.text import Text

    result = rich.table.Table(
        title=Text(table.caption, style="bold"),
        caption=Text("\n".join(table.notes), style="dim") if table.notes else None,
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
    )
    result.add_column(table.names, no_wrap=True)
    for column in table.columns:
        result.add_column(Text(column), justify="right", no_wrap=True)
    groups = [rows for _, rows in table.groups()]
    for group in groups:
        for row in group:
            cells = [Text.assemble((c.text, "bold" if c.best else ""), (c.tail, "dim")) for c in row.cells]
            last = row is group[-1] and group is not groups[-1]
            result.add_row(
                Text(row.name, style="italic" if row.control else ""),
                *cells,
                style="dim" if row.control else "",
                end_section=last,
            )
    return result
