"""A network and data of your own, pruned by two worker processes.

    python examples/own_model.py

With workers, classes and functions stand at the top level of a module, and a script does its work behind the guard at its end.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import evoprune as ep

SETTINGS = {"training": {"epochs": 6, "lr": 0.005, "retrain_epochs": 10, "retrain_lr": 0.005}}


class Net(nn.Module):
    """A small convolutional network with a residual connection."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2))
        self.block = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24))
        self.head = nn.Linear(24, 3)

    def forward(self, images):
        features = self.stem(images)
        features = torch.relu(features + self.block(features))
        return self.head(features.mean((2, 3)))


def shapes(samples, seed):
    """Images of noise with a bar, a column or a square in it."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (samples,), generator=generator)
    images = 0.6 * torch.randn(samples, 1, 16, 16, generator=generator)
    images[targets == 0, :, 7:9, 2:14] += 1
    images[targets == 1, :, 2:14, 7:9] += 1
    images[targets == 2, :, 5:10, 5:10] += 1
    return TensorDataset(images, targets)


def recipe(*, seed=0):
    # The set that candidates are scored on is cut from the training data, never from the test set.
    train, val = random_split(shapes(1200, seed), [1000, 200], torch.Generator().manual_seed(seed))
    loaders = [DataLoader(one, batch_size=64, shuffle=one is train) for one in (train, val, shapes(400, seed + 1000))]
    return Net(), ep.Task(*loaders), torch.zeros(1, 1, 16, 16)


def main(out="runs/own-model", config=SETTINGS, workers=2):
    result = ep.evolve(*recipe(), constraints="macs<=0.3", workers=workers, out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
