"""How far predicted latencies are from networks measured whole.

    python benchmarks/latency/accuracy.py --out benchmarks/latency/results.json       (--model, --batch, --runtime for a part)

For each network and batch a table is measured as a run does it. Then networks of random widths that neither the fit nor its check
has seen are pruned and timed whole, as a run times its finished network: some with widths in steps of 8, as searches keep them,
some with any widths, as criteria choose them. Prints a line for each, and writes JSON: errors as shares of the measured
latency (`median`, `worst`), and those of latencies as shares of the dense network's, which is measured by turns with them
(`share_median`, `share_worst`): a machine that is busier than it was for the table shifts the first, not the second. Besides, the
seconds that the table took, and the load of the machine before and after.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.latency.measure import inputs_at, measure_latency, processor_of
from evoprune.channels.latency.whole import random_choices
from evoprune.channels.surgery import prune
from evoprune.nn_utils.runtimes.names import EAGER, RUNTIMES
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.latency import forward_pass, measure_latency_ms
from evoprune.recipes.mnist_cnn import MnistCNN
from evoprune.recipes.resnet_cifar10 import ResNet20
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.space.latency_model import LatencyModel

CPU = torch.device("cpu")
MODELS = {"mnist-cnn": (MnistCNN, (1, 1, 28, 28)), "resnet20": (ResNet20, (1, 3, 32, 32))}
STEPS = {"steps of 8": 8, "any widths": 1}


def main() -> None:
    args = parse_arguments()
    document = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor_of(CPU),
        "torch": torch.__version__,
        "threads": 1,
        "runtime": args.runtime,
        "networks": args.networks,
        "rows": [],
    }
    for name in args.model or MODELS:
        for batch in args.batch or (1, 64, 256):
            row = measure(name, batch, args.networks, args.runtime)
            document["rows"].append(row)
            print(json.dumps(row), flush=True)
            if args.out is not None:
                args.out.write_text(json.dumps(document, indent=2) + "\n")


def measure(name: str, batch: int, networks: int, runtime: str) -> dict:
    kind, shape = MODELS[name]
    with isolated_rng(0):
        model, inputs = kind().eval(), torch.randn(shape)
    space = analyze(model, inputs)
    load, begun = os.getloadavg()[0], time.perf_counter()
    table = measure_latency(model, space, inputs, batch=batch, device=CPU, threads=1, runtime=runtime)
    seconds = time.perf_counter() - begun
    many = inputs_at(model, space, inputs, batch)
    predictor = LatencyModel(space.groups, table)
    return {
        "model": name,
        "batch": batch,
        "table_s": round(seconds, 1),
        "rounds": table.repeats,
        "spread": round(table.spread, 3),
        "dense_ms": round(table.dense_ms, 4),
        **{
            title: errors(
                model,
                space,
                random_choices(space, networks, SeedTree(7).child(title), step=step),
                many,
                predictor,
                runtime,
            )
            for title, step in STEPS.items()
        },
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def errors(model, space, choices, inputs, predictor, runtime) -> dict:
    choices = np.concatenate([np.ones((1, space.size), dtype=bool), choices])  # the dense network first
    with torch_threads(1), torch.inference_mode():
        runners = {
            str(number): forward_pass(prune(model, space.plan(row)).eval(), inputs, runtime)
            for number, row in enumerate(choices)
        }
        measured = np.array(list(measure_latency_ms(runners, repeats=30, most_s=20).values()))
    predicted = predictor.predict(choices)
    off = np.abs(predicted - measured)[1:] / measured[1:]
    shares, wanted = (ms[1:] / ms[0] for ms in (predicted, measured))
    off_share = np.abs(shares - wanted) / wanted
    return {
        "median": round(float(np.median(off)), 4),
        "worst": round(float(off.max()), 4),
        "share_median": round(float(np.median(off_share)), 4),
        "share_worst": round(float(off_share.max()), 4),
        "measured_ms": [round(float(one), 4) for one in measured],
        "predicted_ms": [round(float(one), 4) for one in predicted],
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--runtime", choices=RUNTIMES, default=EAGER)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
