"""The search loop without generations: whoever is free gets a new candidate, and whatever is scored is told at once.

Which candidate is scored first is up to the machine, so two runs of one seed may differ. A journal line says how often the search
had been asked by then, and so a resumed run repeats the calls of `ask_one` and `tell_one` in the very order that they had.
"""

from __future__ import annotations

from typing import Final, cast

from evoprune.errors import ReplayMismatchError, StoreCorruptedError
from evoprune.events import CandidateEvaluated, GenerationStarted
from evoprune.execution.base import Executor, Job, Outcome
from evoprune.results import Cost, Status
from evoprune.run.candidate_scores import Best, better_of, stop_if_all_failed
from evoprune.run.generation_summary import GenerationSummaries
from evoprune.run.loop import SearchDrive, SearchEnd, check_same
from evoprune.search.base import AsynchronousSearch, Proposal
from evoprune.store.journal import JournalEntry

ASK: Final = "ask"
"""Tag of a journal line: which call of `ask_one` gave its genome, counted from 0."""
ASKED: Final = "asked"
"""Tag of a journal line: calls of `ask_one` before its score was told."""


def run_asynchronously(drive: SearchDrive, *, pop_size: int) -> SearchEnd:
    """Keep every slot of the executor at work on genomes of a search, after repeating what the journal holds.

    The executor has as many candidates at any time as it has slots then, and lines are appended in the order in which candidates
    are scored. When the search may not go on, those that are under way are let finish.

    Args:
        drive: Its search is an `AsynchronousSearch`, asked and told one genome at a time.
        pop_size: Candidates that a generation stands for, whatever the search would breed if it were asked for batches; after
            each, figures are summed up.

    Returns:
        How many evaluations it took, and the best candidate.

    Raises:
        ReplayMismatchError: The journal holds other genomes than the search asks for.
        StoreCorruptedError: A line of the journal doesn't say what was asked, or lacks what the search is told.
        RunError: Not one candidate of a generation could be evaluated.
    """
    budget, most = drive.generations * pop_size, drive.most
    course = _Course(drive, pop_size=pop_size, most=budget if most is None else min(budget, most))
    course.replay()
    course.go_on(drive.executor)
    if course.told == most != budget:
        drive.may_go_on(-(-most // pop_size))  # says why not
    return SearchEnd(course.told, course.best)


class _Course:
    def __init__(self, drive: SearchDrive, *, pop_size: int, most: int) -> None:
        self._search = cast("AsynchronousSearch", drive.search)
        self._journal, self._scores, self._notify = drive.journal, drive.scores, drive.notify
        self._may_go_on, self._enough, self._place = drive.may_go_on, drive.enough, drive.place
        self._pop_size, self._most = pop_size, most
        self._calls = 0
        self._begun = 0
        self._granted = self._announced = -1
        self._over = False
        self._under_way: dict[int, Proposal] = {}
        self._generation: list[JournalEntry] = []
        self._summaries = GenerationSummaries(self._scores)
        self.told = 0
        self.best: Best | None = None

    def replay(self) -> None:
        """Repeat the calls that led to the journal's lines."""
        known = self._journal.entries[self._place.first :]
        for entry in known:
            if self._is_of_another(entry):
                break
            self._scores.check([entry])
            call, calls = self._order_of(entry)
            while self._calls < calls and self._may_ask():
                self._ask()
            check_same(self._under_way.get(call) if self._calls == calls else None, entry)
            self._take(call, entry, None)
        if self.told < len(known):
            # One that is over has nothing under way, and may not ask or finds nothing new.
            if self._under_way or (self._may_ask() and self._ask() is not None):
                raise ReplayMismatchError(
                    f"evaluation {known[self.told].index} of the journal is of another search before this one is over",
                    "the journal was edited, or written by other code; start a new run",
                )
            self._over = True

    def go_on(self, executor: Executor) -> None:
        """Evaluate what was under way when the journal ended, and then whatever the search asks for."""
        for call in self._under_way:
            self._submit(executor, call)
        while self._fill(executor):
            outcome = executor.wait()
            call = outcome.job.index - self._place.first
            entry = self._entry(outcome, {ASK: call, ASKED: self._calls})
            self._journal.append(entry)
            self._take(call, entry, outcome.cost)
        self._end_generation()

    def _fill(self, executor: Executor) -> bool:
        """Give work to whoever has none; whether anything is under way."""
        while len(self._under_way) < executor.slots and self._may_ask():
            call = self._ask()
            if call is None:  # another score may change that
                break
            self._submit(executor, call)
        if self._under_way:
            self._begin_generation()
        return bool(self._under_way)

    def _is_of_another(self, entry: JournalEntry) -> bool:
        """Whether an entry belongs to the search after this one."""
        return self.told == self._most or any(entry.tags.get(name) != tag for name, tag in self._place.tags.items())

    @property
    def _number(self) -> int:
        """Of the generation that the next score belongs to."""
        return self.told // self._pop_size

    def _may_ask(self) -> bool:
        generation = self._begun // self._pop_size
        if not self._over and self._begun < self._most and generation > self._granted:
            self._granted = generation
            self._over = not self._may_go_on(generation)
        return not self._over and self._begun < self._most

    def _ask(self) -> int | None:
        """Ask for one more; gives the number of the call, None when it gave no genome."""
        call, proposal = self._calls, self._search.ask_one()
        self._calls += 1
        if proposal is None:
            return None
        self._begun += 1
        self._under_way[call] = proposal
        if self._begun % self._pop_size == 0:
            self._may_ask()  # now and not when a slot is free: the journal says what had been told by this call
        return call

    def _submit(self, executor: Executor, call: int) -> None:
        proposal = self._under_way[call]
        job = Job(self._place.first + call, proposal.genome, rung=proposal.fidelity, stage=self._place.stage)
        executor.submit(job)

    def _entry(self, outcome: Outcome, order: dict[str, int]) -> JournalEntry:
        return JournalEntry(
            self._place.first + self.told,
            self._number,
            outcome.job.genome,
            outcome.evaluation,
            self._scores.fitness(outcome.evaluation),
            {**self._place.tags, **order},
            self._under_way[order[ASK]].parents,
        )

    def _take(self, call: int, entry: JournalEntry, cost: Cost | None) -> None:
        """Tell the search, and everyone else, of a score that is in the journal."""
        genome = self._under_way.pop(call).genome
        self._begin_generation()
        self._notify(
            CandidateEvaluated(entry.index, self._number, entry.evaluation, entry.fitness, cost, replayed=cost is None)
        )
        self._search.tell_one(self._scores.scored(genome, entry))
        self.best = better_of(self.best, genome, entry)
        self._generation.append(entry)
        self.told += 1
        if self.told % self._pop_size == 0:
            self._end_generation()
        if self.best is not None and self.best.entry.evaluation.status is Status.OK and self._enough(self.best.entry):
            self._over = True

    def _begin_generation(self) -> None:
        if self._number > self._announced:
            self._announced = self._number
            left = min(self._pop_size, self._most - self.told)
            self._notify(GenerationStarted(self._number, -(-self._most // self._pop_size), left))

    def _end_generation(self) -> None:
        if self._generation:
            number = (self.told - 1) // self._pop_size
            if self.best is None or len(self._generation) == self._pop_size:  # the last few may fail alone
                stop_if_all_failed(self._generation, number)
            self._notify(self._summaries.of(number, self._generation, self._search))
            self._generation = []

    def _order_of(self, entry: JournalEntry) -> tuple[int, int]:
        """Which call gave the genome of an entry, and how many calls there had been when it was told."""
        call, calls = entry.tags.get(ASK), entry.tags.get(ASKED)
        # Each call gives a genome, or follows a score that is told.
        most = self._most + self.told + 1
        if type(call) is not int or type(calls) is not int or not 0 <= call < calls <= most:
            raise StoreCorruptedError(
                f"evaluation {entry.index} of the journal was not asked for in any order: {ASK} {call!r}, {ASKED} {calls!r}",
                "restore the file from a copy, or start a new run with another --out",
            )
        return call, calls
