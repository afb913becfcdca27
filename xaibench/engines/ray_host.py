"""What an actor of the engine `ray` does on its machine.

Nothing here loads torch: the process that an actor holds does, and twice would take seconds and half a gigabyte more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from xaibench.errors import XaibenchError, named
from xaibench.scoring.messages import Job, Lost, Outcome
from xaibench.scoring.worker import Worker


class Host:
    """An actor: it keeps a worker process on its machine, and passes on what that is to do and what came of it."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def ready(self) -> None:
        """Answer, which only an actor does that has a place."""

    def score(self, sent: Sequence[Any], job: Job, timeout: float | None) -> Outcome | Exception:
        """Score a part; an error is returned, since Ray would wrap it.

        Args:
            sent: a reference to what is scored, pickled: fetched once.
            job, timeout: as `Worker.score` has them.
        """
        try:
            if self._worker is None:
                import ray

                self._worker = Worker(ray.get(sent[0]))
            return self._worker.score(job, timeout)
        except (Lost, XaibenchError, OSError) as error:
            return error
        except Exception as error:
            return Lost(f"cannot begin on {os.uname().nodename}: {named(error)}", "", "")
