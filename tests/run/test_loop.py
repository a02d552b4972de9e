from dataclasses import replace

import numpy as np
import pytest

from evoprune.errors import ReplayMismatchError, RunError
from evoprune.events import CandidateEvaluated, GenerationEnded
from evoprune.execution.base import Outcome
from evoprune.genome import BitGenome
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import Place, SearchDrive, run_search
from evoprune.search.base import Proposal
from evoprune.store.journal import Journal, MemoryJournal, read_journal

SCORES = CandidateScores(
    lambda evaluation: evaluation.objectives["accuracy"],
    lambda evaluation: (-evaluation.objectives["accuracy"], evaluation.objectives["macs"]),
    2,
)


def genome(number):
    return BitGenome.from_bits(np.unpackbits(np.array([number], np.uint8)).astype(bool))


class CountingSearch:
    """Asks for genomes 0, 1, 2, ... in batches, and remembers what it was told."""

    def __init__(self, batch=4, start=0, fidelity=0, parents=()):
        self.told = []
        self._batch, self._next = batch, start
        self._fidelity, self._parents = fidelity, parents

    def ask(self):
        self._next += self._batch
        numbers = range(self._next - self._batch, self._next)
        return [Proposal(genome(number), self._fidelity, self._parents) for number in numbers]

    def tell(self, scored):
        self.told.append(list(scored))

    @property
    def population(self):
        return [one.genome for one in self.told[-1]] if self.told else []


class BackwardsExecutor:
    """Finishes the job submitted last first."""

    slots = 4

    def __init__(self, evaluate):
        self.evaluated = []
        self._evaluate = evaluate
        self._queue = []

    def submit(self, job):
        self._queue.append(job)

    def wait(self):
        job = self._queue.pop()
        self.evaluated.append(job.index)
        return Outcome(job, self._evaluate(job), Cost(0.0, 0.0))

    def close(self):
        self._queue.clear()


def good(job):
    return Evaluation(job.genome.digest, job.rung, Status.OK, {"accuracy": job.index / 100, "macs": 100.0 - job.index})


def failed(job, reason="loss is nan"):
    return Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=reason)


def infeasible(job):
    return Evaluation(job.genome.digest, job.rung, Status.INFEASIBLE, {"macs": 5.0}, violation=0.5)


@pytest.fixture
def drive(tmp_path):
    def run(search, executor, *, generations=2, may_go_on=lambda generation: True, notify=lambda event: None):
        journal = Journal(tmp_path / "evaluations.jsonl")
        try:
            run_search(
                SearchDrive(
                    search,
                    executor,
                    journal,
                    generations=generations,
                    scores=SCORES,
                    may_go_on=may_go_on,
                    notify=notify,
                )
            )
        finally:
            journal.close()
        return read_journal(tmp_path / "evaluations.jsonl")

    return run


def test_loop_journals_in_the_order_asked_when_jobs_finish_backwards(drive):
    search, executor = CountingSearch(), BackwardsExecutor(good)
    entries = drive(search, executor)
    assert executor.evaluated == [3, 2, 1, 0, 7, 6, 5, 4]
    assert [(entry.index, entry.generation) for entry in entries] == [(index, index // 4) for index in range(8)]
    assert [one.genome for told in search.told for one in told] == [genome(index) for index in range(8)]


def test_loop_evaluates_nothing_twice_when_the_journal_is_complete(drive, tmp_path):
    first = CountingSearch()
    drive(first, BackwardsExecutor(good))
    content = (tmp_path / "evaluations.jsonl").read_bytes()
    again, executor = CountingSearch(), BackwardsExecutor(good)
    drive(again, executor)
    assert executor.evaluated == []
    assert again.told == first.told
    assert (tmp_path / "evaluations.jsonl").read_bytes() == content


def test_loop_evaluates_only_the_rest_when_it_was_stopped_in_mid_generation(drive, tmp_path):
    drive(CountingSearch(), BackwardsExecutor(good))
    path = tmp_path / "evaluations.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:6]))
    executor, seen = BackwardsExecutor(good), []
    drive(CountingSearch(), executor, notify=seen.append)
    assert sorted(executor.evaluated) == [6, 7]
    assert path.read_bytes() == whole
    assert [one.replayed for one in seen if isinstance(one, CandidateEvaluated)] == [True] * 6 + [False] * 2


def test_loop_refuses_a_journal_of_other_genomes(drive, tmp_path):
    drive(CountingSearch(), BackwardsExecutor(good))
    before = (tmp_path / "evaluations.jsonl").read_bytes()
    executor = BackwardsExecutor(good)
    with pytest.raises(ReplayMismatchError, match="evaluation 0 of the journal is of genome"):
        drive(CountingSearch(start=100), executor)
    assert executor.evaluated == []
    assert (tmp_path / "evaluations.jsonl").read_bytes() == before


def test_fidelity_and_parents_of_a_proposal_reach_job_and_journal(drive):
    executor = BackwardsExecutor(good)
    entries = drive(CountingSearch(fidelity=2, parents=("mother", "father")), executor)
    assert {(entry.evaluation.rung, entry.parents) for entry in entries} == {(2, ("mother", "father"))}


def test_loop_refuses_a_journal_of_another_fidelity(drive):
    drive(CountingSearch(fidelity=1), BackwardsExecutor(good))
    with pytest.raises(ReplayMismatchError, match=r"at rung 1, the search asks for \w+ at rung 2"):
        drive(CountingSearch(fidelity=2), BackwardsExecutor(good))


def test_loop_stops_with_the_commonest_reason_when_all_candidates_failed(drive):
    reasons = ["no memory", "loss is nan", "loss is nan", "no memory", "loss is nan"]
    executor = BackwardsExecutor(lambda job: failed(job, reasons[job.index]))
    with pytest.raises(RunError, match="all 5 candidates of generation 0 failed, most often because loss is nan"):
        drive(CountingSearch(batch=5), executor)


def test_loop_tells_failed_and_infeasible_candidates_as_violations(drive):
    kinds = [good, failed, infeasible, good]
    search = CountingSearch()
    entries = drive(search, BackwardsExecutor(lambda job: kinds[job.index % 4](job)), generations=1)
    violations = [one.violation for one in search.told[0]]
    assert violations[0] == violations[3] == 0
    assert violations[1] > violations[2] == 0.5
    assert [entry.fitness for entry in entries] == [0.0, None, None, 0.03]
    assert np.isfinite([(one.fitness, *one.costs) for one in search.told[0]]).all()


def test_loop_goes_on_when_a_generation_is_infeasible_throughout(drive):
    seen = []
    entries = drive(CountingSearch(), BackwardsExecutor(infeasible), notify=seen.append)
    assert len(entries) == 8
    assert [one.best_fitness for one in seen if isinstance(one, GenerationEnded)] == [None, None]


def test_loop_ends_when_it_may_not_go_on(drive):
    search = CountingSearch()
    entries = drive(search, BackwardsExecutor(good), generations=5, may_go_on=lambda generation: generation < 2)
    assert len(entries) == 8
    assert len(search.told) == 2


def test_loop_ends_when_the_search_has_nothing_left_to_ask(drive):
    assert drive(CountingSearch(batch=0), BackwardsExecutor(good)) == []


def test_loop_reports_best_and_mean_of_each_generation(drive):
    seen = []
    drive(CountingSearch(), BackwardsExecutor(good), notify=seen.append)
    ended = [one for one in seen if isinstance(one, GenerationEnded)]
    assert [one.best_fitness for one in ended] == [0.03, 0.07]
    assert [one.mean_fitness for one in ended] == pytest.approx([0.015, 0.055])
    assert [one.best["macs"] for one in ended] == [97.0, 93.0]


def search_in(journal, executor, *, batch=4, generations=2, place=Place(), **more):  # noqa: B008
    return run_search(
        SearchDrive(
            CountingSearch(batch=batch, start=10 * place.first),
            executor,
            journal,
            generations=generations,
            scores=SCORES,
            may_go_on=lambda generation: True,
            notify=lambda event: None,
            place=place,
            **more,
        )
    )


def test_searches_of_one_run_follow_each_other_in_the_journal():
    journal, executor = MemoryJournal(), BackwardsExecutor(good)
    first = search_in(journal, executor)
    place = Place(first.evaluations, stage="second", tags={"step": 1})
    second = search_in(journal, executor, place=place)
    assert (first.evaluations, second.evaluations) == (8, 8)
    assert [(entry.index, entry.generation, entry.tags) for entry in journal.entries[7:9]] == [
        (7, 1, {}),
        (8, 0, {"step": 1}),
    ]
    known = len(executor.evaluated)
    assert search_in(journal, executor, place=place).best.genome == second.best.genome
    assert len(executor.evaluated) == known


def test_best_is_the_fittest_that_keeps_the_constraints_and_has_its_genome():
    def evaluate(job):
        return replace(good(job), status=Status.INFEASIBLE, violation=1.0 / job.index) if job.index > 5 else good(job)

    end = search_in(MemoryJournal(), BackwardsExecutor(evaluate))
    assert (end.best.entry.index, end.best.genome) == (5, genome(5))


def test_best_is_the_nearest_to_the_constraints_when_none_keeps_them():
    def evaluate(job):
        return replace(good(job), status=Status.INFEASIBLE, violation=1.0 + abs(job.index - 3))

    assert search_in(MemoryJournal(), BackwardsExecutor(evaluate)).best.entry.index == 3


def test_search_ends_after_the_generation_that_is_enough():
    end = search_in(
        MemoryJournal(),
        BackwardsExecutor(good),
        generations=9,
        enough=lambda entry: entry.evaluation.objectives["accuracy"] >= 0.05,
    )
    assert end.evaluations == 8


def test_search_goes_on_when_what_is_enough_breaks_a_constraint():
    def evaluate(job):
        return replace(good(job), status=Status.INFEASIBLE, violation=1.0)

    end = search_in(MemoryJournal(), BackwardsExecutor(evaluate), generations=3, enough=lambda entry: True)
    assert end.evaluations == 12


def test_child_that_is_bred_alone_may_fail_when_others_did_not():
    kinds = [good, failed, failed, good]
    end = search_in(MemoryJournal(), BackwardsExecutor(lambda job: kinds[job.index](job)), batch=1, generations=4)
    assert (end.evaluations, end.best.entry.index) == (4, 3)
    with pytest.raises(RunError, match="all 1 candidates of generation 0 failed"):
        search_in(MemoryJournal(), BackwardsExecutor(failed), batch=1)


@pytest.mark.parametrize(("most", "evaluated", "told"), [(8, 8, 2), (7, 7, 1), (4, 4, 1), (3, 3, 0), (0, 0, 0)])
def test_last_generation_is_cut_where_there_is_a_limit(most, evaluated, told):
    journal, executor, search = MemoryJournal(), BackwardsExecutor(good), CountingSearch()
    end = run_search(
        SearchDrive(
            search,
            executor,
            journal,
            generations=5,
            scores=SCORES,
            may_go_on=lambda generation: True,
            notify=lambda event: None,
            most=most,
        )
    )
    assert (end.evaluations, len(journal.entries), len(executor.evaluated)) == (evaluated,) * 3
    # A search is told of all that it asked for or of nothing.
    assert len(search.told) == told
    assert (end.best is None) == (most == 0)
