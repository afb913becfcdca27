"""CSV files that may be opened in a spreadsheet: names come from strangers, and a name like `=HYPERLINK(...)` is text.

A spreadsheet takes a cell that begins with one of a few characters for a formula, and runs it. Such a text gets an
apostrophe in front, as OWASP recommends (https://owasp.org/www-community/attacks/CSV_Injection). Numbers stay as they
are, also negative ones. A text that begins with apostrophes and such a character gets one more, so that reading takes
exactly one away and gives what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from pandas.api.types import is_object_dtype, is_string_dtype

# The last four are the wide forms, which some spreadsheets take for the same.
_STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{_STARTS}]")
_NEUTRALISED = re.compile(f"'+[{_STARTS}]")


def neutral(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def original(text: str) -> str:
    """Return the text that `neutral` was given."""
    return text[1:] if _NEUTRALISED.match(text) else text


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Write a table as CSV in UTF-8, without its index, every text `neutral`, headings too."""
    return _each_text(neutral, table).to_csv(index=False, lineterminator="\n").encode()


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table that `csv_bytes` wrote."""
    return _each_text(original, pd.read_csv(path))


def _each_text(change: Callable[[str], str], table: pd.DataFrame) -> pd.DataFrame:
    """Change the texts of a table and its headings; the types of the columns, and so their form in a CSV, stay."""
    changed = table.copy(deep=False)
    for name, column in table.items():
        if is_object_dtype(column) or is_string_dtype(column):
            values = [change(value) if isinstance(value, str) else value for value in column]
            changed[name] = pd.Series(values, column.index, dtype=column.dtype)
    return changed.rename(columns=change)
