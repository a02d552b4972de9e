"""A cluster of up to 1,000 workers on a virtual clock, around the real search, loop, journal and event log.

    python benchmarks/scaling/simulate.py --out results.json        (--workers 4 64 1000 --generations 20 for less)

Candidates take no time here: each is said to last as long as its genome's digest has it, 60 s on average and ten times as long
for the longest as for the shortest (log-uniform). The clock goes on by that, and by the real time that everything else takes,
breeding, bookkeeping and syncing the journal included: all that the main process of a run does besides waiting. A worker is
free for its next candidate when the main process has noticed that it is done, and gets it when the main process has made one.

Efficiency is the time that workers were at work over the time that they were there, from the first candidate to the end of the
last one: the end of a search, when fewer and fewer are at work, counts in full. `until_last_begun` leaves that end out.
"""

import argparse
import heapq
import json
import math
import os
import platform
import tempfile
import time
from collections import deque
from contextlib import closing
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from evoprune.events import broadcast
from evoprune.execution.base import Outcome
from evoprune.plugins import resolve
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.async_loop import run_asynchronously
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import SearchDrive, run_search
from evoprune.search.base import SearchSettings
from evoprune.store.event_log import EventLog
from evoprune.store.journal import Journal
from evoprune.testing.search_suite import Groups

MEAN_S, SPREAD = 60.0, 10.0
UNITS = (64,) * 5 + (128,) * 5 + (256,) * 5 + (512,) * 5
"""4,800 bits, one for each channel of ResNet-18."""
WORKERS = (4, 8, 16, 32, 64, 128, 256, 512, 1000)
MODES = {"generations": "genetic", "asynchronous": "steady-state"}
SCORES = CandidateScores(lambda evaluation: evaluation.objectives["accuracy"], lambda evaluation: (0.0,), 1)


class VirtualCluster:
    """An executor whose workers' time is virtual."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.now = self.own_s = 0.0
        self.lives: list[tuple[float, float]] = []
        self._running: list[tuple[float, int, object]] = []
        self._queue: deque = deque()
        self._seen = time.perf_counter()

    def submit(self, job) -> None:
        """Begin a candidate now, or when a worker is free."""
        self._catch_up()
        self._queue.append(job)
        self._begin()
        self._seen = time.perf_counter()

    def wait(self) -> Outcome:
        """Let the clock go on to the next end of a candidate."""
        self._catch_up()
        end, _, job = heapq.heappop(self._running)
        self.now = max(self.now, end)
        self._begin()
        outcome = Outcome(job, score(job), Cost(duration_s(job), 0.0, worker=1))
        self._seen = time.perf_counter()
        return outcome

    def close(self) -> None:
        """Nothing is left to close."""

    def _catch_up(self) -> None:
        passed = time.perf_counter() - self._seen
        self.now += passed
        self.own_s += passed

    def _begin(self) -> None:
        while self._queue and len(self._running) < self.slots:
            job = self._queue.popleft()
            end = self.now + duration_s(job)
            self.lives.append((self.now, end))
            heapq.heappush(self._running, (end, job.index, job))

    def efficiency(self, until: float) -> float:
        """Time that workers were at work until then, over the time that they were there."""
        return sum(max(0.0, min(end, until) - begun) for begun, end in self.lives) / (self.slots * until)


def duration_s(job) -> float:
    """Log-uniform between a shortest and a longest time; the same for the same genome."""
    shortest = MEAN_S * math.log(SPREAD) / (SPREAD - 1)
    return shortest * SPREAD ** (int(job.genome.digest[8:16], 16) / 2**32)


def score(job) -> Evaluation:
    """The share of bits that are as they should be, a third of them 0."""
    bits = job.genome.bits
    good = int(bits[::3].size - bits[::3].sum() + bits[1::3].sum() + bits[2::3].sum())
    values = {"accuracy": good / bits.size, "macs": float(bits.sum())}
    return Evaluation(job.genome.digest, job.rung, Status.OK, values)


def simulate(mode: str, workers: int, population: int, generations: int, seed: int) -> dict[str, float]:
    """One search; its figures."""
    settings = SearchSettings(
        pop_size=population,
        mutation_rate=2 / sum(UNITS),
        crossover_rate=0.9,
        tournament_size=2,
        elitism=2,
        initial_keep=(0.3, 0.9),
    )
    search = resolve("searches", MODES[mode])(Groups(*UNITS), settings, objectives=1, seed=seed)
    shared = {"generations": generations, "scores": SCORES, "may_go_on": lambda _: True}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder, cluster, cpu = Path(name), VirtualCluster(workers), time.process_time()
        with closing(Journal(folder / "evaluations.jsonl")) as journal, EventLog(folder / "events.jsonl") as log:
            shared["notify"] = broadcast([log])
            if mode == "asynchronous":
                end = run_asynchronously(SearchDrive(search, cluster, journal, **shared), pop_size=population)
            else:
                end = run_search(SearchDrive(search, cluster, journal, **shared))
    count = end.evaluations
    return {
        "mode": mode,
        "workers": workers,
        "population": population,
        "candidates": count,
        "seed": seed,
        "efficiency": cluster.efficiency(cluster.now),
        "until_last_begun": cluster.efficiency(cluster.lives[-1][0]),
        "candidates_per_s": count / cluster.now,
        "hours": cluster.now / 3600,
        "own_ms_per_candidate": 1e3 * cluster.own_s / count,
        "cpu_ms_per_candidate": 1e3 * (time.process_time() - cpu) / count,
        "best": end.best.entry.fitness,
    }


def main() -> None:
    args = parse_arguments()
    rows = []
    for workers in args.workers:
        for mode in MODES:
            rows += [simulate(mode, workers, args.population, args.generations, seed) for seed in range(args.seeds)]
            print(json.dumps(rows[-1]), flush=True)
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "mean_s": MEAN_S,
        "spread": SPREAD,
        "bits": sum(UNITS),
        "rows": rows,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("simulated.json"))
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--population", type=int, default=1000)
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
