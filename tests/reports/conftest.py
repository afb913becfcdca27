"""Figures of many tests."""

from collections.abc import Iterator

import pytest

from xaibench.reports import style


@pytest.fixture(scope="module", autouse=True)
def letters_in_place_of_fonts() -> Iterator[None]:
    """Draw the letters of PDFs, since to cut a font for each takes longer than all else of a figure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style._SETTINGS, "pdf.fonttype", 3)
        yield
