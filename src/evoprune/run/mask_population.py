"""An inheriting population on its way through a mask run's steps: one round of members for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from evoprune.errors import StoreCorruptedError
from evoprune.events import CandidateEvaluated, GenerationStarted
from evoprune.execution.base import Job, Outcome
from evoprune.masks.member_genes import MemberSpace
from evoprune.run.candidate_scores import Best, better_of, stop_if_all_failed
from evoprune.run.generation_summary import GenerationSummaries
from evoprune.run.loop import check_same
from evoprune.run.mask_allocation import share_out
from evoprune.run.mask_context import MaskContext
from evoprune.run.mask_schedule import Step
from evoprune.run.mask_search import Journey
from evoprune.run.mask_training import MaskTraining
from evoprune.run.member_work import MemberStage
from evoprune.search.base import Proposal, SearchSettings
from evoprune.search.population import PopulationSearch
from evoprune.store.journal import JournalEntry
from evoprune.store.states import State

ENCODING: Final = "members"
"""Tag of the journal lines of members."""


class MaskPopulation:
    """Takes all members one step further at a time, answering from the journal what it holds.

    The line of a member names the states that it began and ended with. A state is on disk before its line is.

    Args:
        context: Mask context of the run.
        dense: State of the dense network.
        settings: Number of members.
        training: Says whether members may learn from the dense network, and let weights come back.
        shared: Parts that all searches of a run share.

    Attributes:
        evaluations: Journal lines used so far.
        generations: Steps begun so far.
    """

    def __init__(
        self, context: MaskContext, dense: State, settings: SearchSettings, *, training: MaskTraining, shared: Journey
    ) -> None:
        self._context, self._shared = context, shared
        self._names = tuple(weight.name for weight in context.weights)
        space = MemberSpace(self._names, training.distill > 0, training.regrow > 0)
        seed = shared.seeds.child("population").seed % 2**32
        self._search = PopulationSearch(space, replace(settings, initial=space.first()), seed=seed)
        self._dense, self._dense_digest = dense, shared.folder.put(dense)
        self._left: dict[str, str] = {}
        self._summaries = GenerationSummaries(shared.scores)
        self.evaluations = 0
        self.generations = 0

    @property
    def states(self) -> set[str]:
        """Digests of the states that the next step may begin with."""
        return {self._dense_digest, *self._left.values()}

    def skip(self, evaluations: int, generations: int) -> None:
        """Go through the lines of a step that is over.

        Raises:
            StoreCorruptedError: The journal has fewer of them.
            ReplayMismatchError: They are of other members.
        """
        proposals = self._search.ask()
        entries = self._shared.journal.entries[self.evaluations : self.evaluations + evaluations]
        if len(entries) < len(proposals):
            raise StoreCorruptedError(
                f"the journal has {len(self._shared.journal.entries)} lines, steps that are over took more",
                "restore evaluations.jsonl from a copy, or start a new run with another --out",
            )
        for proposal, entry in zip(proposals, entries, strict=True):
            check_same(proposal, entry)
        self._tell(proposals, entries)
        self.generations += generations

    def run(self, step: Step) -> JournalEntry:
        """All members' next step; gives the line of the best.

        Raises:
            RunError: Not one of them could be trained.
        """
        proposals, generation = self._search.ask(), self.generations
        self._shared.notify(GenerationStarted(generation, generation + 1, len(proposals)))
        jobs = [self._job(step, proposal, self.evaluations + number) for number, proposal in enumerate(proposals)]
        entries = self._entries(jobs, proposals)
        stop_if_all_failed(entries, generation)
        best: Best | None = None
        for proposal, entry in zip(proposals, entries, strict=True):
            best = better_of(best, proposal.genome, entry)
        self.generations += 1
        self._tell(proposals, entries)
        self._shared.notify(self._summaries.of(generation, entries, self._search))
        assert best is not None
        return best.entry

    def _job(self, step: Step, proposal: Proposal, index: int) -> Job:
        parent = proposal.parents[0] if proposal.parents else None
        start = self._dense_digest if parent is None else self._left[parent]
        assert step.goal is not None
        kept = sum(share_out(self._context, self._dense, step.goal, step.ahead).values())
        stage = MemberStage(step.index, start, self._dense_digest, self._names, kept, step.between)
        return Job(index, proposal.genome, proposal.fidelity, stage)

    def _entries(self, jobs: Sequence[Job], proposals: Sequence[Proposal]) -> list[JournalEntry]:
        """The journal's lines, then new ones in the order of the jobs."""
        shared, known = self._shared, self._shared.journal.entries[jobs[0].index : jobs[0].index + len(jobs)]
        for proposal, entry in zip(proposals, known, strict=False):
            check_same(proposal, entry)
            shared.notify(
                CandidateEvaluated(entry.index, entry.generation, entry.evaluation, entry.fitness, None, replayed=True)
            )
        for job in jobs[len(known) :]:
            shared.executor.submit(job)
        early: dict[int, Outcome] = {}
        entries = list(known)
        for job, proposal in zip(jobs[len(known) :], proposals[len(known) :], strict=True):
            while job.index not in early:
                outcome = shared.executor.wait()
                early[outcome.job.index] = outcome
            entries.append(self._journalled(job, proposal, early.pop(job.index)))
        return entries

    def _journalled(self, job: Job, proposal: Proposal, outcome: Outcome) -> JournalEntry:
        shared, evaluation, stage = self._shared, outcome.evaluation, job.stage
        tags = {"step": stage.step, "encoding": ENCODING, "start": stage.state}
        if outcome.trained is not None:
            tags["state"] = shared.folder.put_bytes(outcome.trained)
        fitness = shared.scores.fitness(evaluation)
        entry = JournalEntry(job.index, self.generations, job.genome, evaluation, fitness, tags, proposal.parents)
        shared.journal.append(entry)
        shared.notify(
            CandidateEvaluated(job.index, self.generations, evaluation, fitness, outcome.cost, replayed=False)
        )
        return entry

    def _tell(self, proposals: Sequence[Proposal], entries: Sequence[JournalEntry]) -> None:
        scores, before = self._shared.scores, self._left
        scores.check(entries)
        self._search.tell([scores.scored(one.genome, entry) for one, entry in zip(proposals, entries, strict=True)])
        self.evaluations += len(entries)
        self._left = {}
        for proposal, entry in zip(proposals, entries, strict=True):
            # A member that diverged left nothing: who goes on from it begins where it began.
            parent = proposal.parents[0] if proposal.parents else None
            start = self._dense_digest if parent is None else before[parent]
            self._left[proposal.genome.digest] = entry.tags.get("state", start)
