"""A regression, judged by R².

python examples/regression.py
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import evoprune as ep

SETTINGS = {"training": {"epochs": 30, "retrain_epochs": 30, "batch_size": 64, "lr": 0.005, "retrain_lr": 0.005}}


def friedman(samples, seed):
    """Friedman's first problem: ten inputs, of which five matter."""
    x = torch.rand(samples, 10, generator=torch.Generator().manual_seed(seed))
    y = 10 * torch.sin(torch.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return TensorDataset(x, (y[:, None] - 14) / 5)


def recipe(*, seed=0):
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    sets = [friedman(samples, 3 * seed + part) for part, samples in enumerate((1500, 300, 500))]
    return model, ep.Task(*sets, loss=nn.functional.mse_loss, metric="r2"), torch.zeros(1, 10)


def main(out="runs/regression", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="params<=0.3", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
