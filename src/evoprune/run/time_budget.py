"""When a search has to stop so that the final model is ready in time."""

from __future__ import annotations

import time
from typing import Final

from evoprune.events import Decision, Listener
from evoprune.run.store import RunStore

RESERVE: Final = 0.25
"""Share of a time budget kept back for retraining and judging the best network."""
SPENT: Final = "spent_s"
_KEPT_EVERY_S: Final = 5.0


class TimeBudget:
    """Decides before each generation whether the search may go on; the decision is kept, so that a resume repeats it.

    The time of earlier processes counts, to a few seconds.

    Args:
        seconds: For the whole run; a share of it is kept back for the final model. None: no limit.
        started: When this process began with the run, by `time.perf_counter`.
        store: Keeps the decision, and the time that was spent.
        notify: Told of it.
    """

    def __init__(self, seconds: float | None, started: float, store: RunStore, notify: Listener) -> None:
        self._seconds = seconds
        self._started = started - (store.recall(SPENT) or 0.0)
        self._store = store
        self._notify = notify
        self._kept = time.perf_counter()

    def __call__(self, generation: int, *, begun: bool = False) -> bool:
        """Whether `generation` may begin; the first one always may, and so may one that has `begun` in an earlier process."""
        decided = self._store.recall("stopped_before_generation")
        if decided is not None:
            return generation < int(decided)
        if generation == 0 or begun or self._seconds is None or self._elapsed < (1 - RESERVE) * self._seconds:
            return True
        self._store.remember("stopped_before_generation", generation)
        self._notify(Decision("time budget", f"the search stops before generation {generation}"))
        return False

    def keep_count(self) -> None:
        """Keep the time that was spent, every few seconds, where it matters."""
        now = time.perf_counter()
        if self._seconds is not None and now - self._kept >= _KEPT_EVERY_S:
            self._kept = now
            self._store.remember(SPENT, round(self._elapsed, 1))

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._started
