"""A network of timm; the classifier stays as it is.

    pip install timm
    python examples/timm_model.py

Made without weights, so that nothing is downloaded. For yours: `timm.create_model(NAME, pretrained=True)`, and
`training.epochs` 0.
"""

import timm
import torch
from torch.utils.data import TensorDataset

import evoprune as ep

SETTINGS = {
    "training": {"epochs": 4, "lr": 0.003, "retrain_epochs": 5, "retrain_lr": 0.003, "batch_size": 32},
    "search": {"round_to": 8},
}
CLASSES = 4


def images(samples, seed):
    """The class is the colour and the place of a bright half."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (samples,), generator=generator)
    pixels = 0.5 * torch.randn(samples, 3, 32, 32, generator=generator)
    for row, target in enumerate(targets.tolist()):
        pixels[row, target // 2, :, 16 * (target % 2) : 16 * (target % 2) + 16] += 1.0
    return TensorDataset(pixels, targets)


def recipe(*, seed=0, name="resnet10t"):
    model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    sets = [images(samples, 3 * seed + part) for part, samples in enumerate((320, 96, 128))]
    return model, ep.Task(*sets), torch.zeros(1, 3, 32, 32)


def main(out="runs/timm", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.5", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
