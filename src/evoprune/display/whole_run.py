"""How much of a run is done, where its search is a known share of the work."""

from __future__ import annotations

from evoprune.events import (
    CandidateEvaluated,
    Event,
    GenerationEnded,
    GenerationStarted,
    StageEnded,
    TrainingProgress,
    WorkPlanned,
)


class WholeRun:
    """Follows the events of a run from its search on.

    The generations of a ladder take about as long as each other, and so do the last retrainings.
    """

    def __init__(self) -> None:
        self._plan: WorkPlanned | None = None
        self._generations = self._scored = self._of = 0
        self._trained = 0.0
        self._finished = 0

    @property
    def title(self) -> str:
        """What there is to do; empty while that is not known."""
        return "" if self._plan is None else f"whole run, search {100 * self._plan.search_share:.0f} %"

    @property
    def done(self) -> float:
        """Share of the work that is done, 0 to 1."""
        if self._plan is None:
            return 0.0
        here = self._scored / self._of if self._of else 0.0
        searched = min(1.0, (self._generations + here) / self._plan.generations)
        trained = min(1.0, (self._finished + self._trained) / self._plan.trainings)
        return self._plan.search_share * searched + (1 - self._plan.search_share) * trained

    def watch(self, event: Event) -> bool:
        """Take note of an event; whether it changed anything."""
        match event:
            case WorkPlanned():
                self._plan = event
            case GenerationStarted():
                # Rungs may be left out.
                self._generations, self._scored, self._of = event.generation, 0, event.candidates
            case CandidateEvaluated():
                self._scored += 1
            case GenerationEnded():
                self._generations, self._scored = event.generation + 1, 0
            case TrainingProgress(stage="retrain"):
                self._generations, self._scored = (self._plan.generations if self._plan else 0), 0
                self._trained = (event.epoch + event.batch / max(1, event.batches)) / max(1, event.epochs)
            case StageEnded(stage="retrain"):
                self._trained, self._finished = 0.0, self._finished + 1
            case _:
                return False
        return self._plan is not None
