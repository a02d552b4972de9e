import random
from dataclasses import replace

import pytest

from evoprune.errors import ReplayMismatchError, RunError, StoreCorruptedError
from evoprune.events import CandidateEvaluated, GenerationEnded, GenerationStarted
from evoprune.execution.base import Outcome
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.async_loop import run_asynchronously
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import Place, SearchDrive, run_search
from evoprune.search.base import SearchSettings
from evoprune.search.random_search import RandomSearch
from evoprune.search.steady_state import SteadyStateSearch
from evoprune.store.journal import JournalEntry, MemoryJournal
from evoprune.testing.search_suite import Groups

SCORES = CandidateScores(
    lambda evaluation: evaluation.objectives["accuracy"],
    lambda evaluation: (-evaluation.objectives["accuracy"], 0.0),
    2,
)
POP_SIZE, GENERATIONS = 6, 5
BUDGET = POP_SIZE * GENERATIONS


class Disorderly:
    """Finishes jobs in an order of its own, and has as many slots as it is given, one number after the other."""

    def __init__(self, slots=(4,), seed=0, evaluate=None):
        self._slots, self._generator = list(slots), random.Random(seed)
        self._evaluate = evaluate or ok
        self.under_way, self.submitted, self.most = [], [], 0

    @property
    def slots(self):
        return self._slots[0]

    def submit(self, job):
        self.under_way.append(job)
        self.submitted.append(job.genome.digest)
        self.most = max(self.most, len(self.under_way))

    def wait(self):
        if len(self._slots) > 1:
            self._slots.pop(0)
        job = self.under_way.pop(self._generator.randrange(len(self.under_way)))
        return Outcome(job, self._evaluate(job), Cost(0.0, 0.0))

    def close(self):
        self.under_way.clear()


def ok(job):
    worth = int(job.genome.digest[:8], 16) / 2**32
    return Evaluation(job.genome.digest, job.rung, Status.OK, {"accuracy": worth})


def failed(job):
    return Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason="loss is nan")


def build(kind=SteadyStateSearch, sizes=(12, 12), pop_size=POP_SIZE):
    settings = SearchSettings(
        pop_size=pop_size, mutation_rate=0.1, crossover_rate=0.9, tournament_size=2, elitism=0, initial_keep=(0.2, 0.9)
    )
    return kind(Groups(*sizes), settings, objectives=2, seed=3)


def drive(executor, journal=None, *, search=None, **more):
    journal = MemoryJournal() if journal is None else journal
    settings = {
        "generations": GENERATIONS,
        "scores": SCORES,
        "may_go_on": lambda generation: True,
        "notify": lambda event: None,
    } | more
    end = run_asynchronously(SearchDrive(search or build(), executor, journal, **settings), pop_size=POP_SIZE)
    return end, journal


def begun_with(entries):
    journal = MemoryJournal()
    for entry in entries:
        journal.append(entry)
    return journal


def told(journal):
    """Digests in the order told, which is the whole of what a search learns."""
    return [entry.evaluation.genome for entry in journal.entries]


@pytest.mark.parametrize("kind", [SteadyStateSearch, RandomSearch])
@pytest.mark.parametrize("slots", [1, 4, 50])
def test_every_slot_is_kept_at_work_until_the_budget_is_spent(kind, slots):
    executor = Disorderly([slots])
    end, journal = drive(executor, search=build(kind))
    assert end.evaluations == len(set(told(journal))) == len(executor.submitted) == BUDGET
    assert executor.most == min(slots, BUDGET)
    assert [entry.index for entry in journal.entries] == list(range(BUDGET))
    assert [entry.generation for entry in journal.entries] == [index // POP_SIZE for index in range(BUDGET)]
    assert end.best.entry.fitness == max(entry.fitness for entry in journal.entries)


def test_with_one_slot_it_is_the_search_that_waits():
    _, journal = drive(Disorderly([1]))
    other = MemoryJournal()
    run_search(
        SearchDrive(
            build(),
            Disorderly([1]),
            other,
            generations=1 + BUDGET - POP_SIZE,
            scores=SCORES,
            may_go_on=lambda generation: True,
            notify=lambda event: None,
        )
    )
    # By generations, the first population is evaluated in any order, and told in the order asked.
    assert told(journal) == told(other)


class Spied:
    """Keeps the calls that a search gets, with what it gave."""

    def __init__(self, search):
        self._search, self.calls = search, []

    def ask_one(self):
        proposal = self._search.ask_one()
        self.calls.append(("ask", proposal and proposal.genome.digest))
        return proposal

    def tell_one(self, scored):
        self.calls.append(("tell", scored.genome.digest))
        self._search.tell_one(scored)

    def __getattr__(self, name):
        return getattr(self._search, name)


class StoppedError(Exception):
    pass


class Absent(Disorderly):
    """Has no slot, and evaluates nothing."""

    def __init__(self):
        super().__init__([0])

    def wait(self):
        raise StoppedError


@pytest.mark.parametrize("kind", [SteadyStateSearch, RandomSearch])
@pytest.mark.parametrize("slots", [[4], [3, 3, 9, 9, 9, 2, 2, 2, 2, 5], [50]])
@pytest.mark.parametrize("sizes", [(12, 12), (5,)])
def test_search_gets_the_very_calls_again_when_it_is_resumed_after_any_line(kind, slots, sizes):
    original = Spied(build(kind, sizes))
    _, whole = drive(Disorderly(slots), search=original)
    ends = [number + 1 for number, (call, _) in enumerate(original.calls) if call == "tell"]
    assert len(ends) == len(whole.entries)
    for lines, end in enumerate([0, *ends]):
        calls, again, absent = original.calls[:end], Spied(build(kind, sizes)), Absent()
        under_way = [digest for call, digest in calls if call == "ask" and digest not in told(whole)[:lines] and digest]
        try:
            drive(absent, begun_with(whole.entries[:lines]), search=again)
            assert not under_way
        except StoppedError:
            assert absent.submitted == under_way
        assert again.calls[:end] == calls
        # Whoever has no slot asks for nothing.
        assert len(again.calls) == end


@pytest.mark.parametrize("lines", [0, 1, 11, 12, 29, 30])
def test_nothing_but_what_was_under_way_is_evaluated_again_when_it_is_resumed_with_other_slots(lines):
    _, whole = drive(Disorderly([4]))
    executor, seen = Disorderly([9], seed=1), []
    end, again = drive(executor, begun_with(whole.entries[:lines]), notify=seen.append)
    assert told(again)[:lines] == told(whole)[:lines]
    assert end.evaluations == len(set(told(again))) == BUDGET
    assert sorted(executor.submitted) == sorted(told(again)[lines:])
    replayed = [one.replayed for one in seen if isinstance(one, CandidateEvaluated)]
    assert replayed == [True] * lines + [False] * (BUDGET - lines)
    # And that run is resumed as well.
    third = Disorderly([1])
    drive(third, begun_with(again.entries))
    assert not third.submitted


def test_generations_are_summed_up_every_pop_size_scores():
    seen = []
    _, journal = drive(Disorderly([4]), notify=seen.append, most=BUDGET - 2)
    started = [one for one in seen if isinstance(one, GenerationStarted)]
    ended = [one for one in seen if isinstance(one, GenerationEnded)]
    assert [(one.generation, one.generations, one.candidates) for one in started] == [
        (number, GENERATIONS, POP_SIZE) for number in range(GENERATIONS - 1)
    ] + [(GENERATIONS - 1, GENERATIONS, POP_SIZE - 2)]
    fitness = [[entry.fitness for entry in journal.entries if entry.generation == one.generation] for one in ended]
    assert [one.best_fitness for one in ended] == [max(values) for values in fitness]
    assert [one.mean_fitness for one in ended] == pytest.approx([sum(values) / len(values) for values in fitness])
    assert seen.index(started[1]) > seen.index(ended[0])


def test_what_is_under_way_is_finished_and_told_when_the_search_may_not_go_on():
    for lines in (0, 7, POP_SIZE * 2):
        _, whole = drive(Disorderly([4]), may_go_on=lambda generation: generation < 2)
        assert len(whole.entries) == 2 * POP_SIZE
        executor = Disorderly([4])
        end, _ = drive(executor, begun_with(whole.entries[:lines]), may_go_on=lambda generation: generation < 2)
        assert end.evaluations == 2 * POP_SIZE
        assert len(executor.submitted) == 2 * POP_SIZE - lines


def test_search_ends_at_once_when_a_candidate_is_enough():
    executor = Disorderly([4])
    end, journal = drive(executor, enough=lambda best: best.fitness > 0.9)
    reached = next(entry.index for entry in journal.entries if entry.fitness > 0.9)
    assert end.evaluations == len(journal.entries) == reached + 1 + 3 < BUDGET
    again = Disorderly([4])
    drive(again, begun_with(journal.entries), enough=lambda best: best.fitness > 0.9)
    assert not again.submitted


def test_run_stops_when_all_of_a_generation_fail():
    executor = Disorderly([4], evaluate=failed)
    with pytest.raises(
        RunError, match=f"all {POP_SIZE} candidates of generation 0 failed, most often because loss is nan"
    ):
        drive(executor)


def test_search_ends_when_there_is_nothing_left_to_try():
    end, journal = drive(Disorderly([4]), search=build(sizes=(3,)))
    assert end.evaluations == len(set(told(journal))) <= 7
    again = Disorderly([4])
    drive(again, begun_with(journal.entries), search=build(sizes=(3,)))
    assert not again.submitted


def test_rules_are_asked_for_the_reason_when_the_limit_ends_the_search():
    asked = []
    drive(Disorderly([4]), most=BUDGET - POP_SIZE - 2, may_go_on=lambda generation: asked.append(generation) or True)
    assert asked == list(range(GENERATIONS))
    asked.clear()
    drive(Disorderly([4]), most=BUDGET + 1, may_go_on=lambda generation: asked.append(generation) or True)
    assert asked == list(range(GENERATIONS))


@pytest.mark.parametrize("seed", range(40))
def test_search_that_stalled_is_over_in_a_replay_too(seed):
    """The verdict depends on what had been told when it was asked for, and what is under way then may be the new best."""

    class Stall:
        def __init__(self):
            self.best, self.best_in, self.latest = -1.0, -1, -1

        def watch(self, event):
            if isinstance(event, CandidateEvaluated):
                self.latest = event.generation
                if event.fitness > self.best:
                    self.best, self.best_in = event.fitness, event.generation

        def __call__(self, generation):
            return self.latest - self.best_in < 1

    rule = Stall()
    end, whole = drive(Disorderly([5], seed), may_go_on=rule, notify=rule.watch, generations=20)
    assert end.evaluations < 20 * POP_SIZE
    again, executor = Stall(), Disorderly([5])
    drive(executor, begun_with(whole.entries), may_go_on=again, notify=again.watch, generations=20)
    assert not executor.submitted


def test_last_few_may_fail_alone():
    def fails_late(job):
        return failed(job) if job.index >= 2 * POP_SIZE else ok(job)

    for _ in range(2):
        end, journal = drive(Disorderly([1], evaluate=fails_late), most=2 * POP_SIZE + 1)
        assert end.evaluations == 2 * POP_SIZE + 1
        drive(Disorderly([1]), begun_with(journal.entries), most=2 * POP_SIZE + 1)


def test_search_that_found_nothing_new_is_over_when_another_follows():
    _, journal = drive(Disorderly([2]), search=build(sizes=(3,)), place=Place(0, None, {"step": 0}))
    first = len(journal.entries)
    drive(Disorderly([2]), journal, place=Place(first, None, {"step": 1}))
    executor = Disorderly([2])
    end, _ = drive(executor, journal, search=build(sizes=(3,)), place=Place(0, None, {"step": 0}))
    assert (end.evaluations, executor.submitted) == (first, [])


def test_next_search_of_a_run_follows_in_the_journal():
    journal = MemoryJournal()
    for _ in range(2):
        executor = Disorderly([4])
        ends = [
            drive(
                executor, journal, place=Place(first, step, {"step": step}), may_go_on=lambda generation: generation < 2
            )[0]
            for step, first in enumerate((0, 2 * POP_SIZE))
        ]
        assert [end.evaluations for end in ends] == [2 * POP_SIZE] * 2
        assert [entry.tags["step"] for entry in journal.entries] == [0] * 2 * POP_SIZE + [1] * 2 * POP_SIZE
    assert not executor.submitted


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"ask": 0},
        {"ask": 0, "asked": 10**12},
        {"ask": "0", "asked": 1},
        {"ask": 2, "asked": 2},
        {"ask": -1, "asked": 1},
    ],
)
def test_line_that_does_not_say_what_was_asked_is_refused(tags):
    _, whole = drive(Disorderly([1]))
    with pytest.raises(StoreCorruptedError, match="was not asked for in any order"):
        drive(Disorderly([1]), begun_with([replace(whole.entries[0], tags=tags), *whole.entries[1:]]))


@pytest.mark.parametrize("tags", [{"ask": 0, "asked": 2}, {"ask": 1, "asked": 2}, {"ask": 0, "asked": 1}])
def test_journal_of_another_search_is_refused(tags):
    _, whole = drive(Disorderly([1]))
    wrong = replace(whole.entries[1], index=0, tags=tags)
    swapped = (
        begun_with([wrong])
        if tags["ask"] == 0
        else begun_with([whole.entries[0], replace(wrong, index=1, tags={"ask": 0, "asked": 2})])
    )
    with pytest.raises(ReplayMismatchError, match="the search asks for"):
        drive(Disorderly([1]), swapped)


def test_lines_of_the_next_search_are_refused_before_this_one_is_over():
    _, whole = drive(Disorderly([1]))
    other = JournalEntry(3, 0, None, whole.entries[3].evaluation, 0.5, {"step": 1, "ask": 0, "asked": 1})
    tagged = [replace(entry, tags={**entry.tags, "step": 0}) for entry in whole.entries[:3]]
    with pytest.raises(ReplayMismatchError, match="of another search before this one is over"):
        drive(Disorderly([1]), begun_with([*tagged, other]), place=Place(0, None, {"step": 0}))
