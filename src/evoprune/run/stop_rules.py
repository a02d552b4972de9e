"""When a search ends before its last generation: stall, target, number of candidates, time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evoprune.errors import ConfigError
from evoprune.events import CandidateEvaluated, Decision, Event, Listener
from evoprune.objectives.constraint import Constraint, total_violation
from evoprune.results import Status
from evoprune.run.candidate_scores import merit
from evoprune.run.loop import EvaluationLog
from evoprune.run.time_budget import TimeBudget
from evoprune.store.journal import JournalEntry


@dataclass(frozen=True)
class Ends:
    """When a search is over before its last generation.

    Attributes:
        target: Bounds that end it once a candidate keeps them all.
        stall_generations: Generations without a better candidate that end it; None: any number.
        max_candidates: Candidates of all searches of the run that end them; None: any number.
    """

    target: tuple[Constraint, ...]
    stall_generations: int | None
    max_candidates: int | None


class Progress:
    """How one search gets on, entry by entry; a function of the journal alone, and so the same at every resume.

    Args:
        ends: When it is over.
        baseline: The dense network's value of each measure.
    """

    def __init__(self, ends: Ends, baseline: Mapping[str, float]) -> None:
        self._patience = ends.stall_generations
        self._target = ends.target
        self._baseline = baseline
        self._best = (-math.inf, -math.inf)
        self._best_in = self._latest = -1
        self._reached: int | None = None

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Look at the next entries."""
        for entry in entries:
            self._latest = entry.generation
            if entry.fitness is not None and merit(entry) > self._best:
                self._best, self._best_in = merit(entry), entry.generation
            if self._reached is None and self._target and entry.evaluation.status is Status.OK:
                values = entry.evaluation.objectives
                if all(one.objective in values for one in self._target):
                    missed = total_violation(self._target, values, self._baseline)
                    self._reached = None if missed else entry.index

    def verdict(self) -> str:
        """Why the search is over; empty while it isn't."""
        if self._reached is not None:
            return f"candidate {self._reached} has reached the target"
        without = self._latest - self._best_in
        if self._patience is not None and without >= self._patience:
            return f"no better candidate in {without} generations"
        return ""


class StopRules:
    """Decides before each generation whether it may begin; a listener of the search that it decides about.

    Stall and target end the search that is at work, and in a run of several the next one begins. The number of candidates and the
    time end them all. What stands in the journal is never stopped short: of the clock alone a resumed run may think otherwise.

    Args:
        ends: When a search is over.
        journal: Journal of the run, all searches in one.
        baseline: The dense network's value of each measure.
        time_budget: Time budget, which is asked last.
        notify: Called with the reason why a search ends.
    """

    def __init__(
        self,
        ends: Ends,
        journal: EvaluationLog,
        baseline: Mapping[str, float],
        time_budget: TimeBudget,
        notify: Listener,
    ) -> None:
        self._ends, self._journal, self._baseline = ends, journal, baseline
        self._time_budget, self._notify = time_budget, notify
        self._progress = Progress(ends, baseline)
        self._seen = 0

    def begin_search(self, first: int) -> None:
        """A search begins whose first journal line is `first`."""
        self._seen = first
        self._progress = Progress(self._ends, self._baseline)

    def watch(self, event: Event) -> None:
        """Count an evaluated candidate."""
        if isinstance(event, CandidateEvaluated):
            self._seen = event.index + 1
            self._progress.take([self._journal.entries[event.index]])

    def __call__(self, generation: int) -> bool:
        """Whether `generation`, counted over all searches of the run, may begin."""
        reason = self._progress.verdict() or self._enough()
        if reason:
            self._notify(Decision("stop rule", f"the search stops before generation {generation}: {reason}"))
            return False
        return self._time_budget(generation, begun=len(self._journal.entries) > self._seen)

    def _enough(self) -> str:
        most = self._ends.max_candidates
        return f"{self._seen} candidates, run.max_candidates is {most}" if most and self._seen >= most else ""


def check_target(target: Sequence[Constraint], measured: Sequence[str]) -> None:
    """See that a target is about what candidates are measured by.

    Raises:
        ConfigError: It is not, and would never be reached.
    """
    unknown = [one.objective for one in target if one.objective not in measured]
    if unknown:
        raise ConfigError(
            f"run.target: {unknown[0]!r} is not measured; of each candidate there are {', '.join(measured)}",
            "add it to search.objectives",
        )
