"""A command as a user meets it: what it printed where, and its exit code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """Lines on standard error that are not empty."""
        return [line for line in self.err.splitlines() if line.strip()]


Command = Callable[..., Done]


def assert_refused(done: Done, *words: str) -> None:
    """Exit code 2 and one line that holds the words."""
    assert done.code == 2, done
    assert len(done.error_lines) == 1, done.err
    assert done.error_lines[0].startswith("Error: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.error_lines[0]
    assert done.out == ""
