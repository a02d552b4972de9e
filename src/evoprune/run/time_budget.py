"""When a search has to stop so that the final model is ready in time, and how long it may then be trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from torch import nn

from evoprune.evaluation.training import Schedule, StepListener
from evoprune.events import Decision, Event, Listener
from evoprune.nn_utils.cloning import clone
from evoprune.store.run_directory import RunStore

RESERVE: Final = 0.25
"""Share of a time budget kept back for retraining and judging the best network."""
SHORTEST_EPOCHS: Final = 1.0
"""That a training is cut down to at most: a network that was pruned and not trained is of no use to anybody."""
_KEPT_EVERY_S: Final = 1.0
_WARM_STEPS: Final = 2
_PROBE_STEPS: Final = 8
LAST: Final = 0.9
"""Share of what is left that the last training may take; the rest is for judging and figures."""

TrainFor = Callable[[nn.Module, Schedule, StepListener | None], None]


class TimeBudget:
    """Decides before each generation whether the search may go on, and how long what follows it may be trained.

    The decisions are kept, so that a resume repeats them. The time of earlier processes counts, but for what a killed one did
    after its last event, and at most a second before that.

    Args:
        seconds: Seconds for the whole run; a share of them is kept back for the final model. None: no limit.
        started: When this process began with the run, by `time.perf_counter`.
        store: Keeps the decisions, and the time that was spent.
        notify: Called with each decision.
        reserve: Share of the seconds that is kept back for the final model.
    """

    def __init__(
        self, seconds: float | None, started: float, store: RunStore, notify: Listener, *, reserve: float = RESERVE
    ) -> None:
        self._seconds, self._reserve = seconds, reserve
        self._started = started - (store.manifest.spent_s or 0.0)
        self._store = store
        self._notify = notify
        self._kept = time.perf_counter()
        self._asked: float | None = None

    def __call__(self, generation: int, *, begun: bool = False) -> bool:
        """Whether `generation` may begin; the first one always may, and so may one that has `begun` in an earlier process.

        It is expected to take as long as the one before, with the training between them where there was one.
        """
        manifest = self._store.manifest
        if manifest.stopped_before_generation is not None:
            return generation < manifest.stopped_before_generation
        if begun or self._seconds is None:
            self._asked = None  # what is replayed says nothing of how long it took
            return True
        now = self._elapsed
        if self._asked is not None:
            manifest = replace(manifest, generation_s=round(now - self._asked, 1))
            self._store.update(manifest)
        self._asked = now
        expected = manifest.generation_s or 0.0
        if generation == 0 or now + expected < (1 - self._reserve) * self._seconds:
            return True
        self._store.update(replace(manifest, stopped_before_generation=generation))
        self._notify(Decision("time budget", f"the search stops before generation {generation}"))
        return False

    def epochs(
        self, training: str, wanted: float, seconds_per_epoch: Callable[[], float], *, share: float = LAST
    ) -> float:
        """How many epochs a training may take, so that it ends in time; not less than one, unless fewer are wanted.

        Args:
            training: Name of the training; the decision is kept for each name.
            wanted: Epochs without a budget.
            seconds_per_epoch: Measures how fast it is, when there is something to decide.
            share: Share of the time left that this training may take.
        """
        if self._seconds is None or wanted <= SHORTEST_EPOCHS:
            return wanted
        known = self._store.manifest.epochs_in_time
        if training not in known:
            left = share * (self._seconds - self._elapsed)
            fitting = round(max(left / seconds_per_epoch(), SHORTEST_EPOCHS), 2)
            known = {**known, training: min(wanted, fitting)}
            self._store.update(replace(self._store.manifest, epochs_in_time=known))
            if fitting < wanted:
                self._notify(Decision("time budget", f"{training} is cut to {fitting:g} of {wanted:g} epochs"))
        return min(wanted, float(known[training]))

    def seconds_left(self, share: float) -> float | None:
        """Seconds that a training may take which has this share of what is left; None without a budget."""
        return None if self._seconds is None else max(0.0, share * (self._seconds - self._elapsed))

    def watch(self, event: Event) -> None:
        """A listener: every second keep the time that was spent, where it matters."""
        del event
        now = time.perf_counter()
        if self._seconds is not None and now - self._kept >= _KEPT_EVERY_S:
            self._kept = now
            self._store.update(replace(self._store.manifest, spent_s=round(self._elapsed, 1)))

    @property
    def _elapsed(self) -> float:
        return time.perf_counter() - self._started


def seconds_per_epoch(train: TrainFor, model: nn.Module, one_epoch: Schedule) -> float:
    """How long an epoch takes, from a few steps of a copy.

    Args:
        train: Trains a network by a schedule.
        model: The network; it stays as it is.
        one_epoch: Schedule of an epoch.
    """
    copy = clone(model)
    train(copy, replace(one_epoch, steps=_WARM_STEPS), None)  # the first ones take far longer
    started = time.perf_counter()
    train(copy, replace(one_epoch, steps=_PROBE_STEPS), None)
    return (time.perf_counter() - started) / _PROBE_STEPS * one_epoch.steps
