"""The search loop: ask, evaluate or replay, journal, tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from evoprune.errors import ReplayMismatchError, RunError, StoreCorruptedError
from evoprune.events import CandidateEvaluated, GenerationEnded, GenerationStarted, Listener
from evoprune.execution.base import Executor, Job
from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.journal import JournalEntry
from evoprune.search.base import Scored, Search
from evoprune.search.diversity import mean_hamming_distance

# More than any sum of violated bounds, finite because pymoo's comparisons are not made for infinities.
FAILED_VIOLATION = 1e9


@dataclass(frozen=True)
class Place:
    """Where a search stands in a run of several.

    Attributes:
        first: Index of its first evaluation.
        stage: What its genomes are about, for the jobs.
        tags: JSON values that its journal lines carry besides.
    """

    first: int = 0
    stage: Any = None
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Best:
    """A candidate with its genome, which a journal keeps only when it is small."""

    genome: BitGenome
    entry: JournalEntry


@dataclass(frozen=True)
class SearchEnd:
    """What a search came to: evaluations, and the best of them; None when none could be scored."""

    evaluations: int
    best: Best | None


class EvaluationLog(Protocol):
    """Where entries are kept: a `Journal`, or a list in memory for a search that is one job."""

    @property
    def entries(self) -> Sequence[JournalEntry]:
        """What is there, from index 0."""

    def append(self, entry: JournalEntry) -> None:
        """Keep one more."""


CostsOf = Callable[[Evaluation], tuple[float, ...]]
FitnessOf = Callable[[Evaluation], float]


def run_search(
    search: Search,
    executor: Executor,
    journal: EvaluationLog,
    *,
    generations: int,
    fitness_of: FitnessOf,
    costs_of: CostsOf,
    objectives: int,
    may_go_on: Callable[[int], bool],
    notify: Listener,
    place: Place = Place(),
    enough: Callable[[JournalEntry], bool] = lambda _: False,
) -> SearchEnd:
    """Drive `search` through its generations, answering from the journal what it holds already.

    Args:
        search: Asked and told, a generation at a time.
        executor: Evaluates what the journal doesn't hold.
        journal: Read from its start, then appended to in the order asked.
        generations: How many to evaluate.
        fitness_of: The one number of an OK or infeasible evaluation.
        costs_of: Its costs, lower is better.
        objectives: How many costs there are.
        may_go_on: Called with a generation's number before it begins.
        notify: Told of every candidate and generation.
        place: Where in the journal the search begins, and what its lines say besides.
        enough: Asked with the best entry so far after each generation, unless it breaks a constraint; True ends the search.

    Returns:
        How many evaluations it took, and the best candidate.

    Raises:
        ReplayMismatchError: The journal holds other genomes than the search asks for.
        StoreCorruptedError: An entry of the journal lacks what the search is told.
        RunError: Not one candidate of a generation could be evaluated, though there were several, or none before.
    """
    asked, best = 0, None
    for generation in range(generations):
        if not may_go_on(generation):
            break
        genomes = search.ask()
        if not genomes:
            break
        notify(GenerationStarted(generation, generations, len(genomes)))
        at = replace(place, first=place.first + asked)
        known = journal.entries[at.first : at.first + len(genomes)]
        _check_measured(known, fitness_of, costs_of)
        entries = list(_evaluated(genomes, at, generation, executor, journal, fitness_of, notify))
        asked += len(genomes)
        if best is None or len(entries) > 1:  # a child that is bred alone may fail alone
            _stop_if_all_failed(entries, generation)
        best = _best_of(best, zip(genomes, entries, strict=True))
        search.tell(
            [_scored(genome, entry, costs_of, objectives) for genome, entry in zip(genomes, entries, strict=True)]
        )
        notify(_summary(generation, entries, search))
        if best is not None and best.entry.evaluation.status is Status.OK and enough(best.entry):
            break
    return SearchEnd(asked, best)


def _best_of(best: Best | None, scored: Iterable[tuple[BitGenome, JournalEntry]]) -> Best | None:
    """The better of the best so far and new entries; the earlier one of equals."""
    for genome, entry in scored:
        if entry.fitness is not None and (best is None or merit(entry) > merit(best.entry)):
            best = Best(genome, entry)
    return best


def merit(entry: JournalEntry) -> tuple[float, float]:
    """What keeps the constraints comes first, then what breaks them least, then the fitter."""
    return -entry.evaluation.violation, -math.inf if entry.fitness is None else entry.fitness


def _evaluated(
    genomes: Sequence[BitGenome],
    place: Place,
    generation: int,
    executor: Executor,
    journal: EvaluationLog,
    fitness_of: FitnessOf,
    notify: Listener,
) -> Iterator[JournalEntry]:
    """Entries for `genomes`, in order: replayed as far as the journal goes, then evaluated."""
    first = place.first
    known = journal.entries[first : first + len(genomes)]
    for genome, entry in zip(genomes, known, strict=False):
        if entry.evaluation.genome != genome.digest:
            raise ReplayMismatchError(
                f"evaluation {entry.index} of the journal is of genome {entry.evaluation.genome}, "
                f"the search asks for {genome.digest}",
                "the journal was edited, or written by other code; start a new run",
            )
        notify(CandidateEvaluated(entry.index, generation, entry.evaluation, entry.fitness, None, replayed=True))
        yield entry
    jobs = [
        Job(first + position, genome, rung=0, stage=place.stage)
        for position, genome in enumerate(genomes)
        if position >= len(known)
    ]
    for job in jobs:
        executor.submit(job)
    for evaluation, cost, job in _in_order(jobs, executor):
        fitness = None if evaluation.status is Status.FAILED else _fitness(fitness_of, evaluation)
        entry = JournalEntry(job.index, generation, job.genome, evaluation, fitness, place.tags)
        journal.append(entry)
        notify(CandidateEvaluated(job.index, generation, evaluation, fitness, cost, replayed=False))
        yield entry


def _check_measured(known: Iterable[JournalEntry], fitness_of: FitnessOf, costs_of: CostsOf) -> None:
    """See that what is replayed has every figure that the search is told; a line that is well-formed may still lack one."""
    for entry in known:
        if entry.evaluation.status is Status.OK:
            try:
                fitness_of(entry.evaluation), costs_of(entry.evaluation)
            except KeyError as error:
                raise StoreCorruptedError(
                    f"evaluation {entry.index} of the journal has no {error.args[0]}", "restore the file from a copy"
                ) from error


def _in_order(jobs: Sequence[Job], executor: Executor) -> Iterator[tuple[Evaluation, Cost, Job]]:
    """Outcomes in the order of submission, however they come in."""
    early: dict[int, tuple[Evaluation, Cost, Job]] = {}
    for job in jobs:
        while job.index not in early:
            outcome = executor.wait()
            early[outcome.job.index] = (outcome.evaluation, outcome.cost, outcome.job)
        yield early.pop(job.index)


def _fitness(fitness_of: FitnessOf, evaluation: Evaluation) -> float | None:
    # An infeasible candidate was not trained and may have no accuracy.
    return fitness_of(evaluation) if "accuracy" in evaluation.objectives else None


def _scored(genome: BitGenome, entry: JournalEntry, costs_of: CostsOf, objectives: int) -> Scored:
    evaluation = entry.evaluation
    if evaluation.status is Status.OK:
        assert entry.fitness is not None
        return Scored(genome, entry.fitness, costs_of(evaluation))
    violation = FAILED_VIOLATION if evaluation.status is Status.FAILED else evaluation.violation
    return Scored(genome, 0.0, (0.0,) * objectives, violation)


def _stop_if_all_failed(entries: Sequence[JournalEntry], generation: int) -> None:
    if all(entry.evaluation.status is Status.FAILED for entry in entries):
        reasons = [entry.evaluation.reason for entry in entries]
        common = max(dict.fromkeys(reasons), key=reasons.count)
        raise RunError(
            f"all {len(entries)} candidates of generation {generation} failed, most often because {common}",
            "the journal keeps the failures; correct the cause and start a new run with another --out",
        )


def _summary(generation: int, entries: Sequence[JournalEntry], search: Search) -> GenerationEnded:
    scored = [(entry.fitness, entry.evaluation) for entry in entries if entry.evaluation.status is Status.OK]
    fitness = [value for value, _ in scored if value is not None]
    best = max(scored, key=lambda one: -math.inf if one[0] is None else one[0])[1].objectives if scored else {}
    population = search.population
    diversity = mean_hamming_distance(population) if len(population) > 1 else None
    return GenerationEnded(
        generation=generation,
        best_fitness=max(fitness, default=None),
        mean_fitness=float(np.mean(fitness)) if fitness else None,
        best_accuracy=best.get("accuracy"),
        best_macs=best.get("macs"),
        best_sparsity=best.get("sparsity"),
        diversity=diversity,
    )
