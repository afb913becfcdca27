"""The engine of one machine: this process, or worker processes that it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xaibench.errors import XaibenchError
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.engine import Engine
from xaibench.scoring.loop import Event, Loop, tell_who_stays, together
from xaibench.scoring.part import Scoring
from xaibench.scoring.workers import Workers, start_here


@dataclass(frozen=True, kw_only=True)
class Local(Engine):
    """One worker is this process, where only plugins have a process of their own; several are processes beside it.

    Attributes:
        start: where among the parts it begins, from 0 to 1, so that several commands for one run do not follow
            each other.
    """

    start: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what only a cluster has.

        Raises:
            XaibenchError: an address or resources are given, or there are no workers.
        """
        super().__post_init__()
        if self.address is not None or self.resources:
            raise XaibenchError("workers of this machine have no address and ask for no resources; choose an --engine")

    @property
    def here(self) -> bool:
        """Whether this process scores by itself."""
        return (self.workers or 1) == 1

    def score(self, scoring: Scoring, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        """Score until nothing is left."""
        if not self.here:
            together(scoring, pairs, self.workers or 1, start_here, report)
            return
        with contextlib.closing(Workers(scoring)) as workers:
            tell_who_stays(scoring, workers, pairs, report)
            Loop(scoring, pairs, report, self.start).work(0, workers)
