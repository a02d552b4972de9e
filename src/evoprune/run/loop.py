"""The search loop: ask, evaluate or replay, journal, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from evoprune.errors import ReplayMismatchError
from evoprune.events import CandidateEvaluated, Decision, GenerationStarted, Listener
from evoprune.execution.base import Executor, Job, Outcome
from evoprune.results import Status
from evoprune.run.candidate_scores import Best, CandidateScores, better_of, stop_if_all_failed
from evoprune.run.generation_summary import GenerationSummaries
from evoprune.run.inherited_weights import InheritedWeights
from evoprune.search.base import Proposal, Search
from evoprune.store.journal import JournalEntry


@dataclass(frozen=True)
class Place:
    """Where a search stands in a run of several.

    Attributes:
        first: Index of its first evaluation.
        stage: Search that its genomes belong to, for the jobs.
        tags: JSON values that its journal lines carry besides.
    """

    first: int = 0
    stage: Any = None
    tags: Mapping[str, Any] = field(default_factory=dict)


ALONE: Final = Place()
"""Of the one search of a run."""


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


@dataclass(frozen=True)
class SearchDrive:
    """A search and all that it is driven with.

    Attributes:
        search: Search that is asked and told.
        executor: Evaluates what the journal doesn't hold.
        journal: Read from its start, then appended to.
        generations: Number of generations to evaluate.
        scores: Says what evaluations are worth.
        may_go_on: Called with a generation's number before it begins.
        notify: Called with each candidate and generation.
        place: Place in the journal where the search begins, and the tags of its lines.
        enough: Called with the best entry so far, unless it breaks a constraint; True ends the search.
        most: Evaluations, where there is a limit.
        weights: Keeps trained weights for candidates that go on from them; None where none do.
        criteria: Names of the criteria that chose genomes of the first generation, by digest.
    """

    search: Search
    executor: Executor
    journal: EvaluationLog
    generations: int
    scores: CandidateScores
    may_go_on: Callable[[int], bool]
    notify: Listener
    place: Place = ALONE
    enough: Callable[[JournalEntry], bool] = lambda _: False
    most: int | None = None
    weights: InheritedWeights | None = None
    criteria: Mapping[str, str] = field(default_factory=dict)


def run_search(drive: SearchDrive) -> SearchEnd:
    """Drive a search through its generations, answering from the journal what it holds already.

    Lines are appended in the order asked, and of the last generation no more than the limit allows are evaluated.

    Returns:
        How many evaluations it took, and the best candidate.

    Raises:
        ReplayMismatchError: The journal holds other genomes than the search asks for.
        StoreCorruptedError: An entry of the journal lacks what the search is told.
        RunError: Not one candidate of a generation could be evaluated, though there were several, or none before.
    """
    asked, rung, best, summaries = 0, 0, None, GenerationSummaries(drive.scores)
    for generation in range(drive.generations):
        if not drive.may_go_on(generation) or (drive.most is not None and asked >= drive.most):
            break
        batch = drive.search.ask()
        proposals = batch if drive.most is None else batch[: drive.most - asked]
        if not proposals:
            break
        rung = _say_what_is_left_out(drive, rung, proposals[0].fidelity)
        drive.notify(GenerationStarted(generation, drive.generations, len(proposals)))
        entries = list(_evaluated(drive, proposals, drive.place.first + asked, generation))
        asked += len(proposals)
        # A child that is bred alone may fail alone, and so may a rest.
        if best is None or len(entries) == len(batch) > 1:
            stop_if_all_failed(entries, generation)
        found = [(proposal.genome, entry) for proposal, entry in zip(proposals, entries, strict=True)]
        for genome, entry in found:
            best = better_of(best, genome, entry)
        if len(proposals) == len(batch):  # a search is told of all that it asked or of nothing
            drive.search.tell([drive.scores.scored(genome, entry) for genome, entry in found])
            if drive.weights is not None and len(drive.journal.entries) == drive.place.first + asked:
                drive.weights.keep_only(entries)
        drive.notify(summaries.of(generation, entries, drive.search))
        if best is not None and best.entry.evaluation.status is Status.OK and drive.enough(best.entry):
            break
    return SearchEnd(asked, best)


def _say_what_is_left_out(drive: SearchDrive, before: int, now: int) -> int:
    if now > before + 1:
        left_out = ", ".join(map(str, range(before + 1, now)))
        detail = f"rung {left_out} is left out: ranks on the rungs before did not last from one to the next"
        drive.notify(Decision("ladder", detail))
    return now


def _evaluated(
    drive: SearchDrive, proposals: Sequence[Proposal], first: int, generation: int
) -> Iterator[JournalEntry]:
    """Entries for `proposals`, in order: replayed as far as the journal goes, then evaluated."""
    known = drive.journal.entries[first : first + len(proposals)]
    drive.scores.check(known)
    for proposal, entry in zip(proposals, known, strict=False):
        check_same(proposal, entry)
        drive.notify(CandidateEvaluated(entry.index, generation, entry.evaluation, entry.fitness, None, replayed=True))
        if drive.weights is not None:
            drive.weights.note(proposal.genome, entry)
        yield entry
    jobs = [_job(drive, first + place, proposals[place]) for place in range(len(known), len(proposals))]
    for job in jobs:
        drive.executor.submit(job)
    for outcome, proposal in zip(_in_order(jobs, drive.executor), proposals[len(known) :], strict=True):
        job, evaluation = outcome.job, outcome.evaluation
        fitness, tags = drive.scores.fitness(evaluation), drive.place.tags
        if generation == 0 and evaluation.genome in drive.criteria:
            tags = {**tags, "criterion": drive.criteria[evaluation.genome]}
        if drive.weights is not None:
            tags = {**tags, **drive.weights.put(outcome)}
        entry = JournalEntry(job.index, generation, job.genome, evaluation, fitness, tags, proposal.parents)
        drive.journal.append(entry)
        drive.notify(CandidateEvaluated(job.index, generation, evaluation, fitness, outcome.cost, replayed=False))
        yield entry


def _job(drive: SearchDrive, index: int, proposal: Proposal) -> Job:
    start = None if drive.weights is None else drive.weights.start_of(proposal)
    return Job(index, proposal.genome, rung=proposal.fidelity, stage=drive.place.stage, start=start)


def check_same(proposal: Proposal | None, entry: JournalEntry) -> None:
    """See that a journal line is of the genome that the search asks for, at the fidelity that it asks for.

    Raises:
        ReplayMismatchError: It is of another one.
    """
    asked = ("nothing", 0) if proposal is None else (proposal.genome.digest, proposal.fidelity)
    found = entry.evaluation.genome, entry.evaluation.rung
    if found != asked:
        raise ReplayMismatchError(
            f"evaluation {entry.index} of the journal is of genome {found[0]} at rung {found[1]}, "
            f"the search asks for {asked[0]} at rung {asked[1]}",
            "the journal was edited, or written by other code; start a new run",
        )


def _in_order(jobs: Sequence[Job], executor: Executor) -> Iterator[Outcome]:
    """Outcomes in the order of submission, however they come in."""
    early: dict[int, Outcome] = {}
    for job in jobs:
        while job.index not in early:
            outcome = executor.wait()
            early[outcome.job.index] = outcome
        yield early.pop(job.index)
