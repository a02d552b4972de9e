"""What scoring one mask of LeNet-5 costs when the script is written straight down, without evoprune.

    python benchmarks/masks/naive.py --data DIR --out naive.json

As the reference algorithm does it: a deep copy of the network with the mask multiplied into its weights, then the accuracy on
5,000 images (half of MNIST's test set there; training images here, which cost the same) from a `DataLoader` whose data set turns
one stored image after the other into a tensor. DIR holds the raw IDX files. CPU seconds of this process, which does all the work.
"""

import argparse
import copy
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

IMAGES = 5000
KEEP = 0.1
MEAN, STD = (0.1307,), (0.3081,)


class MNIST(Dataset):
    """What torchvision's MNIST, ToTensor and Normalize do, spelled out so that torchvision is not needed."""

    def __init__(self, folder):
        images = np.frombuffer((folder / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
        self.images = images.reshape(-1, 28, 28)[:IMAGES]
        self.labels = np.frombuffer((folder / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8).tolist()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = Image.fromarray(self.images[index])
        array = np.array(image, dtype=np.uint8, copy=True)
        tensor = torch.from_numpy(array).view(image.size[1], image.size[0], 1).permute(2, 0, 1).contiguous()
        tensor = tensor.to(dtype=torch.float32).div(255)
        mean, std = torch.as_tensor(MEAN).view(-1, 1, 1), torch.as_tensor(STD).view(-1, 1, 1)
        return tensor.sub_(mean).div_(std), self.labels[index]


class LeNet5(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


@torch.no_grad()
def evaluate(network, masks, dataset):
    """Seconds of loading and of everything, and the accuracy."""
    started, loading = time.process_time(), 0.0
    model = copy.deepcopy(network).eval()
    for name, parameter in model.named_parameters():
        if name in masks:
            parameter.mul_(masks[name])
    correct, before = 0, time.process_time()
    for images, labels in DataLoader(dataset, batch_size=100):
        loading += time.process_time() - before
        correct += (model(images).argmax(1) == labels).sum().item()
        before = time.process_time()
    return {
        "cpu_s": time.process_time() - started,
        "loading_cpu_s": loading,
        "accuracy": correct / len(dataset),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the raw IDX files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="of torch; its own choice when 0, as in most scripts")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)  # noqa: TID251 - a script of its own, seeded as scripts are
    network, dataset = LeNet5(), MNIST(args.data)
    found = []
    for _ in range(args.candidates + 1):  # the first warms up
        masks = {name: (torch.rand_like(p) < KEEP).float() for name, p in network.named_parameters() if p.dim() > 1}
        found.append(evaluate(network, masks, dataset))
    document = {key: statistics.median(one[key] for one in found[1:]) for key in ("cpu_s", "loading_cpu_s")}
    about = {"images": IMAGES, "candidates": args.candidates, "threads": torch.get_num_threads()}
    args.out.write_text(json.dumps(about | document, indent=1) + "\n")


if __name__ == "__main__":
    main()
