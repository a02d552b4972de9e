"""How long a resume takes before it goes on, and what memory it needs, where the journal is long."""

import time
import tracemalloc

import pytest

from evoprune.execution.base import Outcome
from evoprune.plugins import resolve
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import SearchDrive, run_search
from evoprune.search.base import SearchSettings
from evoprune.store.journal import Journal, MemoryJournal
from evoprune.testing.search_suite import Groups

SCORES = CandidateScores(
    lambda evaluation: evaluation.objectives["accuracy"],
    lambda evaluation: (-evaluation.objectives["accuracy"], evaluation.objectives["macs"]),
    2,
)
LINES = 10_000
MOST_CPU_S = 10.0
MOST_BYTES = 50e6
UNITS = (32,) * 14
"""448 bits, as many as ResNet-20 has units."""


class Evaluator:
    """Makes up figures at once; counts what it was asked for."""

    slots = 1

    def __init__(self):
        self.asked, self._queue = 0, []

    def submit(self, job):
        self.asked += 1
        self._queue.append(job)

    def wait(self):
        job = self._queue.pop(0)
        kept = float(job.genome.bits.mean())
        values = {"accuracy": 1 - (1 - kept) ** 2 - int(job.genome.digest[:4], 16) / 1e6, "macs": 1e6 * kept}
        return Outcome(job, Evaluation(job.genome.digest, 0, Status.OK, values), Cost(0.0, 0.0))

    def close(self):
        self._queue.clear()


def search(name, journal, executor, generations):
    settings = SearchSettings(
        pop_size=50, mutation_rate=0.02, crossover_rate=0.9, tournament_size=2, elitism=2, initial_keep=(0.2, 0.9)
    )
    drive = SearchDrive(
        resolve("searches", name)(Groups(*UNITS), settings, objectives=2, seed=0),
        executor,
        journal,
        generations=generations,
        scores=SCORES,
        may_go_on=lambda generation: True,
        notify=lambda event: None,
    )
    return run_search(drive)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "generations"), [("genetic", 200), ("nsga2", 200), ("steady-state", LINES - 49)])
def test_journal_of_ten_thousand_lines_is_replayed_within_seconds(tmp_path, name, generations):
    made, path = MemoryJournal(), tmp_path / "evaluations.jsonl"
    search(name, made, Evaluator(), generations)
    path.write_text("".join(one.to_line() + "\n" for one in made.entries))
    assert len(made.entries) == LINES
    executor, started = Evaluator(), time.process_time()
    journal = Journal(path)
    end = search(name, journal, executor, generations)
    spent_s = time.process_time() - started
    journal.close()
    assert (executor.asked, end.evaluations) == (0, LINES)
    assert spent_s < MOST_CPU_S


@pytest.mark.slow
def test_journal_of_ten_thousand_lines_takes_little_memory(tmp_path):
    made, path = MemoryJournal(), tmp_path / "evaluations.jsonl"
    search("random", made, Evaluator(), 200)
    path.write_text("".join(one.to_line() + "\n" for one in made.entries))
    tracemalloc.start()
    try:
        journal = Journal(path)
        search("random", journal, Evaluator(), 200)
        journal.close()
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
