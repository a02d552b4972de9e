"""Whether breeding pays on a network of many groups: children against random networks, and against more candidates at the start.

    python benchmarks/quality/breeding.py --out runs/breeding --keep 0.1 --seeds 0 1 2
    python benchmarks/quality/breeding.py --out runs/breeding --table

The network is a residual one with bottlenecks, 33 groups of channels, trained on Fashion-MNIST here. A cell is a budget of MACs,
a seed and one of these ways to spend the same compute:

- bred: the search ladder as it is: half of a generation are children of those that go on, with a parent's weights;
- strangers: random networks in place of the children, brought onto the budget, with the same parent's weights;
- halving: no new networks after the first generation, which is twice as large instead.

The first generation holds the cuts of all criteria in each of them (`--seeding none`: in none). What they come to is judged by
the loss on select, and after an epoch of retraining by the accuracy on 9,000 images that are cut from the training set. The
test set is not used.
"""

import argparse
import json
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from run import correctness
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import evoprune as ep
from evoprune.data.tensors import TensorSource
from evoprune.datasets.images import load_images
from evoprune.rng import isolated_rng
from evoprune.search import ladder as ladder_module
from evoprune.search.base import SearchFactory, SearchSettings
from evoprune.search.ladder import LadderSearch
from evoprune.search.mating import Child, Tournaments
from evoprune.search.ranking import by_fitness
from evoprune.search.variation import Variation, variation_of
from evoprune.store.journal import read_journal

WAYS = ("bred", "strangers", "halving")
SELECT, JUDGED = 6_000, 9_000
SEARCH_EPOCHS = 8 * 0.25 / (1 - 0.25)
"""Epochs of training that the search is worth: a quarter of the compute of a run with eight epochs of retraining."""


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a residual stream."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, features: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(features)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(features + self.bn3(self.conv3(inner)))


class Deep(nn.Sequential):
    """Three stages of five bottlenecks for images of 28 x 28, the first of 14 x 14."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        before = 1
        for width in (24, 48, 96):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [Bottleneck(width, width // 2) for _ in range(5)]
            before = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


class Strangers:
    """Random networks that begin with the weights of a parent, drawn as `Tournaments` draws it."""

    def __init__(self, variation: Variation, settings: SearchSettings) -> None:
        self._variation, self._settings = variation, settings

    def children(self, parents, generator):
        start = parents[int(generator.integers(len(parents), size=self._settings.tournament_size).min())]
        yield Child(self._variation.sample(generator), start, (start, start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/breeding"))
    parser.add_argument("--keep", nargs="+", type=float, default=[0.1], help="shares of the MACs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeding", choices=["criteria", "none"], default="criteria")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of the search, key=value")
    parser.add_argument("--table", action="store_true", help="show what is there, and measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in () if args.table else args.seeds:
        for keep in args.keep:
            for way in args.ways:
                path = args.out / f"{way}-{args.seeding}-{keep:g}-{seed}.json"
                if not path.exists():
                    cell = measure(args, way, keep, seed)
                    path.write_text(json.dumps(cell, indent=1) + "\n")
                    print(path.name, cell["select_loss"], cell["searched"], cell["retrained"], flush=True)
    print(table(args.out))


def measure(args: argparse.Namespace, way: str, keep: float, seed: int) -> dict:
    """One cell."""
    started = time.process_time()
    model, task = trained_network(args.out, seed)
    with patch.object(
        ladder_module, "ladder", searches()[way]
    ):  # which the name `ladder` stands for; no setting chooses these
        result = ep.evolve(
            model, task, torch.zeros(1, 1, 28, 28), seed=seed, config=settings(args, way, keep),
            out=args.out / f"run-{way}-{args.seeding}-{keep:g}-{seed}",
        )  # fmt: skip
    entries = [one for one in read_journal(result.directory / "evaluations.jsonl") if one.evaluation.objectives]
    by_generation: dict[int, list[float]] = {}
    for one in entries:
        by_generation.setdefault(one.generation, []).append(one.evaluation.objectives["loss"])
    events = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
    return {
        "way": way,
        "seeding": args.seeding,
        "keep": keep,
        "seed": seed,
        "settings": args.set,
        "losses": list(by_generation.values()),
        "select_loss": min(by_generation[max(by_generation)]),
        "dense": float(correctness(model.eval(), task).mean()),
        "retrained": float(correctness(result.best.model.eval(), task).mean()),
        "macs": result.comparison["pruned"]["macs"] / result.comparison["baseline"]["macs"],
        "searched": sum(one["cpu_s"] for one in events if one["event"] == "StageEnded" and one["stage"] == "search"),
        "cpu_s": time.process_time() - started,
        "torch": torch.__version__,
    }


def searches() -> dict[str, SearchFactory]:
    """The search of each way."""

    def strangers(representation, settings, *, objectives, seed):  # noqa: ARG001 - of the seam
        mating = Strangers(variation_of(representation, settings), settings)
        return LadderSearch(representation, settings, seed=seed, best_first=by_fitness, mating=mating)

    def halving(representation, settings, *, objectives, seed):  # noqa: ARG001 - of the seam
        mating = Tournaments(variation_of(representation, settings), settings)
        return LadderSearch(representation, settings, seed=seed, best_first=by_fitness, mating=mating, surviving=1.0)

    return {"bred": ladder_module.ladder, "strangers": strangers, "halving": halving}


def settings(args: argparse.Namespace, way: str, keep: float) -> dict:
    """Settings of one way."""
    found = {
        "search": {
            "constraints": [f"macs<={keep}"],
            "round_to": 1,
            "baselines": "none",
            "seeding": args.seeding,
            "share": SEARCH_EPOCHS / (SEARCH_EPOCHS + 1),
        },
        "training": {"retrain_epochs": 1.0, "retrain_lr": 0.01, "finetune_batch_size": 64},
        "execution": {"training_threads": 1, "workers": 1},
    }
    if way == "halving":
        found["ga"] = {"pop_size": 48}
    for assignment in args.set:
        key, value = assignment.split("=", 1)
        section, name = key.split(".")
        found.setdefault(section, {})[name] = json.loads(value)
    return found


def trained_network(out: Path, seed: int) -> tuple[nn.Module, ep.Task]:
    """The dense network of a seed, trained once for all its cells, and the task."""
    data = load_images("fashion-mnist")
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(data.train_labels)))
    judged, select, train = rows[:JUDGED], rows[JUDGED : JUDGED + SELECT], rows[JUDGED + SELECT :]
    sources = [TensorSource(data.train_images, data.train_labels, data.preprocessing, some) for some in (train, select)]
    judge = TensorSource(data.train_images, data.train_labels, data.preprocessing, judged)
    task = ep.Task(train=sources[0], val=sources[1], test=judge, class_names=data.class_names)
    with isolated_rng(seed):
        model = Deep()
    path = out / f"run-dense-{seed}" / "baseline/model.safetensors"
    if not path.exists():
        dense = {
            "training": {"epochs": 4, "lr": 0.005, "batch_size": 128, "retrain_epochs": 0.01},
            "search": {"baselines": "none", "criteria": ["l1"], "constraints": ["macs<=0.5"]},
            "ga": {"pop_size": 2, "num_generations": 1},
            "execution": {"training_threads": 1, "workers": 1},
        }
        ep.evolve(model, task, torch.zeros(1, 1, 28, 28), config=dense, seed=seed, out=path.parents[1])
    model.load_state_dict(load_file(path))
    return model, task


def table(out: Path) -> str:
    """The cells as a Markdown table: means over the seeds."""
    cells: dict[tuple, list[dict]] = {}
    for path in sorted(out.glob("*.json")):
        cell = json.loads(path.read_text())
        cells.setdefault((cell["seeding"], -cell["keep"], WAYS.index(cell["way"])), []).append(cell)
    rows = [
        "| first generation | fewer MACs | | seeds | best loss on select | accuracy after an epoch, % | mean | CPU s of search |",
        "|---|--:|---|--:|---|---|--:|--:|",
    ]
    for (seeding, keep, way), found in sorted(cells.items()):
        losses = ", ".join(f"{one['select_loss']:.3f}" for one in found)
        right = ", ".join(f"{100 * one['retrained']:.2f}" for one in found)
        mean = 100 * np.mean([one["retrained"] for one in found])
        spent = np.mean([one["searched"] for one in found])
        first = "criteria" if seeding == "criteria" else "random"
        rows.append(
            f"| {first} | {100 * (1 + keep):g} % | {WAYS[way]} | {len(found)} | {losses} | {right} | {mean:.2f} | {spent:.0f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
