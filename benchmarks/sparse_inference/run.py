"""What zeros are worth after training: time of sparse linear layers, and bytes on disk.

    python benchmarks/sparse_inference/run.py        (about a minute; --quick only shows that it works)

One thread; dense and sparse products take turns, and figures are medians. Layers and masks are random; LeNet-5 has its shipped
weights, the smallest of all layers together zeroed. Writes `results.json` and prints the tables that the README shows.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from evoprune.exporters.sparse_inference import to_csr
from evoprune.masks.apply import apply_masks, plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.weights import put_weights, read_weights, weight_bytes
from evoprune.recipes import lenet5, resnet_cifar10
from evoprune.rng import isolated_rng
from evoprune.store.sparse_weights import sparse_weight_bytes

HERE = Path(__file__).parent
SHIPPED = Path(lenet5.__file__).parent / "weights" / "lenet5-mnist.safetensors"
SIZES = ((84, 120), (120, 400), (512, 512), (1024, 4096), (4096, 4096))
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
HIGH = SPARSITIES[3:]
BATCHES = (1, 64)


def main():
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few sizes and repeats, nothing written")
    quick = parser.parse_args().quick
    repeats = 3 if quick else 31
    with isolated_rng(0):
        results = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}",
            "threads": torch.get_num_threads(),
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "command": " ".join(["python", "benchmarks/sparse_inference/run.py", *sys.argv[1:]]),
            "layers": [
                layer(*size, s, n, repeats)
                for size in SIZES[: 2 if quick else None]
                for s in SPARSITIES
                for n in BATCHES
            ],
            "lenet5": [network(s, n, repeats) for s in HIGH for n in BATCHES],
            "disk": [disk(name, s) for name in ("lenet5", "resnet18")[: 1 if quick else None] for s in HIGH],
        }
    if not quick:
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


def layer(outputs, inputs, sparsity, batch, repeats):
    """One random linear layer, measured as `to_csr` measures it."""
    model = nn.Sequential(nn.Linear(inputs, outputs))
    model[0].weight.data[torch.rand(outputs, inputs) < sparsity] = 0
    found = to_csr(model, torch.randn(batch, inputs), minimum_sparsity=0, repeats=repeats).layers[0]
    return {
        "outputs": outputs,
        "inputs": inputs,
        "sparsity": sparsity,
        "batch": batch,
        "dense_ms": found.dense_ms,
        "sparse_ms": found.sparse_ms,
        "converted": found.converted,
    }


def network(sparsity, batch, repeats):
    """LeNet-5 as a whole, with the layers converted that are faster."""
    masked, _ = masked_network("lenet5", sparsity)
    images = torch.randn(batch, 1, 28, 28)
    found = to_csr(masked, images, repeats=repeats)
    times = cpu_ms({"dense": masked, "sparse": found.model}, images, 10 * repeats)
    converted = [one.name for one in found.layers if one.converted]
    return {"sparsity": sparsity, "batch": batch, "converted": converted, **{f"{k}_ms": v for k, v in times.items()}}


def cpu_ms(models, images, repeats):
    """Median CPU milliseconds of a pass: long enough for other processes to cut in, which a clock on the wall would count."""
    times = {name: [] for name in models}
    with torch.inference_mode():
        for _ in range(repeats):
            for name, model in models.items():
                started = time.process_time()
                model(images)
                times[name].append(time.process_time() - started)
    return {name: 1000 * statistics.median(values[5:]) for name, values in times.items()}


def disk(name, sparsity):
    """Bytes of the sparse file and of the dense one."""
    masked, plan = masked_network(name, sparsity)
    sizes = {
        "sparse": len(sparse_weight_bytes(masked, plan)),
        "masks": len(plan.to_bytes()),
        "dense": len(weight_bytes(masked)),
    }
    return {"network": name, "sparsity": sparsity, **sizes, "share": sizes["sparse"] / sizes["dense"]}


def masked_network(name, sparsity):
    """The network with the smallest of all weights zeroed, and its plan."""
    if name == "lenet5":
        model = lenet5.LeNet5()
        put_weights(model, read_weights(SHIPPED), str(SHIPPED))
    else:
        model = resnet_cifar10.ResNet18()
    weights = {
        weight.name: model.get_parameter(weight.name).detach().abs().numpy() for weight in maskable_weights(model)
    }
    bound = np.quantile(np.concatenate([value.ravel() for value in weights.values()]), sparsity)
    plan = plan_of(model, {key: value > bound for key, value in weights.items()})
    return apply_masks(model.eval(), plan), plan


def cpu_name():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def tables(results):
    out = [
        "| layer | samples | " + " | ".join(f"{s:.0%}" for s in SPARSITIES) + " |",
        "|---|--:|" + "--:|" * len(SPARSITIES),
    ]
    cells = {
        (r["outputs"], r["inputs"], r["batch"], r["sparsity"]): r["dense_ms"] / r["sparse_ms"]
        for r in results["layers"]
    }
    for outputs, inputs, batch in dict.fromkeys(key[:3] for key in cells):
        row = " | ".join(f"{cells[outputs, inputs, batch, s]:.2f}" for s in SPARSITIES)
        out.append(f"| {outputs} x {inputs} | {batch} | {row} |")
    out += ["", "| LeNet-5 | samples | converted | dense ms | sparse ms | times faster |", "|---|--:|---|--:|--:|--:|"]
    for r in results["lenet5"]:
        names = ", ".join(r["converted"]) or "none"
        ratio = f"{r['dense_ms'] / r['sparse_ms']:.2f}" if r["converted"] else "-"
        out.append(
            f"| {r['sparsity']:.0%} | {r['batch']} | {names} | {r['dense_ms']:.3f} | {r['sparse_ms']:.3f} | {ratio} |"
        )
    out += [
        "",
        "| network | sparsity | dense bytes | sparse bytes | share | masks alone |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for r in results["disk"]:
        out.append(
            f"| {r['network']} | {r['sparsity']:.0%} | {r['dense']:,} | {r['sparse']:,} | {r['share']:.1%} | {r['masks']:,} |"
        )
    return "\n".join(out)


if __name__ == "__main__":
    main()
