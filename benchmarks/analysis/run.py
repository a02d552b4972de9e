"""Analysis and surgery, side by side with Torch-Pruning and torch-kirigami: time, memory, and whether the result is right.

    make bench-analysis            (or: python benchmarks/analysis/run.py)

The peers are optional: `pip install "evoprune[peers]"`. One that is missing is named, and the rest is measured. Everything runs
on one thread; the jobs of a comparison take turns, and figures are medians of CPU seconds. Writes `results.json` and prints the
tables that the README shows. Takes a few minutes.
"""

import argparse
import copy
import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from faults import fault_table
from libraries import forward, half_of_everything, installed, relative_difference, version
from models import ResNet, cifar_resnet18, resnet18, resnet50
from torch.nn.modules.module import register_module_forward_pre_hook

import evoprune as ep
from evoprune.rng import isolated_rng

HERE = Path(__file__).parent
NETWORKS = {"resnet50": (resnet50, 224), "resnet18": (resnet18, 224), "cifar-resnet18": (cifar_resnet18, 32)}
SEED = 0


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    args = parse_arguments()
    if args.memory_of:
        print(json.dumps(memory_here(args.memory_of)))
        return
    libraries, missing = installed()
    for name, why in missing.items():
        print(f"{name} is left out: {why}", file=sys.stderr)
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}",
        "threads": torch.get_num_threads(),
        "seed": SEED,
        "command": " ".join(["python", "benchmarks/analysis/run.py", *sys.argv[1:]]),
        "versions": {"torch": torch.__version__} | {library.name: version(library) for library in libraries},
        "missing": missing,
        "analysis": {name: analysis(name, libraries, args) for name in NETWORKS},
        "memory_mb": {name: memory(name) for name in ["forward", *(library.name for library in libraries)]},
        "candidate": candidates(libraries, args),
        "faults": fault_table(libraries),
    }
    results["targets"] = targets(results)
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


def build(name):
    """-> network in evaluation mode, one image."""
    make, size = NETWORKS[name]
    with isolated_rng(SEED):
        return make().eval(), torch.randn(1, 3, size, size)


def by_turns(jobs: dict, rounds: int, *, pause_s: float = 0.0, budget_s: float = 90.0) -> dict:
    """Median CPU seconds of each job; one that has used up its budget sits the remaining rounds out, after two at least."""
    seconds: dict = {name: [] for name in jobs}
    for _ in range(rounds + 1):  # the first of each warms up
        for name, job in jobs.items():
            if len(seconds[name]) < 3 or sum(seconds[name]) < budget_s:
                started = time.process_time()
                job()
                seconds[name].append(time.process_time() - started)
        time.sleep(pause_s)
    return {name: {"median_s": statistics.median(taken[1:]), "runs": len(taken) - 1} for name, taken in seconds.items()}


def analysis(name: str, libraries: list, args: argparse.Namespace) -> dict:
    model, inputs = build(name)
    jobs = {"forward": lambda: forward(model, inputs)}
    jobs |= {library.name: lambda library=library: library.analyse(model, inputs) for library in libraries}
    jobs["evoprune, with self-check"] = lambda: ep.analyze(model, inputs)
    found: dict = {"cpu_s": by_turns(jobs, args.rounds, pause_s=args.pause_s)}
    space = ep.analyze(model, inputs)
    found["self_check_forwards"] = forwards(lambda: ep.analyze(model, inputs)) - forwards(
        lambda: ep.analyze(model, inputs, self_check=False)
    )
    found |= {"groups": len(space.groups), "units": space.size, "pickle_bytes": len(pickle.dumps(space))}
    return found


def forwards(job) -> int:
    """How often `job` runs a whole ResNet."""
    runs = []
    handle = register_module_forward_pre_hook(lambda module, _: runs.append(1) if type(module) is ResNet else None)
    try:
        job()
    finally:
        handle.remove()
    return len(runs)


def memory(what: str) -> float | None:
    """Peak memory of one analysis of ResNet-50 above what model and inputs take, in a process of its own, in MB."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory-of", what], check=True, capture_output=True, text=True
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def memory_here(what: str) -> float | None:
    if not Path("/proc/self/clear_refs").exists():
        return None  # only Linux can reset the peak
    small, image = build("cifar-resnet18")
    model, inputs = build("resnet50")
    job = {library.name: library.analyse for library in installed()[0]} | {"forward": forward, "evoprune": ep.analyze}
    job[what](small, image)  # whatever is imported or set up at the first use
    Path("/proc/self/clear_refs").write_text("5")
    before = status_mb("VmRSS")
    job[what](model, inputs)
    return round(status_mb("VmHWM") - before)


def status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def candidates(libraries: list, args: argparse.Namespace) -> dict:
    """A network with half of every group of CIFAR ResNet-18, from the dense one: the same cut by every library."""
    model, inputs = build("cifar-resnet18")
    removed = half_of_everything(model, inputs)
    analyses = {library.name: library.analyse(model, inputs) for library in libraries}
    space = analyses["evoprune"]
    plan = space.plan(libraries[0]._bits(space, removed))
    jobs = {
        "copy.deepcopy of the dense network": lambda: copy.deepcopy(model),
        "evoprune.prune": lambda: ep.prune(model, plan),
    }
    jobs |= {
        f"{library.name}, from choice to network": lambda library=library: library.candidate(
            model, inputs, analyses[library.name], removed
        )
        for library in libraries
    }
    reference = forward(ep.mask(model, plan), inputs)
    differences = {
        library.name: relative_difference(
            forward(library.candidate(model, inputs, analyses[library.name], removed), inputs), reference
        )
        for library in libraries
    }
    fast = by_turns({name: job for name, job in jobs.items() if "," not in name}, 10 * args.rounds)
    slow = by_turns({name: job for name, job in jobs.items() if "," in name}, args.rounds, pause_s=args.pause_s)
    return {"cpu_s": fast | slow, "difference_from_masked": differences}


def targets(results: dict) -> dict:
    """What was promised, next to what came out."""
    fifty = results["analysis"]["resnet50"]
    seconds = {name: job["median_s"] for name, job in fifty["cpu_s"].items()}
    candidate = {name: job["median_s"] for name, job in results["candidate"]["cpu_s"].items()}
    pairs = {
        "ResNet-50 analysis without self-check, s (3 forwards + 1 s)": (3 * seconds["forward"] + 1, seconds["evoprune"]),
        "forward passes of the self-check": (6, fifty["self_check_forwards"]),
        "memory of analysis and self-check above the model, MB": (1024, results["memory_mb"]["evoprune"]),
        "pickled ResNet-50 space, bytes": (1_000_000, fifty["pickle_bytes"]),
        "half-width CIFAR ResNet-18 against copy.deepcopy, s": (
            candidate["copy.deepcopy of the dense network"], candidate["evoprune.prune"],
        ),
    }  # fmt: skip
    return {
        name: {"limit": limit, "measured": measured, "held": measured is not None and measured <= limit}
        for name, (limit, measured) in pairs.items()
    }


def tables(results: dict) -> str:
    rows = ["| target | at most | measured | |", "|---|--:|--:|---|"]
    rows += [
        f"| {name} | {figure(row['limit'])} | {figure(row['measured'])} | {'held' if row['held'] else 'MISSED'} |"
        for name, row in results["targets"].items()
    ]
    jobs = list(results["analysis"]["resnet50"]["cpu_s"])
    rows += ["", "| analysis, CPU s | " + " | ".join(jobs) + " |", "|---|" + "--:|" * len(jobs)]
    for name, found in results["analysis"].items():
        rows.append(f"| {name} | " + " | ".join(figure(found["cpu_s"][job]["median_s"]) for job in jobs) + " |")
    rows += ["", "| analysis of ResNet-50 | peak memory above model and inputs, MB |", "|---|--:|"]
    rows += [f"| {name} | {figure(value)} |" for name, value in results["memory_mb"].items()]
    rows += ["", "| half-width CIFAR ResNet-18 | CPU ms |", "|---|--:|"]
    rows += [
        f"| {name} | {figure(1000 * job['median_s'])} |" for name, job in results["candidate"]["cpu_s"].items()
    ]  # fmt: skip
    names = list(next(iter(results["faults"].values())))
    rows += ["", "| construct | asked for | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for fault, by_library in results["faults"].items():
        for way in by_library[names[0]]:
            rows.append(f"| {fault} | {way} | " + " | ".join(by_library[name][way][0] for name in names) + " |")
    return "\n".join(rows)


def figure(value: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--pause-s", type=float, default=0.0, help="rest after each round, where others use the machine"
    )
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
