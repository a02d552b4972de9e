"""Real workers on this machine: the same search by executor, by number of workers, with and without waiting for generations.

    python benchmarks/scaling/real.py --out real.json          (--what sleep for candidates that only wait)

`sleep`: candidates wait on the clock, 0.2 s on average and ten times as long for the longest as for the shortest, so that what
is missing from full efficiency is the engine's doing and not the machine's. `mnist`: `evoprune run mnist-cnn` for real,
baseline taken from the cache; on a machine whose cores share their arithmetic units or their memory, two workers aren't twice
as fast.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import evoprune as ep
from evoprune.events import StageEnded, ignore
from evoprune.execution.base import Outcome
from evoprune.plugins import resolve
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.async_loop import run_asynchronously
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import SearchDrive, run_search
from evoprune.search.base import SearchSettings
from evoprune.store.journal import Journal
from evoprune.testing.search_suite import Groups

MEAN_S, SPREAD = 0.2, 10.0
MODES = {"generations": "genetic", "asynchronous": "steady-state"}
POPULATION, GENERATIONS = 16, 6
MNIST = {"ga": {"pop_size": 12, "num_generations": 4}, "training": {"retrain_epochs": 1}}


def main() -> None:
    args = parse_arguments()
    rows = []
    for what in args.what:
        places = args.executor or everything(what)
        connect_to_ray(places)
        for place in places:
            for mode in MODES:
                rows.append(sleeping(place, mode, args.repeats) if what == "sleep" else pruning(place, mode))
                print(json.dumps(rows[-1]), flush=True)
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rows": rows,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")


def connect_to_ray(names: list[str]) -> None:
    """Start Ray on this machine where an executor needs it; it ends with this process."""
    if any(name.startswith("ray:") for name in names):
        import ray

        quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
        ray.init("local", num_cpus=2, ignore_reinit_error=True, **quiet)


def everything(what: str) -> list[str]:
    places = ["in-process:1", "process-pool:1", "process-pool:2"]
    if importlib.util.find_spec("ray"):
        places += ["ray:1", "ray:2"]
    return places if what == "sleep" else [place for place in places if place in ("in-process:1", "process-pool:2")]


def sleeping(place: str, mode: str, repeats: int) -> dict[str, object]:
    """Medians over repeated searches; workers are started, and do a job each, before the clock is."""
    laps = [sleeping_once(place, mode, seed) for seed in range(repeats)]
    return {
        "what": "sleep",
        "executor": place,
        "mode": mode,
        "candidates": POPULATION * GENERATIONS,
        "candidates_per_s": round(statistics.median(one[0] for one in laps), 3),
        "efficiency": round(statistics.median(one[1] for one in laps), 4),
    }


def sleeping_once(place: str, mode: str, seed: int) -> tuple[float, float]:
    kind, _, workers = place.rpartition(":")
    settings = SearchSettings(
        pop_size=POPULATION,
        mutation_rate=0.02,
        crossover_rate=0.9,
        tournament_size=2,
        elitism=2,
        initial_keep=(0.3, 0.9),
    )
    search = resolve("searches", MODES[mode])(Groups(64, 128, 256), settings, objectives=1, seed=seed)
    executor = resolve("executors", kind)(sleeper, workers=int(workers), threads=1, notify=ignore)
    shared = {"generations": GENERATIONS, "may_go_on": lambda _: True, "notify": ignore}
    shared["scores"] = CandidateScores(
        lambda evaluation: evaluation.objectives["accuracy"], lambda evaluation: (0.0,), 1
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, closing(executor):
        with closing(Journal(Path(folder) / "warm.jsonl")) as journal:
            warm = resolve("searches", "random")(Groups(8, 8), settings, objectives=1, seed=0)
            run_search(SearchDrive(warm, executor, journal, **{**shared, "generations": 1}))
        started = time.perf_counter()
        with closing(Journal(Path(folder) / "evaluations.jsonl")) as journal:
            if mode == "asynchronous":
                run_asynchronously(SearchDrive(search, executor, journal, **shared), pop_size=POPULATION)
            else:
                run_search(SearchDrive(search, executor, journal, **shared))
            passed = time.perf_counter() - started
            slept = sum(duration_s(entry.evaluation.genome) for entry in journal.entries)
            return len(journal.entries) / passed, slept / (int(workers) * passed)


def sleeper():
    return sleep


def sleep(job) -> Outcome:
    time.sleep(duration_s(job.genome.digest))
    worth = int(job.genome.digest[:8], 16) / 2**32
    return Outcome(
        job, Evaluation(job.genome.digest, 0, Status.OK, {"accuracy": worth}), Cost(0.0, 0.0, 0, os.getpid())
    )


def duration_s(digest: str) -> float:
    shortest = MEAN_S * math.log(SPREAD) / (SPREAD - 1)
    return shortest * SPREAD ** (int(digest[8:16], 16) / 2**32)


def pruning(place: str, mode: str) -> dict[str, object]:
    """The search of a real run: what it took on the clock, workers and their start included."""
    kind, _, workers = place.rpartition(":")
    ended: list[StageEnded] = []
    sections = {
        **MNIST,
        "search": {"algorithm": MODES[mode], "asynchronous": mode == "asynchronous"},
        "execution": {"executor": kind, "workers": int(workers)},
    }
    with tempfile.TemporaryDirectory() as folder:
        ep.run_recipe(
            "mnist-cnn",
            out=Path(folder) / "run",
            config=sections,
            listeners=[lambda event: ended.append(event) if isinstance(event, StageEnded) else None],
        )
    (search,) = (one for one in ended if one.stage == "search")
    count = MNIST["ga"]["pop_size"] * MNIST["ga"]["num_generations"]
    return {
        "what": "mnist",
        "executor": place,
        "mode": mode,
        "candidates": count,
        "candidates_per_s": round(count / search.wall_s, 3),
        "cpu_s_per_candidate": round(search.cpu_s / count, 2),
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("real.json"))
    parser.add_argument("--what", nargs="+", choices=("sleep", "mnist"), default=["sleep", "mnist"])
    parser.add_argument("--executor", nargs="+", metavar="NAME:WORKERS", help="such as process-pool:2")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
