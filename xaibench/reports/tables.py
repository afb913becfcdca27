"""A table for people, and the same table as Markdown, HTML and in a terminal; `reports.latex` writes LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from rich.console import Group

_GAP = 2  # characters between the columns in a terminal
MISSING = "\N{EN DASH}"
DAGGER = "†"
DOUBLE_DAGGER = "‡"
PARTIAL = "°"
OTHERWISE = "¶"
UNPROVEN = "§"
# What stands in a table of which a note begins with this mark.
_MARKS = {mark: mark for mark in (DAGGER, DOUBLE_DAGGER, PARTIAL, OTHERWISE, UNPROVEN, f"({UNPROVEN})", "±")}
_MARKS |= {"(n)": " ("}
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

    Rows that are `apart` are not controls and stand in a group of their own above them. `marks` stand behind the name.
    """

    name: str
    control: bool
    cells: tuple[Cell, ...]
    apart: bool = False
    marks: str = ""

    @property
    def head(self) -> str:
        """The name with its marks."""
        return self.name + self.marks


@dataclass(frozen=True)
class Table:
    """A captioned table whose first column holds the rows' names.

    Attributes:
        notes: what its marks mean, and what else is true of other tables, too.
        findings: what is true of this table alone.
        names: head of the first column.
        below: what the rows below the line (`Row.control`) are.
        apart: what the rows of `Row.apart` are.
        legend: abbreviated columns, each with a line such as "FF: faithfulness".
        first: columns that stay where not all have a place, before those that stand to the left.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    names: str = "Method"
    below: str = "Controls"
    apart: str = "Soft masks"
    legend: tuple[tuple[str, str], ...] = ()
    first: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def explanations(self) -> tuple[str, ...]:
        """What stands below it: abbreviations in full, findings, and notes, but those of marks that it has not."""
        known = dict(self.legend)
        cells = (cell.text + cell.tail for row in self.rows for cell in row.cells)
        text = "".join([*self.columns, *(row.head for row in self.rows), *cells])
        said = (*self.findings, *self.notes)
        notes = tuple(note for note in said if _MARKS.get(note.partition(":")[0], "") in text)
        full = "; ".join(dict.fromkeys(known[column] for column in self.columns if column in known))
        return (f"{full}.", *notes) if full else notes

    def widths(self) -> list[int]:
        """Count the characters of each column, that of the names first."""
        names = [self.names, *(row.head for row in self.rows), *(title for title, _ in self.groups())]
        cells = [[row.cells[i].text + row.cells[i].tail for row in self.rows] for i in range(len(self.columns))]
        heads = [[head, *own] for head, own in zip(self.columns, cells, strict=True)]
        return [max(map(len, column)) for column in (names, *heads)]

    @property
    def width(self) -> int:
        """Count the characters of a line in a terminal."""
        widths = self.widths()
        return sum(widths) + _GAP * (len(widths) - 1)

    def fit(self, width: int, remedy: str = "") -> Table:
        """Leave out columns until a line in a terminal has at most `width` characters; a note names them.

        One column stays in any case. Nothing is cut.

        Args:
            width: of the terminal.
            remedy: how to see the others.
        """
        own, *widths = self.widths()
        order = sorted(range(len(self.columns)), key=lambda i: (self.columns[i] not in self.first, i))
        kept: list[int] = []
        for i in order:
            own += _GAP + widths[i]
            if kept and own > width:
                break
            kept.append(i)
        if len(kept) == len(self.columns):
            return self
        left_out = ", ".join(head for i, head in enumerate(self.columns) if i not in kept)
        note = f"Not shown, as {width} characters are too few: {left_out}{f' ({remedy})' * bool(remedy)}."
        return replace(self.choose([self.columns[i] for i in sorted(kept)]), notes=(*self.notes, note))

    def choose(self, columns: Sequence[str]) -> Table:
        """Keep these columns, in this order; one that the table does not have is empty."""
        places = [self.columns.index(head) if head in self.columns else None for head in columns]
        rows = tuple(
            replace(row, cells=tuple(Cell("") if i is None else row.cells[i] for i in places)) for row in self.rows
        )
        return replace(self, columns=tuple(columns), rows=rows)

    def groups(self) -> list[tuple[str, list[Row]]]:
        """Group the rows under titles: methods (without one), rows apart, controls; leave out empty groups."""
        kinds = ((False, False, ""), (False, True, self.apart), (True, False, self.below))
        groups = [
            (title, [row for row in self.rows if (row.control, row.apart) == (control, apart)])
            for control, apart, title in kinds
        ]
        return [(title, rows) for title, rows in groups if rows]


@dataclass(frozen=True)
class Markup:
    """How a format writes special characters, bold and italic."""

    characters: dict[int, str]
    bold: str
    italic: str

    def escape(self, text: str) -> str:
        return text.translate(self.characters)

    def line(self, row: Row) -> list[str]:
        """Mark up the name and cells of a row."""
        name = self.escape(row.head)
        cells = [
            (self.bold % self.escape(c.text) if c.best else self.escape(c.text)) + self.escape(c.tail)
            for c in row.cells
        ]
        return [self.italic % name if row.control else name, *cells]


_MARKDOWN = Markup(str.maketrans({c: "\\" + c for c in "\\|*_`<[]"}), "**%s**", "*%s*")


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
    notes = "".join(f"\n{_MARKDOWN.escape(note)}  " for note in table.explanations)
    return f"**{_MARKDOWN.escape(table.caption)}**\n\n{body}\n" + (f"{notes}\n" if notes else "")


def html(table: Table) -> str:
    """Write the table as HTML for notebooks, whose own style it takes."""
    heads = "".join(f"<th>{escape(head)}</th>" for head in (table.names, *table.columns))
    lines = []
    for index, (title, group) in enumerate(table.groups()):
        if index:
            lines.append(f'<tr><th colspan="{len(table.columns) + 1}">{escape(title)}</th></tr>')
        for row in group:
            name = f"<i>{escape(row.head)}</i>" if row.control else escape(row.head)
            cells = (
                (f"<b>{escape(cell.text)}</b>" if cell.best else escape(cell.text)) + escape(cell.tail)
                for cell in row.cells
            )
            lines.append(f"<tr><td>{name}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    body = f"<table><caption>{escape(table.caption)}</caption><thead><tr>{heads}</tr></thead>"
    return f"{body}<tbody>{''.join(lines)}</tbody></table>" + "".join(map(html_text, table.explanations))


def html_text(line: str) -> str:
    """Write a line of text as HTML."""
    return f"<div><small>{escape(line)}</small></div>"


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


def say_once(shown: Sequence[Table]) -> list[Table]:
    """Leave each note and abbreviation of several tables to the last that has it; findings stay where they are."""
    notes: set[str] = set()
    abbreviations: set[str] = set()
    found = []
    for table in reversed(shown):
        new = tuple(note for note in table.notes if note not in notes)
        here = tuple((head, said) for head, said in table.legend if head in table.columns and said not in abbreviations)
        found.append(replace(table, notes=new, legend=here))
        notes |= set(new)
        abbreviations |= {said for _, said in here}
    return found[::-1]


def terminal(table: Table) -> Group:
    """Make what rich prints: caption, table and notes; controls are dim and italic, below a title."""
    import rich.box
    import rich.table
    from rich.console import Group
    from rich.text import Text

    body = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    body.add_column(table.names, no_wrap=True)
    for column in table.columns:
        body.add_column(Text(column), justify="right", no_wrap=True)
    for index, (title, group) in enumerate(table.groups()):
        if index:
            body.add_row(Text(title, style="bold dim"))
        for row in group:
            cells = [Text.assemble((c.text, "bold" if c.best else ""), (c.tail, "dim")) for c in row.cells]
            name = Text(row.head, style="italic" if row.control else "")
            body.add_row(name, *cells, style="dim" if row.control else "")
    notes = [Text("\n" + "\n".join(table.explanations), style="dim")] * bool(table.explanations)
    return Group(Text(f"{table.caption}\n", style="bold"), body, *notes, "")
