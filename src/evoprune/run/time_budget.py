"""When a search has to stop so that the final model is ready in time."""

from __future__ import annotations

import time
from typing import Final

from evoprune.events import Decision, Listener
from evoprune.run.store import RunStore

# Share of a time budget kept back for retraining and judging the best network.
RESERVE: Final = 0.25


class TimeBudget:
    """Decides before each generation whether the search may go on; the decision is kept, so that a resume repeats it.

    Args:
        seconds: For the whole run; a share of it is kept back for the final model. None: no limit.
        started: When the run began, by `time.perf_counter`.
        store: Keeps the decision.
        notify: Told of it.
    """

    def __init__(self, seconds: float | None, started: float, store: RunStore, notify: Listener) -> None:
        self._seconds = seconds
        self._started = started
        self._store = store
        self._notify = notify

    def __call__(self, generation: int) -> bool:
        """Whether `generation` may begin; the first one always may."""
        decided = self._store.recall("stopped_before_generation")
        if decided is not None:
            return generation < int(decided)
        elapsed = time.perf_counter() - self._started
        if generation == 0 or self._seconds is None or elapsed < (1 - RESERVE) * self._seconds:
            return True
        self._store.remember("stopped_before_generation", generation)
        self._notify(Decision("time budget", f"the search stops before generation {generation}"))
        return False
