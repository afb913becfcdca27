"""What an engine is: it lets several workers score a run, here or on other machines."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xaibench.errors import XaibenchError
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.loop import Event
from xaibench.scoring.part import Scoring


@dataclass(frozen=True, kw_only=True)
class Engine(abc.ABC):
    """How many workers score a run, and where; entry points of the group `xaibench.engines` name subclasses.

    Whatever the engine, a part is claimed in the run folder before it is scored, and its bytes are the same.

    Attributes:
        workers: how many; None for as many as fit.
        address: of the cluster; None for the engine's own choice.
        resources: what each worker asks of the cluster, by the cluster's names, as typed.
    """

    workers: int | None = None
    address: str | None = None
    resources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            XaibenchError: there are no workers.
        """
        if self.workers is not None and self.workers < 1:
            raise XaibenchError(f"workers is {self.workers}; give 1 or more")

    @property
    def here(self) -> bool:
        """Whether this process scores by itself, with as many threads as it has."""
        return False

    @abc.abstractmethod
    def score(self, scoring: Scoring, pairs: Sequence[MethodOnClassifier], report: Callable[[Event], None]) -> None:
        """Score what is left of a run on one classifier; return when nothing is.

        Args:
            scoring: the run.
            pairs: its methods.
            report: told of everything that happens, in the thread that called.

        Raises:
            XaibenchError: nobody can score it; the message names the remedy.
        """
