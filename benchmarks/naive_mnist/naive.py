"""Genetic channel pruning of an MNIST CNN written straight down, without evoprune: the yardstick of this benchmark.

What a competent person writes in an afternoon with torch, numpy and Pillow: a Dataset with per-sample transforms (the three
that torchvision would apply), a DataLoader, a genetic algorithm on lists of booleans, and for each candidate a deep copy that is
rebuilt smaller and fine-tuned. Nothing is cached, and nothing is slower than it has to be for that.

    python benchmarks/naive_mnist/naive.py --data DIR --out naive.json

DIR holds the four raw IDX files. CPU seconds are those of this process, which does all the work.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from PIL import Image
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

MEAN, STD = (0.1307,), (0.3081,)
SELECT_SIZE = 6000


# Data: what torchvision's MNIST, ToTensor and Normalize do, spelled out so that torchvision is not needed.


def to_tensor(image):
    array = np.array(image, dtype=np.uint8, copy=True)
    tensor = torch.from_numpy(array).view(image.size[1], image.size[0], 1).permute(2, 0, 1).contiguous()
    return tensor.to(dtype=torch.float32).div(255)


def normalize(tensor):
    mean, std = torch.as_tensor(MEAN).view(-1, 1, 1), torch.as_tensor(STD).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std)


class MNIST(Dataset):
    def __init__(self, folder, prefix):
        images = np.frombuffer((folder / f"{prefix}-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
        self.images = images.reshape(-1, 28, 28)
        labels = np.frombuffer((folder / f"{prefix}-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
        self.labels = labels.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return normalize(to_tensor(Image.fromarray(self.images[index]))), self.labels[index]


def load_data(args):
    full, test = MNIST(args.data, "train"), MNIST(args.data, "t10k")
    split_seed = args.seed if args.split_seed is None else args.split_seed
    rows = np.random.default_rng(split_seed).permutation(len(full)).tolist()
    train, select = Subset(full, rows[SELECT_SIZE:]), Subset(full, rows[:SELECT_SIZE])
    if args.limit_train:
        train, select, test = (Subset(part, range(args.limit_train)) for part in (train, select, test))
    return train, select, test


# Network: conv, BatchNorm, ReLU, pool, twice, then two linear layers; the parameter names of evoprune's MnistCNN.


class CNN(nn.Module):
    def __init__(self, conv1=32, conv2=64):
        super().__init__()
        self.conv1 = nn.Conv2d(1, conv1, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(conv1)
        self.conv2 = nn.Conv2d(conv1, conv2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(conv2)
        self.fc1 = nn.Linear(conv2 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def count_macs(model):
    conv1, conv2 = model.conv1.out_channels, model.conv2.out_channels
    return 28 * 28 * 9 * conv1 + 14 * 14 * 9 * conv1 * conv2 + 49 * conv2 * 128 + 128 * 10


def count_params(model):
    return sum(parameter.numel() for parameter in model.parameters())


def train(model, dataset, epochs, args):
    loader = DataLoader(dataset, batch_size=args.batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    model.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


@torch.no_grad()
def accuracy(model, dataset):
    model.eval()
    correct = 0
    for images, labels in DataLoader(dataset, batch_size=1000):
        correct += (model(images).argmax(1) == labels).sum().item()
    return correct / len(dataset)


# Pruning: copy the network, put smaller layers in, fill them slice by slice.


def prune(baseline, genome):
    keep1 = [i for i in range(32) if genome[i]]
    keep2 = [i for i in range(64) if genome[32 + i]]
    small = copy.deepcopy(baseline)
    small.conv1 = nn.Conv2d(1, len(keep1), 3, padding=1, bias=False)
    small.conv2 = nn.Conv2d(len(keep1), len(keep2), 3, padding=1, bias=False)
    small.bn1, small.bn2 = nn.BatchNorm2d(len(keep1)), nn.BatchNorm2d(len(keep2))
    small.fc1 = nn.Linear(len(keep2) * 7 * 7, 128)
    with torch.no_grad():
        for new, old in enumerate(keep1):
            small.conv1.weight[new] = baseline.conv1.weight[old]
            copy_batch_norm(small.bn1, new, baseline.bn1, old)
        for new, old in enumerate(keep2):
            small.conv2.weight[new] = baseline.conv2.weight[old][keep1]
            copy_batch_norm(small.bn2, new, baseline.bn2, old)
            small.fc1.weight[:, new * 49 : (new + 1) * 49] = baseline.fc1.weight[:, old * 49 : (old + 1) * 49]
        small.fc1.bias.copy_(baseline.fc1.bias)
    return small


def copy_batch_norm(small, new, dense, old):
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(small, name)[new] = getattr(dense, name)[old]


# Genetic algorithm on lists of booleans.


def repair(genome, rng):
    for start, end in ((0, 32), (32, 96)):
        if not any(genome[start:end]):
            genome[int(rng.integers(start, end))] = True
    return genome


def tournament(population, fitness, args, rng):
    chosen = rng.choice(len(population), size=min(args.tournament_size, len(population)), replace=False)
    return population[max(chosen, key=lambda i: fitness[i])]


def next_population(population, fitness, args, rng):
    elite = population[int(np.argmax(fitness))]
    children = [list(elite)]
    while len(children) < args.population:
        child = list(tournament(population, fitness, args, rng))
        other = tournament(population, fitness, args, rng)
        if rng.random() < args.crossover_rate:
            child = [a if rng.random() < 0.5 else b for a, b in zip(child, other, strict=True)]
        child = [not bit if rng.random() < args.mutation_rate else bit for bit in child]
        children.append(repair(child, rng))
    return children


def evaluate(baseline, genome, train_set, select_set, args):
    started = time.process_time()
    model = prune(baseline, genome)
    train(model, train_set, args.finetune_epochs, args)
    score, macs = accuracy(model, select_set), count_macs(model)
    fitness = args.w_acc * score + args.w_macs * (1 - macs / count_macs(baseline))
    return {
        "conv1": sum(genome[:32]),
        "conv2": sum(genome[32:]),
        "select_accuracy": score,
        "macs": macs,
        "fitness": fitness,
        "cpu_s": time.process_time() - started,
    }


def search(baseline, train_set, select_set, args, rng, report):
    population = [repair((rng.random(96) < args.initial_keep).tolist(), rng) for _ in range(args.population)]
    best, best_fitness = population[0], float("-inf")
    for generation in range(args.generations):
        fitness = []
        for genome in population:
            result = evaluate(baseline, genome, train_set, select_set, args)
            fitness.append(result["fitness"])
            if result["fitness"] > best_fitness:
                best, best_fitness = genome, result["fitness"]
            report.candidate(generation, result)
        if generation + 1 < args.generations:
            population = next_population(population, fitness, args, rng)
    return best


# The whole job.


class Report:
    """Everything known so far, written again after each candidate."""

    def __init__(self, args):
        self.path = args.out
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
        self.document = {"settings": settings, "torch": torch.__version__, "candidates": []}

    def add(self, **values):
        self.document.update(values)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.document, indent=1) + "\n")

    def candidate(self, generation, result):
        self.document["candidates"].append({"generation": generation, **result})
        self.add()
        print(
            f"generation {generation + 1}: {result['conv1']}+{result['conv2']} channels, "
            f"accuracy {result['select_accuracy']:.4f}, fitness {result['fitness']:.4f}, {result['cpu_s']:.1f} CPU s",
            flush=True,
        )


def describe(model, test_set):
    return {"test_accuracy": accuracy(model, test_set), "macs": count_macs(model), "params": count_params(model)}


def get_baseline(train_set, args):
    model = CNN()
    if args.baseline:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(args.baseline))
    else:
        train(model, train_set, args.baseline_epochs, args)
    return model


def timed(function, *arguments):
    cpu, wall = time.process_time(), time.perf_counter()
    result = function(*arguments)
    return result, time.process_time() - cpu, time.perf_counter() - wall


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)  # noqa: TID251 - a script of its own, seeded as scripts are
    rng = np.random.default_rng(args.seed)
    train_set, select_set, test_set = load_data(args)
    report = Report(args)

    baseline, cpu, wall = timed(get_baseline, train_set, args)
    report.add(baseline={**describe(baseline, test_set), "cpu_s": cpu, "wall_s": wall})
    best, cpu, wall = timed(search, baseline, train_set, select_set, args, rng, report)
    seconds = [candidate["cpu_s"] for candidate in report.document["candidates"]]
    report.add(search_cpu_s=cpu, search_wall_s=wall, median_candidate_cpu_s=float(np.median(seconds)))

    final = prune(baseline, best)
    _, cpu, wall = timed(train, final, ConcatDataset([train_set, select_set]), args.retrain_epochs, args)
    report.add(final={**describe(final, test_set), "cpu_s": cpu, "wall_s": wall})
    print(json.dumps({key: report.document[key] for key in ("baseline", "search_cpu_s", "final")}, indent=1))


def parse_arguments():
    parser = argparse.ArgumentParser(description="Genetic channel pruning of an MNIST CNN, written straight down.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the four raw IDX files")
    parser.add_argument("--out", type=Path, default=Path("naive.json"))
    parser.add_argument(
        "--baseline", type=Path, help="dense network to start from (safetensors); trained when left out"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split-seed", type=int, help="seed of the train/select split; the same as --seed if left out")
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--baseline-epochs", type=int, default=5)
    parser.add_argument("--finetune-epochs", type=int, default=1)
    parser.add_argument("--retrain-epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--w-acc", type=float, default=1.0)
    parser.add_argument("--w-macs", type=float, default=0.1)
    parser.add_argument("--initial-keep", type=float, default=0.5, help="chance of a bit to be 1 at the start")
    parser.add_argument("--mutation-rate", type=float, default=0.02, help="chance of each bit to flip")
    parser.add_argument("--crossover-rate", type=float, default=0.9)
    parser.add_argument("--tournament-size", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit-train", type=int, default=0, help="use only so many images of each set (smoke test)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
