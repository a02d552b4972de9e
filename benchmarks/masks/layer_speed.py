"""What one candidate mask of one layer costs: the whole masked network against `LayerReplay`.

    python benchmarks/masks/layer_speed.py

LeNet-5 on images cut from MNIST's training set, and CIFAR ResNet-20 on random images (their content makes no difference to the
time). Everything runs on one thread; figures are medians of CPU milliseconds per candidate, over candidates with different random
masks. Before anything is timed, the outputs of both ways are compared bit for bit. Writes `layer_speed.json` and prints the
tables that the README shows. Takes two to five minutes.
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

import torch
from torch import nn
from torch.nn import functional

from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.datasets.images import image_task, load_images
from evoprune.evaluation.replay.layer_replay import LayerReplay
from evoprune.evaluation.replay.recordings import same_bits
from evoprune.evaluation.replay.whole import run_whole
from evoprune.recipes.lenet5 import LeNet5
from evoprune.recipes.resnet_cifar10 import ResNet20
from evoprune.rng import isolated_rng

HERE = Path(__file__).parent
CPU = torch.device("cpu")
SEED = 0
MANY = 16
KEEP = 0.1
RESNET_LAYERS = ("conv1", "layer1.0.conv1", "layer1.2.conv2", "layer2.0.conv1", "layer2.2.conv2", "layer3.0.conv1",
                 "layer3.2.conv2")  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    args = parse_arguments()
    results = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {cpu_name()}",
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "seed": SEED,
        "command": " ".join(["python", "benchmarks/masks/layer_speed.py", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "weights_kept": KEEP,
        "networks": [network(*one, args.rounds) for one in networks(args.quick)],
        "stacked": stacked_products(args.rounds),
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


def networks(quick: bool) -> list:
    """-> (title, model, source, batch size, layers) of everything that is measured."""
    with isolated_rng(SEED):
        lenet, resnet = LeNet5().eval(), ResNet20().eval()
        randomise(resnet)
    data = load_images("mnist")
    found = [
        (f"LeNet-5, {size:,} images of MNIST", lenet, image_task(data, select_size=size, seed=SEED).select, 250,
         [name for name, module in lenet.named_modules() if hasattr(module, "weight")])
        for size in ((500,) if quick else (2000, 6000))
    ]  # fmt: skip
    names = dict(resnet.named_modules())
    head = next(name for name, module in names.items() if isinstance(module, nn.Linear))
    size = 100 if quick else 500
    layers = [name for name in (*RESNET_LAYERS, head) if name in names]
    return [*found, (f"ResNet-20, {size:,} random images of 32 x 32", resnet, random_images(size), 100, layers)]


def randomise(model: nn.Module) -> None:
    """Statistics and factors as after training, so that no value is trivially one or zero."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5)


def random_images(count: int) -> TensorSource:
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(SEED)).to(torch.uint8)
    return TensorSource(images, torch.arange(count) % 10, Preprocessing((0.5,) * 3, (0.25,) * 3))


def network(
    title: str, model: nn.Module, source: TensorSource, batch_size: int, layers: list[str], rounds: int
) -> dict:
    """All layers of one network, one at a time, and then together."""
    every = [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
    values = [candidate(model, every, seed) for seed in range(3)]
    slow_ms = median_ms([lambda one=one: score_whole(model, one, source, batch_size) for one in values])
    choices = {f"{name}.weight": [f"{name}.weight"] for name in layers} | {"all weights": every}
    at_once = 4 if slow_ms > 300 else MANY
    rows = {title: layer(model, names, source, batch_size, rounds, at_once) for title, names in choices.items()}
    return {
        "title": title, "samples": len(source), "batch_size": batch_size, "at_once": at_once, "slow_ms": slow_ms, "layers": rows,
    }  # fmt: skip


def layer(model, names: list[str], source: TensorSource, batch_size: int, rounds: int, at_once: int) -> dict:
    """One candidate of a layer, several at once, and both without any memory to keep batches in."""
    replay, construction_ms = constructed(model, names, source, batch_size)
    bare, _ = constructed(model, names, source, batch_size, memory_limit_bytes=0)
    values = [candidate(model, names, seed) for seed in range(max(rounds, at_once))]
    check(model, replay, values[0], source, batch_size)
    check(model, bare, values[0], source, batch_size)
    return {
        "replay_ms": median_ms([lambda one=one: score(replay, [one]) for one in values[:rounds]]),
        "many_ms": median_ms([lambda: score(replay, values[:at_once])] * 3) / at_once,
        "uncached_ms": median_ms([lambda one=one: score(bare, [one]) for one in values[:3]]),
        "uncached_many_ms": median_ms([lambda: score(bare, values[:at_once])]) / at_once,
        "construction_ms": construction_ms,
        "cached_bytes": replay.cached_bytes,
    }


def constructed(model, names, source, batch_size, **limits) -> tuple[LayerReplay, float]:
    started = time.process_time()
    replay = LayerReplay(model, names, source, device=CPU, batch_size=batch_size, **limits)
    return replay, 1000 * (time.process_time() - started)


def candidate(model: nn.Module, names: list[str], seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    own = {name: model.get_parameter(name).detach() for name in names}
    return {name: value * (torch.rand(value.shape, generator=generator) < KEEP) for name, value in own.items()}


def check(model, replay: LayerReplay, values: dict, source: TensorSource, batch_size: int) -> None:
    """Nothing is timed that runs the slow path, or differs from it in a bit."""
    whole = [run_whole(model, values, inputs) for inputs, _ in source.batches(batch_size, device=CPU)]
    if replay.reason is not None or not same_bits([outputs for outputs, _ in replay.outputs(values)], whole):
        raise SystemExit(f"replay is not the masked network: {replay.reason or 'the bits differ'}")


def score(replay: LayerReplay, values: list[dict]) -> list[int]:
    """Right answers of each candidate."""
    right = [0] * len(values)
    for outputs, targets in replay.outputs_of_many(values):
        for number, output in enumerate(outputs):
            right[number] += int((output.argmax(1) == targets).sum())
    return right


def score_whole(model: nn.Module, values: dict, source: TensorSource, batch_size: int) -> int:
    batches = source.batches(batch_size, device=CPU)
    return sum(int((run_whole(model, values, inputs).argmax(1) == targets).sum()) for inputs, targets in batches)


def stacked_products(rounds: int) -> list[dict]:
    """Eight candidates of a layer in one wider product, cut apart again, against one after the other."""
    rows = []
    generator = torch.Generator().manual_seed(SEED)
    for name, samples, shape, side in (
        ("LeNet-5 conv1", 250, (6, 1, 5, 5), 28), ("LeNet-5 conv2", 250, (16, 6, 5, 5), 14), ("LeNet-5 fc1", 250, (120, 400), 0),
        ("LeNet-5 fc2", 250, (84, 120), 0), ("LeNet-5 fc3", 250, (10, 84), 0), ("ResNet-20 stage 1", 100, (16, 16, 3, 3), 32),
        ("ResNet-20 stage 3", 100, (64, 64, 3, 3), 8),
    ):  # fmt: skip
        inputs = torch.randn(samples, shape[1], *([side] * (len(shape) - 2)), generator=generator)
        weights = [torch.randn(shape, generator=generator) for _ in range(8)]
        product = functional.linear if len(shape) == 2 else functional.conv2d

        def apart(inputs=inputs, weights=weights, product=product):
            return [product(inputs, weight) for weight in weights]

        def together(inputs=inputs, weights=weights, product=product, width=shape[0]):
            return [part.contiguous() for part in product(inputs, torch.cat(weights)).split(width, 1)]

        with torch.inference_mode():
            rows.append({
                "layer": name, "samples": samples, "same_bits": same_bits(apart(), together()),
                "apart_ms": median_ms([apart] * 5 * rounds) / 8, "together_ms": median_ms([together] * 5 * rounds) / 8,
            })  # fmt: skip
    return rows


def median_ms(jobs: list) -> float:
    """Median CPU milliseconds of the jobs, after the first has warmed up."""
    taken = []
    for job in (jobs[0], *jobs):
        started = time.process_time()
        job()
        taken.append(1000 * (time.process_time() - started))
    return statistics.median(taken[1:])


def tables(results: dict) -> str:
    rows = []
    for found in results["networks"]:
        rows += [
            f"{found['title']}, {found['batch_size']} a batch: {figure(found['slow_ms'])} ms for the whole masked network",
            "",
        ]
        rows += [
            f"| weights of | replay, ms | times less | {found['at_once']} at once, ms each | past the bound, ms "
            "| past it, at once, ms each | kept, MB | construction, ms |",
            "|---|" + "--:|" * 7,
        ]
        for name, row in found["layers"].items():
            times = found["slow_ms"] / row["replay_ms"]
            cells = [row["replay_ms"], times, row["many_ms"], row["uncached_ms"], row["uncached_many_ms"],
                     row["cached_bytes"] / 1e6, row["construction_ms"]]  # fmt: skip
            rows.append(f"| {name} | " + " | ".join(map(figure, cells)) + " |")
        rows.append("")
    rows += ["| one product | samples | one by one, ms | eight stacked, ms each | same bits |", "|---|--:|--:|--:|---|"]
    for row in results["stacked"]:
        cells = [str(row["samples"]), figure(row["apart_ms"]), figure(row["together_ms"])]
        rows.append(f"| {row['layer']} | " + " | ".join(cells) + f" | {'yes' if row['same_bits'] else 'no'} |")
    return "\n".join(rows)


def figure(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "layer_speed.json")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="few images: shows that the benchmark works, no more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
