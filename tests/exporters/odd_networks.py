"""Networks that formats have trouble with."""

import torch
from torch import nn


class Branching(nn.Module):
    """Takes one way or the other by the sign of a sum, which it reads as a number."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x) if float(x.sum()) > 0 else self.fc(-x)


class Listing(Branching):
    """Reads its data as a list, which is no operation of torch."""

    def forward(self, x):
        return self.fc(x) * max(map(max, x.tolist()))


class Hidden(Branching):
    """Reads data through memory of its own, into which it has copied them."""

    def forward(self, x):
        kept = torch.zeros(2, 4)
        kept[:1] = x[:1]
        return self.fc(x) + (1 if bool(kept.sum() > 0) else 0)


class Equal(Branching):
    """Compares its data with something as a whole."""

    def forward(self, x):
        return self.fc(x) if torch.equal(x, torch.zeros_like(x)) else self.fc(-x)


class SparseBranch(Branching):
    """Reads its data out of a sparse tensor."""

    def forward(self, x):
        return self.fc(x) * (1 if float(torch.sparse.sum(x.to_sparse())) > 0 else -1)


class FixedScale(Branching):
    """Reads a number that doesn't depend on the inputs: harmless."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        return self.fc(x) * float(self.scale) * (2.0 if x.shape[1] == 4 else 1.0)


class OnlyPairs(Branching):
    """Has the number of samples in its code."""

    def forward(self, x):
        return self.fc(x.reshape(2, 4))


class Forgetful(Branching):
    """Bakes the number of samples into a trace, where a graph computes something else for others without a word."""

    def forward(self, x):
        return self.fc(x) / int(x.shape[0])


class Keyword(nn.Module):
    """Keyword arguments, one of them a container, and a dict of results."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, *, tokens, scale):
        hidden = self.fc(tokens) * scale["by"]
        return {"logits": hidden, "tokens": hidden.sum(1)}


class Noisy(nn.Module):
    """Prints, warns and logs as it runs."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        print("look at me")  # noqa: T201
        return self.fc(x)


class NoSuchOperation(nn.Module):
    """Computes what no version of ONNX has an operation for."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return torch.linalg.eigvals(self.fc(x).unsqueeze(2) @ x.unsqueeze(1)).abs()


def rows(count, seed=3):
    """Noise with a positive sum, [count, 4] float32."""
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))


class ByNumber(nn.Module):
    """Scales a batch of few samples."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x):
        return self.linear(x) * (2 if len(x) <= 4 else 1)


class ReservedName(nn.Module):
    """A layer whose name is a word of Python's own."""

    def __init__(self):
        super().__init__()
        self.add_module("class", nn.Linear(6, 4))

    def forward(self, x):
        return self._modules["class"](x)


class Endless(nn.Module):
    """Some of what it returns is no number."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x):
        return self.linear(x) * x.new_tensor([1.0, float("nan"), float("inf"), 1.0])
