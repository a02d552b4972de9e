"""Several labels for each sample: binary cross-entropy, judged by the share of labels that are right.

python examples/multilabel.py
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import evoprune as ep

SETTINGS = {"training": {"epochs": 10, "retrain_epochs": 12, "lr": 0.005, "retrain_lr": 0.005, "batch_size": 64}}
LABELS = 5


def tones(samples, seed):
    """Signals with noise, in which each of five tones sounds or doesn't."""
    generator = torch.Generator().manual_seed(seed)
    sounds = (torch.rand(samples, LABELS, generator=generator) < 0.4).float()
    time = torch.arange(128) / 128
    waves = torch.stack([torch.sin(2 * torch.pi * (4 + 5 * tone) * time) for tone in range(LABELS)])
    signals = sounds @ waves + 0.8 * torch.randn(samples, 128, generator=generator)
    return TensorDataset(signals[:, None], sounds)


def recipe(*, seed=0):
    model = nn.Sequential(
        *(nn.Conv1d(1, 32, 17, stride=2, padding=8), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, LABELS)),
    )
    sets = [tones(samples, 3 * seed + part) for part, samples in enumerate((1200, 300, 400))]
    # The network gives logits, so a label is on above 0.
    metric = ep.metrics.MultilabelAccuracy(threshold=0.0)
    return model, ep.Task(*sets, loss=nn.BCEWithLogitsLoss(), metric=metric), torch.zeros(1, 1, 128)


def main(out="runs/multilabel", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.4", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
