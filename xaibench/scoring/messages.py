"""What a run says to a worker process, and what comes back. Nothing here loads torch: any process may pass it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part to score: its number, the method with its settings, one of its masks and its identity, and the metrics."""

    index: int
    method: str
    settings: dict[str, Any]
    soft: bool
    code_sha256: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of scoring a part by one method.

    Attributes:
        reason: one line, where it could not be scored; empty where it is written.
        metric: that failed; empty where another did.
        of_classifier: whether the classifier failed, and not the method.
        lasting: whether it would happen with other methods too, and cost as much: a process that died or hung.
        traceback: where it happened, as far as that is known.
    """

    reason: str = ""
    metric: str = ""
    of_classifier: bool = False
    lasting: bool = False
    traceback: str = ""


@dataclass
class Lost(Exception):
    """A worker process is gone.

    Attributes:
        reason: what happened to it.
        running: what it had announced: "explain()", "metric NAME", or "".
        traceback: of its threads; empty where it left none.
    """

    reason: str
    running: str
    traceback: str


class Away(Exception):
    """A worker is gone with its machine, whatever it was scoring; it may come back (`Process.ready`)."""
