"""The course of an iterative pruning: which sparsity after how many training steps, and how it is trained there."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from evoprune.evaluation.training import Schedule

MILESTONES = (0.90, 0.95, 0.97, 0.98, 0.985, 0.99)
FINAL = "final"
STOPS = (*map(str, MILESTONES), FINAL)
"""Keys of accuracies in JSON: the milestones, and what the last of them becomes by the training that follows."""


@dataclass(frozen=True)
class Level:
    """One stop: weights to keep of all prunable ones, and training steps spent before the next."""

    kept: int
    weights: int
    steps: int

    @property
    def sparsity(self) -> float:
        return 1 - self.kept / self.weights


@dataclass(frozen=True)
class Course:
    """What all methods of a comparison share.

    `schedule` is that of every level, but for its steps; `final_steps` follow the last level, on train and select together, where
    select has nothing more to decide; `threads` is the number that torch computes with.
    """

    levels: tuple[Level, ...]
    schedule: Schedule
    final_steps: int
    threads: int
    channels_last: bool
    fisher_samples: int
    select_size: int

    @property
    def total_steps(self) -> int:
        return sum(level.steps for level in self.levels) + self.final_steps

    @property
    def digest(self) -> str:
        """The same for equal courses."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def schedule_of(self, steps: int) -> Schedule:
        return replace(self.schedule, steps=steps)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_course(path: Path) -> Course:
    document = json.loads(path.read_text())
    levels = tuple(Level(**level) for level in document["levels"])
    return Course(**{**document, "levels": levels, "schedule": Schedule(**document["schedule"])})


def milestone_of(sparsity: float) -> float | None:
    """The milestone that a network of this sparsity stands for: the same to a twentieth of a point, or None."""
    return next((one for one in MILESTONES if math.isclose(sparsity, one, abs_tol=5e-4)), None)


def last_at_milestones(points: list[dict]) -> dict[float, dict]:
    """Points by milestone; where a method stops at one several times, the last."""
    found = {milestone_of(point["sparsity"]): point for point in points}
    return {milestone: found[milestone] for milestone in MILESTONES if milestone in found}
