"""The way of the README from Python, on a network that used to end the process: a small ResNet on Fashion-MNIST, seed by seed.

    python benchmarks/crashes/resnet_fashion.py --seeds 0 1 2 3

Each seed runs in a process of its own with the default settings but for their length: 2 threads, layout and isolation as evoprune
chooses. The network has what crashed in torch's backward pass: a strided 1x1 convolution in each shortcut that halves the image,
widths between 8 and 32, and batches that don't divide the data. A line of JSON per seed says how the process ended.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import evoprune as ep
from evoprune.recipes.fashion_mnist_cnn import fashion_mnist_cnn
from evoprune.rng import isolated_rng

SETTINGS = {
    "training": {"epochs": 1, "retrain_epochs": 1, "batch_size": 500, "finetune_batch_size": 125},
    "ga": {"pop_size": 8, "num_generations": 3},
    "fidelity": {"select_samples": 1000},
}


class Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(self.bn1(self.conv1(images)).relu()))
        return (inner + self.shortcut(images)).relu()


class SmallResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 22, 2), Block(22, 32, 2))
        self.fc = nn.Linear(32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.blocks(self.bn(self.stem(images)).relu()).mean((2, 3)))


def run(seed: int) -> None:
    """One run, in this process; its table goes to standard output."""
    _, task, example_inputs = fashion_mnist_cnn(seed=seed)
    with isolated_rng(seed):
        model = SmallResNet()
    with tempfile.TemporaryDirectory() as folder:
        result = ep.evolve(
            model, task, example_inputs, constraints=["macs<=0.5"], seed=seed, out=Path(folder) / "run", config=SETTINGS
        )
        document = json.loads((Path(folder) / "run/manifest.json").read_text())
        figures = {name: dict(result.comparison[name]) for name in ("baseline", "pruned")}
    print(json.dumps({"crashes": document.get("crashes", {}), "layout": document.get("layout"), **figures}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone is not None:
        run(args.alone)
        return
    for seed in args.seeds:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, "--alone", str(seed)],
            capture_output=True,
            text=True,
            check=False,
        )
        line = {"seed": seed, "exit_code": done.returncode, "seconds": round(time.perf_counter() - started)}
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-500:]}
        print(json.dumps(line | found), flush=True)


if __name__ == "__main__":
    main()
