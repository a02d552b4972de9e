"""Small networks that several tests share."""

import torch
from torch import nn
from torch.nn import functional

import evoprune as ep
from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import call_model


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    """A concat of two branches and of the input itself, which can't be cut."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 5, 1)
        self.right = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(14)
        self.head = nn.Conv2d(14, 4, 1)

    def forward(self, x):
        x = torch.cat([self.left(x), x, self.right(x)], 1)
        return self.head(functional.relu(self.norm(x)))


def image(*, size=8, batch=2, channels=3):
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def randomise(model, seed=0):
    """Draw every weight and statistic at random, so that no zero hides an error."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            value = torch.randn(tensor.shape, generator=generator) * (0.5 if tensor.dim() > 1 else 0.3)
            tensor.copy_(value.abs() + 0.5 if name.endswith("running_var") else value)
    return model.eval()


def assert_exact(model, inputs, space, *, outputs=None, keeps=(0.1, 0.3, 0.5, 0.7, 0.9)):
    """Compare pruned networks of several widths with masked ones, in float64, which the model and the inputs are in."""
    for seed, keep in enumerate(keeps):
        plan = space.random_plan(keep=keep, seed=seed)
        found = ep.verify(model, plan, inputs, outputs=outputs)
        assert found.dtype == torch.float64
        assert found.relative < 1e-12
        small, masked = (run(model, plan).eval() for run in (ep.prune, ep.mask))
        one, other = (next(tensors_in(call_model(network, inputs))) for network in (small, masked))
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
