"""evoprune against a straightforward script for the same job, side by side in one run.

    make bench            (or: python benchmarks/naive_mnist/run.py)

Three comparisons, all starting from the same trained baseline, split and fitness weights, one thread for each candidate:

1. the same population, generations and fine-tune epochs on both sides: CPU seconds of the search;
2. the default recipe against the whole naive script: CPU seconds of the search, final accuracy and MACs, for several seeds;
3. what evoprune adds to a candidate on top of a bare training loop over the same batches.

Writes `results.json` and prints the table that the README shows. Takes about 20 minutes on two cores; what is complete in the
output directory is not run again.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import evoprune
from evoprune.caching import cache_directory
from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.config.recipes import resolve_recipe_config
from evoprune.config.schema import Config
from evoprune.evaluation.base import evaluate
from evoprune.run.channel_work import CandidateWork
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.common import constraints_of, training_plan, wanted_measures, workplace_of
from evoprune.run.factories.stored import recipe_source
from evoprune.run.workplace import SCORING_BATCH
from evoprune.seeding import SeedTree
from evoprune.store.journal import read_journal

HERE = Path(__file__).parent
POPULATION, GENERATIONS, FINETUNE_EPOCHS = 10, 5, 1
CLASSIC = {"search": {"preset": "classic"}, "training": {"distill": 0}}
QUICK = ["--set", "training.epochs=0.1", "--set", "training.retrain_epochs=0.1"]


def main() -> None:
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = [default_run(seed, args) for seed in range(args.seeds)]
    naive = naive_run(args)
    equal = equal_run(args)
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}",
        "torch": torch.__version__,
        "evoprune": evoprune.__version__,
        "command": " ".join(["python", "benchmarks/naive_mnist/run.py", *sys.argv[1:]]),
        "naive": naive,
        "equal_budget": equal,
        "default_recipe": runs,
        "overhead": overhead(args),
    }
    results["ratios"] = ratios(results)
    (args.out if args.quick else HERE).joinpath("results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def default_run(seed: int, args: argparse.Namespace) -> dict:
    """`evoprune run mnist-cnn --set search.preset=classic --seed SEED`, in one process like the naive script.

    The result is the same for any number of workers; CPU seconds of two processes that share a core's units are not.
    """
    directory = args.out / f"default-{seed}"
    evolve(["mnist-cnn", "--out", directory, "--seed", seed, "--workers", 1, *(QUICK if args.quick else [])])
    return describe(directory, seed)


def equal_run(args: argparse.Namespace) -> dict:
    """evoprune with the naive script's population, generations and fine-tune epochs, in one process."""
    directory = args.out / "equal"
    settings = {
        "data.checkpoint": args.out / "default-0/baseline/model.safetensors",
        "ga.pop_size": POPULATION,
        "ga.num_generations": GENERATIONS,
        "ga.initial_keep": "[0.5,0.5]",
        "ga.elitism": 1,
        "training.finetune_batch_size": "null",
        "training.finetune_epochs": 0.01 if args.quick else FINETUNE_EPOCHS,
        "fidelity.select_samples": "null",
    }
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    evolve(["mnist-cnn", "--out", directory, "--seed", 0, "--workers", 1, *flags, *(QUICK if args.quick else [])])
    return describe(directory, 0)


def evolve(arguments: list) -> None:
    preset = ["--set", "search.preset=classic", "--set", "training.distill=0"]
    subprocess.run([sys.executable, "-m", "evoprune", "run", *map(str, arguments), *preset], check=True)


def describe(directory: Path, seed: int) -> dict:
    """The figures of one run directory."""
    comparison = json.loads((directory / "comparison.json").read_text())
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    stages = {event["stage"]: event for event in events if event["event"] == "StageEnded"}
    costs = [event["cost"]["cpu_s"] for event in events if event["event"] == "CandidateEvaluated" and event["cost"]]
    return {
        "seed": seed,
        "candidates": len(costs),
        "median_candidate_cpu_s": statistics.median(costs),
        "mean_macs": statistics.mean(
            event["evaluation"]["objectives"]["macs"] for event in events if event["event"] == "CandidateEvaluated"
        ),
        "search_cpu_s": stages["search"]["cpu_s"],
        "search_wall_s": stages["search"]["wall_s"],
        **{
            f"{name}_{key}": comparison[name][key]
            for name in ("baseline", "pruned")
            for key in ("accuracy", "macs", "params")
        },
    }


def naive_run(args: argparse.Namespace) -> dict:
    """The naive script, whole, from the baseline and with the split of the default recipe's seed 0."""
    config = default_config()
    settings = {
        "data": cache_directory() / "mnist",
        "baseline": args.out / "default-0/baseline/model.safetensors",
        "split-seed": SeedTree(0).child("recipe", "mnist", "split").seed,
        "seed": 0,
        "population": POPULATION,
        "generations": GENERATIONS,
        "finetune-epochs": FINETUNE_EPOCHS,
        "retrain-epochs": round(config.training.retrain_epochs),
        "batch-size": config.training.batch_size,
        "w-acc": config.fitness.w_acc,
        "w-macs": config.fitness.w_macs,
        "mutation-rate": config.ga.mutation_rate,
        "crossover-rate": config.ga.crossover_rate,
        "tournament-size": config.ga.tournament_size,
        "out": args.out / "naive.json",
    }
    flags = [str(part) for key, value in settings.items() for part in (f"--{key}", value)]
    if args.quick:
        flags += ["--limit-train", "500"]
    report = args.out / "naive.json"
    if not report.exists() or "final" not in json.loads(report.read_text()):
        subprocess.run([sys.executable, str(HERE / "naive.py"), *flags], check=True)
    document = json.loads(report.read_text())
    return {
        "seed": 0,
        "candidates": len(document["candidates"]),
        "median_candidate_cpu_s": document["median_candidate_cpu_s"],
        "mean_macs": statistics.mean(candidate["macs"] for candidate in document["candidates"]),
        "search_cpu_s": document["search_cpu_s"],
        "search_wall_s": document["search_wall_s"],
        "pruned_accuracy": document["final"]["test_accuracy"],
        "pruned_macs": document["final"]["macs"],
        "pruned_params": document["final"]["params"],
    }


def default_config() -> Config:
    """The setting that the naive script has: bits, bred by accuracy after a brief fine-tuning and the MACs saved."""
    return resolve_recipe_config("mnist-cnn", CLASSIC)


def overhead(args: argparse.Namespace) -> dict:
    """CPU seconds of `evaluate` over those of a bare loop that trains and scores the same networks, by turns."""
    torch.set_num_threads(1)
    config, directory = default_config(), args.out / "default-0"
    source = recipe_source(config)
    problem = source.load()
    space = analyze(problem.model, problem.example_inputs)
    work = CandidateWork(
        channel_target(config).encoding(space),
        wanted_measures(config),
        constraints_of(config),
        training_plan(config),
        workplace_of(config).laid_out(channels_last=False),
        source,
        directory / "baseline/model.safetensors",
        space.workload.samples,
        {"accuracy": 1.0, "macs": 1.0},
        SeedTree(config.run.seed),
    )
    bench = work.evaluator()
    genomes = [entry.genome for entry in read_journal(directory / "evaluations.jsonl")[-args.overhead_candidates :]]
    ratios = []
    for genome in [genomes[0], *genomes]:
        started = time.process_time()
        evaluate(bench, genome)
        whole = time.process_time() - started
        ratios.append(whole / bare_candidate(bench, genome))
    return {"candidates": len(genomes), "median_ratio": statistics.median(ratios[1:]), "max_ratio": max(ratios[1:])}


def bare_candidate(bench, genome) -> float:
    """CPU seconds of forward, backward and optimiser steps, and of scoring, with nothing around them."""
    fidelity = bench.fidelities[0]
    model = prune(bench.model, bench.encoding.decode(genome)).train()
    batches = list(
        zip(range(fidelity.schedule.steps), train_batches(bench, fidelity.schedule.batch_size), strict=False)
    )
    select = list(bench.task.select.head(fidelity.select_samples).batches(SCORING_BATCH, device=bench.device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=fidelity.schedule.lr)
    started = time.process_time()
    with torch.no_grad():
        for _, (images, _) in batches[: fidelity.recalibrate_batches]:
            model(images)
    for _, (images, labels) in batches:
        optimizer.zero_grad()
        bench.task.loss(model(images), labels).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        correct = sum((model(images).argmax(1) == labels).sum() for images, labels in select)
    assert int(correct) > 0
    return time.process_time() - started


def train_batches(bench, batch_size):
    return bench.task.train.batches(batch_size, device=bench.device, seed=0)


def ratios(results: dict) -> dict:
    naive, runs = results["naive"], results["default_recipe"]
    return {
        "equal_budget_search": naive["search_cpu_s"] / results["equal_budget"]["search_cpu_s"],
        "equal_budget_candidate": naive["median_candidate_cpu_s"] / results["equal_budget"]["median_candidate_cpu_s"],
        "default_search": [naive["search_cpu_s"] / run["search_cpu_s"] for run in runs],
    }


def table(results: dict) -> str:
    naive, equal, runs = results["naive"], results["equal_budget"], results["default_recipe"]
    rows = [
        "| run | candidates | CPU s per candidate (median) | CPU s, search | times less | final test accuracy | final MACs |"
    ]
    rows.append("|---|--:|--:|--:|--:|--:|--:|")
    for label, run in [("naive script", naive), ("evoprune, same budget", equal)] + [
        (f"evoprune, default recipe, seed {run['seed']}", run) for run in runs
    ]:
        rows.append(
            f"| {label} | {run['candidates']} | {run['median_candidate_cpu_s']:.2f} | {run['search_cpu_s']:.0f} "
            f"| {naive['search_cpu_s'] / run['search_cpu_s']:.1f} | {100 * run['pruned_accuracy']:.2f} % "
            f"| {run['pruned_macs']:,} |"
        )
    engine = results["overhead"]
    rows.append("")
    rows.append(
        f"Engine cost per candidate: {100 * (engine['median_ratio'] - 1):+.1f} % over the bare loop "
        f"(median of {engine['candidates']} candidates)."
    )
    return "\n".join(rows)


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench-naive-mnist"), help="a new directory, or one to go on in"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--overhead-candidates", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="hardly train anything: does the benchmark itself work?")
    return parser.parse_args()


if __name__ == "__main__":
    main()
