"""What the engine costs per candidate: whole searches of candidates that take no time, by executor.

    python benchmarks/scaling/overhead.py                      (--executor NAME:WORKERS ... for some of them)

A trivial search, the real loop, a journal that is synced to disk line by line, and events written to their file: everything that
a run does around a candidate but breeding it, pruning it and training it. The first generation, in which workers start, is left
out. Prints JSON: per executor, medians over the repeats of milliseconds per candidate on the clock (`wall`) and of this process's
CPU (`cpu`). Ray is measured where it is installed, an instance on this machine. `load` is the machine's when it began, `sync_ms`
what a synced line costs on this disk without anything else.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from evoprune.events import GenerationStarted, broadcast
from evoprune.execution.base import Outcome
from evoprune.genome import BitGenome
from evoprune.plugins import resolve
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import SearchDrive, run_search
from evoprune.search.base import Proposal
from evoprune.store.event_log import EventLog
from evoprune.store.journal import Journal

GOALS_MS = {"in-process": 5.0, "process-pool": 20.0}
BITS = 1024


def main() -> None:
    args = parse_arguments()
    names = args.executor or everything()
    connect_to_ray(names)
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "candidates": args.generations * args.population,
        "repeats": args.repeats,
        "sync_ms": round(sync_ms(), 3),
        "ms_per_candidate": {name: measure(name, args) for name in names},
        "goals": GOALS_MS,
    }
    print(json.dumps(results, indent=2))


def connect_to_ray(names: list[str]) -> None:
    """Start Ray on this machine where an executor needs it; it ends with this process."""
    if any(name.startswith("ray:") for name in names):
        import ray

        ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)


def everything() -> list[str]:
    ray = ["ray:1", "ray:2"] if importlib.util.find_spec("ray") else []
    return ["in-process:1", "process-pool:1", "process-pool:2", *ray]


def measure(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Medians over the repeats; each is a search of its own with workers of its own."""
    kind, workers = name.rsplit(":", 1)
    laps = [lap(kind, int(workers), args.generations, args.population) for _ in range(args.repeats)]
    wall, cpu = ([laps[one][which] for one in range(len(laps))] for which in (0, 1))
    return {
        "wall": round(statistics.median(wall), 3),
        "wall_worst": round(max(wall), 3),
        "cpu": round(statistics.median(cpu), 3),
    }


def lap(kind: str, workers: int, generations: int, population: int) -> tuple[float, float]:
    """Milliseconds per candidate of one search, all generations but the first: on the clock, and of this process's CPU."""
    executor = resolve("executors", kind)(empty_factory, workers=workers, threads=1, notify=lambda _: None)
    watch = Watch()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, closing(executor):
        journal = Journal(Path(folder) / "evaluations.jsonl")
        with closing(journal), EventLog(Path(folder) / "events.jsonl") as log:
            drive = SearchDrive(
                RandomBits(population),
                executor,
                journal,
                generations=generations + 1,
                scores=CandidateScores(accuracy_of, lambda evaluation: (1 - accuracy_of(evaluation),), 1),
                may_go_on=lambda _: True,
                notify=broadcast([log, watch]),
            )
            run_search(drive)
            wall, cpu = time.perf_counter() - watch.wall, own_cpu() - watch.cpu
    count = generations * population
    return 1e3 * wall / count, 1e3 * cpu / count


@dataclass
class Watch:
    """A listener that notes when the second generation begins."""

    wall: float = 0.0
    cpu: float = 0.0

    def __call__(self, event) -> None:
        if isinstance(event, GenerationStarted) and event.generation == 1:
            self.wall, self.cpu = time.perf_counter(), own_cpu()


@dataclass
class RandomBits:
    """A search that takes no time: random genomes, nothing learned."""

    count: int
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    population: tuple = ()

    def ask(self) -> list[Proposal]:
        return [Proposal(BitGenome.from_bits(self.generator.random(BITS) < 0.5)) for _ in range(self.count)]

    def tell(self, scored) -> None:
        pass


def empty_factory():
    return empty_job


def empty_job(job) -> Outcome:
    evaluation = Evaluation(job.genome.digest, job.rung, Status.OK, {"accuracy": 0.5, "macs": 1e6})
    return Outcome(job, evaluation, Cost(0.0, 0.0, 0, os.getpid()))


def accuracy_of(evaluation: Evaluation) -> float:
    return evaluation.objectives["accuracy"]


def own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def sync_ms() -> float:
    """Median milliseconds of this disk for a line that is synced, as the journal's are: part of what follows."""
    spent = []
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        for _ in range(200):
            started = time.perf_counter()
            file.write(b"x" * 400)
            file.flush()
            os.fsync(file.fileno())
            spent.append(1e3 * (time.perf_counter() - started))
    return statistics.median(spent)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executor", nargs="+", metavar="NAME:WORKERS", help="such as process-pool:2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--generations", type=int, default=10, help="that are measured")
    parser.add_argument("--population", type=int, default=50)
    return parser.parse_args()


if __name__ == "__main__":
    main()
