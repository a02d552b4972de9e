"""Whether networks that are planned to take so many milliseconds take them.

    python benchmarks/latency/budget.py            (--batch 64 --runtime onnxruntime --round-to 16)

For the MNIST CNN (that of Fashion-MNIST has the same shapes), random proportions of widths are brought onto budgets of 30, 50
and 70 % of the dense latency as searches do, and the networks are timed whole in the same runtime, by turns with the dense one.
Prints JSON: latency measured over budget, for each.
"""

import argparse
import json
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.latency.measure import inputs_at, measure_latency
from evoprune.channels.prunable_groups import PrunableGroups
from evoprune.channels.surgery import prune
from evoprune.nn_utils.runtimes.names import EAGER, RUNTIMES
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.latency import forward_pass, measure_latency_ms
from evoprune.recipes.mnist_cnn import MnistCNN
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.space.budget import Budget
from evoprune.space.latency_model import LatencyModel

CPU = torch.device("cpu")
SHARES = (0.3, 0.5, 0.7)
EACH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--runtime", choices=RUNTIMES, default=EAGER)
    parser.add_argument("--round-to", type=int, default=8)
    batch, runtime = (args := parser.parse_args()).batch, args.runtime
    with isolated_rng(0):
        model, example_inputs = MnistCNN().eval(), torch.randn(1, 1, 28, 28)
    space = analyze(model, example_inputs)
    table = measure_latency(
        model, space, example_inputs, batch=batch, device=CPU, threads=1, runtime=runtime, notify=say
    )
    predict = LatencyModel(space.groups, table).predict
    rows = {"dense": np.ones(space.size, dtype=bool)}
    for share in SHARES:
        budget = Budget({"latency_ms": predict}, {"latency_ms": share * table.predicted_dense_ms})
        rows |= {f"{share} {seed}": planned(space, budget, seed, args.round_to) for seed in range(EACH)}
    inputs = inputs_at(model, space, example_inputs, batch)
    with torch_threads(1), torch.inference_mode():
        runners = {
            name: forward_pass(prune(model, space.plan(row)).eval(), inputs, runtime) for name, row in rows.items()
        }
        # By turns with the dense network alone, as a run measures what it has finished.
        turns = {
            name: measure_latency_ms({"dense": runners["dense"], name: runner}, most_s=3)
            for name, runner in runners.items()
        }
    document = {
        "batch": batch,
        "runtime": table.conditions.runtime,
        "round_to": args.round_to,
        "load": os.getloadavg()[0],
        "table_error": [round(table.check.median, 4), round(table.check.worst, 4)],
        "dense_ms": {
            "in the table": round(table.dense_ms, 4),
            "now": round(float(np.median([turn["dense"] for turn in turns.values()])), 4),
        },
        "planned_share": {name: round(float(predict(row)) / table.predicted_dense_ms, 3) for name, row in rows.items()},
        "planned_ms": {name: round(float(predict(row)), 4) for name, row in rows.items()},
        "measured_ms": {name: round(turn[name], 4) for name, turn in turns.items()},
        "measured_share": {name: round(turn[name] / turn["dense"], 3) for name, turn in turns.items()},
        "ms_over_budget": {
            name: round(turn[name] / (float(name.split()[0]) * table.predicted_dense_ms), 3)
            for name, turn in turns.items()
            if name != "dense"
        },
    }
    print(json.dumps(document, indent=2))


def say(event):
    print(event.detail, file=sys.stderr)


def planned(space, budget, seed, round_to):
    """Units of random proportions of widths, brought onto the budget."""
    prunable = PrunableGroups(space, layer_types=None, round_to=round_to, budget=budget)
    draws = SeedTree(seed).child("wished").generator()
    wished = prunable.projection.widths.sizes * draws.uniform(0.2, 1.0, len(prunable.groups))
    ranks = np.concatenate([np.arange(group.size, dtype=np.int32) for group in prunable.groups])
    widths = prunable.projection.project(wished, ranks, fill=True)
    return prunable.projection.whole(prunable.projection.bits(widths, ranks))


if __name__ == "__main__":
    main()
