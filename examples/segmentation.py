"""Segmentation with a small U-Net, judged by the mean intersection over union.

python examples/segmentation.py
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import evoprune as ep

SETTINGS = {"training": {"epochs": 8, "retrain_epochs": 12, "lr": 0.005, "retrain_lr": 0.005, "batch_size": 32}}
CLASSES = 3


def layer(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """One level down and up again: the features of the way down are put beside those of the way up."""

    def __init__(self):
        super().__init__()
        self.down, self.bottom, self.up = layer(1, 16), layer(16, 32), layer(16 + 32, 16)
        self.head = nn.Conv2d(16, CLASSES, 1)

    def forward(self, images):
        high = self.down(images)
        low = self.bottom(nn.functional.max_pool2d(high, 2))
        return self.head(self.up(torch.cat([high, nn.functional.interpolate(low, scale_factor=2)], dim=1)))


def scenes(samples, seed):
    """A bright and a dark square on noise; every pixel has the class of what it belongs to."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.7 * torch.randn(samples, 1, 24, 24, generator=generator)
    targets = torch.zeros(samples, 24, 24, dtype=torch.long)
    corners = torch.randint(0, 16, (samples, 2, 2), generator=generator).tolist()
    for row, squares in enumerate(corners):
        for label, (top, left) in enumerate(squares, start=1):
            images[row, 0, top : top + 8, left : left + 8] += 1.5 if label == 1 else -1.5
            targets[row, top : top + 8, left : left + 8] = label
    return TensorDataset(images, targets)


def recipe(*, seed=0):
    sets = [scenes(samples, 3 * seed + part) for part, samples in enumerate((400, 100, 150))]
    return UNet(), ep.Task(*sets, metric="mean_iou"), torch.zeros(1, 1, 24, 24)


def main(out="runs/segmentation", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.4", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
