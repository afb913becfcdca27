"""Tables as Markdown, and times as people say them."""

import pytest

from xaibench.reports.tables import duration, pipe_table


def test_a_pipe_table_aligns_its_columns_and_leaves_the_cells_as_they_are() -> None:
    assert pipe_table("lr", [["*Name*", "n"], ["a [b](c)", "1"]]) == "| *Name* | n |\n| :-- | --: |\n| a [b](c) | 1 |"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3600, "1.0 h"), (9000, "2.5 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
