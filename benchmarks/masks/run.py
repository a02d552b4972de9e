"""Evolved masks of LeNet-5 against iterative pruning by fixed rules, with the same training steps, in one run on one machine.

    make bench-masks            (or: python benchmarks/masks/run.py)

For each seed: `evoprune run` with `config.yaml`; the same without any rule about what matters; iterative LAMP and iterative
global magnitude along the very course of the evolved run (levels, steps, optimiser, rates), and ablations. One process at a time,
each with the same number of threads. What is finished in the output directory is not done again. Writes `results.json`, the
figure and the tables of the README.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from course import FINAL, Course, last_at_milestones
from evolved import course_of, figures_of
from figure import draw
from paired import differences
from peers import ABLATIONS, METHODS, ONE_SHOT, PEERS
from tables import tables, write_between_markers

from evoprune.caching import cache_directory
from evoprune.config.recipes import resolve_recipe_config
from evoprune.config.yaml_files import read_config
from evoprune.nn_utils.threads import thread_environment

HERE = Path(__file__).parent
CONFIG = HERE / "config.yaml"
# Without a rule it takes many more candidates, which differ in single bits: a flip too many ruins a good mask.
NO_RULE = ["search.seeding=none", "search.encoding=weight-bits", "ga.pop_size=20", "ga.num_generations=20",
           "ga.mutation_rate=0.004", "ga.initial_keep=[0.7,1.0]"]  # fmt: skip
EVOLVED = {"evolved": [], "evolved-no-rule": NO_RULE}
QUICK = ["masks.goals=[0.9,0.99]", "masks.retrain_epochs=0.02", "masks.between_epochs=0.02", "training.retrain_epochs=0.02",
         "ga.pop_size=4", "ga.num_generations=2", "ga.elitism=1",
         "fidelity.select_samples=200", "masks.min_class_accuracy=0"]  # fmt: skip


def main() -> None:
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    course = None
    for method, seed in parts(args):
        if method in EVOLVED:
            directory = evolve(method, seed, args)
            course = same_course(course, directory)
        else:
            assert course is not None
            follow(course, method, seed, args)
    naive = [naive_cost(threads, args) for threads in (1, 0)]
    results = collect(course, naive, args)
    target = args.out if args.quick else HERE
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, target / "accuracy_vs_sparsity.png")
    if not args.quick:
        picture = "![Test accuracy against sparsity, all methods](accuracy_vs_sparsity.png)"
        write_between_markers(HERE / "README.md", f"{picture}\n\n{tables(results)}")
    print(tables(results))


def parts(args: argparse.Namespace) -> list[tuple[str, int]]:
    """What to run, evolved ones first: the others need their course, and what counts most is done first."""
    wanted = [one for one in (*EVOLVED, *METHODS) if one in args.methods or one == "evolved"]
    few = {*ABLATIONS, ONE_SHOT, "evolved-no-rule"}
    order = ["evolved", *PEERS, "evolved-no-rule", *ABLATIONS, ONE_SHOT]
    return [
        (method, seed)
        for method in order
        if method in wanted
        for seed in range(min(args.seeds, args.few_seeds) if method in few else args.seeds)
    ]


def evolve(method: str, seed: int, args: argparse.Namespace) -> Path:
    """A run of evoprune, or its directory where it is done already; one that was stopped goes on."""
    directory = args.out / f"{method}-{seed}"
    flags = [part for one in EVOLVED[method] + (QUICK if args.quick else []) for part in ("--set", one)]
    evoprune = [sys.executable, "-m", "evoprune", "run", str(CONFIG)]
    call([*evoprune, "--seed", str(seed), "--out", str(directory), "--workers", str(args.workers), *flags])
    return directory


def same_course(course: Course | None, directory: Path) -> Course:
    """The course of a run; it has to be that of the runs before, with as many training steps at each level."""
    found = course_of(directory)
    if course is not None and found != course:
        raise SystemExit(f"{directory} took another course than the runs before: their steps can't be compared")
    return found


def follow(course: Course, method: str, seed: int, args: argparse.Namespace) -> None:
    """A peer along the course, unless it is done."""
    path, course_path = peer_path(method, seed, args), args.out / "course.json"
    if path.exists():
        return
    course.write(course_path)
    script = [sys.executable, str(HERE / "peers.py"), "--method", method, "--seed", str(seed)]
    call([*script, "--course", str(course_path), "--out", str(path)])


def peer_path(method: str, seed: int, args: argparse.Namespace) -> Path:
    return args.out / f"{method}-{seed}.json"


def naive_cost(threads: int, args: argparse.Namespace) -> dict:
    """CPU seconds per candidate of the naive script, with one thread or as many as torch takes by itself."""
    path = args.out / f"naive-{threads}.json"
    if not path.exists():
        script = [sys.executable, str(HERE / "naive.py"), "--threads", str(threads), "--out", str(path)]
        alone = {key: value for key, value in os.environ.items() if threads or key not in thread_environment(1)}
        subprocess.run([*script, "--data", str(cache_directory() / "mnist")], check=True, env=alone)
    return json.loads(path.read_text())


def call(command: list[str]) -> None:
    """Run a method; all of them have as many threads as the settings give to training."""
    subprocess.run(command, check=True, env={**os.environ, **thread_environment(settings().execution.training_threads)})


def settings():
    return resolve_recipe_config(None, read_config(CONFIG))


def collect(course: Course, naive: list[dict], args: argparse.Namespace) -> dict:
    """Everything measured, in one document."""
    methods: dict[str, dict] = {}
    for method, seed in parts(args):
        if method in EVOLVED:
            run = figures_of(args.out / f"{method}-{seed}", course)
        else:
            run = json.loads(peer_path(method, seed, args).read_text())
            run["cpu_s"] = (run["final"] or run["points"][-1])["cpu_s"]
            check_course(run, course, peer_path(method, seed, args))
        run["accuracy"] = {str(key): point["accuracy"] for key, point in last_at_milestones(run["points"]).items()}
        if run["final"]:
            run["accuracy"][FINAL] = run["final"]["accuracy"]
        methods.setdefault(method, {})[str(seed)] = run
    curves = {method: {seed: run["accuracy"] for seed, run in runs.items()} for method, runs in methods.items()}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}",
        "threads": f"threads in training: {course.threads}; candidates at a time: {args.workers}",
        "load_average": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "evoprune")}},
        "command": " ".join(["python", "benchmarks/masks/run.py", *sys.argv[1:]]),
        "course": {**asdict(course), "total_steps": course.total_steps},
        "dense_accuracy": next(iter(methods["evolved"].values()))["dense_accuracy"],
        "methods": methods,
        "differences": differences(curves),
        "naive": naive,
    }


def check_course(run: dict, course: Course, path: Path) -> None:
    """See that a peer, which may have been finished earlier, followed this very course, step for step."""
    steps = (run["final"] or run["points"][-1])["steps"]
    if run["course"] != course.digest or (steps != course.total_steps and run["method"] != ONE_SHOT):
        raise SystemExit(f"{path} followed another course than the evolved runs: remove it, and run this again")


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a new directory, or one to go on in")
    parser.add_argument("--seeds", type=int, help="of the evolved runs and their peers; 5")
    parser.add_argument("--few-seeds", type=int, default=3, help="of the search without a rule and of the ablations")
    parser.add_argument("--methods", nargs="+", choices=[*EVOLVED, *METHODS], default=[*EVOLVED, *METHODS])
    parser.add_argument("--workers", type=int, default=1, help="candidates at a time; results don't depend on it")
    parser.add_argument("--quick", action="store_true", help="hardly train anything: does the benchmark itself work?")
    args = parser.parse_args()
    args.out = args.out or Path(f"runs/bench-masks{'-quick' if args.quick else ''}")
    args.seeds = args.seeds or (2 if args.quick else 5)
    return args


if __name__ == "__main__":
    main()
