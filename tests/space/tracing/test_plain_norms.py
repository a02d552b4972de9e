"""Normalisation layers without weights: the plan says what they read, for no parameter of theirs does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import evoprune as ep
from evoprune.errors import InvalidPlanError
from tests.channels.nets import assert_exact, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Block(nn.Module):
    """DiT's: a norm without weights, scaled and shifted by what another layer makes."""

    def __init__(self, norm):
        super().__init__()
        self.stem, self.condition = nn.Linear(5, 12), nn.Linear(5, 24)
        self.norm, self.inner, self.head = norm, nn.Linear(12, 12), nn.Linear(12, 3)

    def normalise(self, x):
        return self.norm(x)

    def forward(self, x):
        y = self.stem(x)
        scale, shift = self.condition(x.mean(1, keepdim=True)).chunk(2, dim=-1)
        y = y + self.inner(self.normalise(y) * (1 + scale) + shift).exp()
        return self.head(self.normalise(y))


class OverChannels(Block):
    def normalise(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def tokens():
    return torch.randn(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


class Transposed(nn.GroupNorm):
    """A class made from one, whose forward is another."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class First(nn.LayerNorm):
    """timm's `LayerNorm2d`: over the second dimension."""

    def forward(self, x):
        return functional.layer_norm(x.transpose(1, 2), self.normalized_shape, None, None, self.eps).transpose(1, 2)


NORMS = {
    "transposed": lambda: Block(Transposed(3, 12, affine=False)),
    "over the second": lambda: OverChannels(First(12, elementwise_affine=False)),
    "layer norm": lambda: Block(nn.LayerNorm(12, elementwise_affine=False)),
    "group norm": lambda: OverChannels(nn.GroupNorm(3, 12, affine=False)),
    "a group for each channel": lambda: OverChannels(nn.GroupNorm(12, 12, affine=False)),
}


@pytest.mark.parametrize("name", NORMS)
def test_residual_stream_is_pruned_exactly_through(name):
    model = randomise(NORMS[name]()).double()
    space = ep.analyze(model, tokens())
    assert space.size == (4 if name in {"group norm", "transposed"} else 12)
    assert_exact(model, tokens(), space)


def test_layer_says_its_new_width_and_the_plan_travels():
    model = randomise(NORMS["layer norm"]()).double()
    plan = ep.analyze(model, tokens()).random_plan(keep=0.5, seed=0)
    small = ep.prune(model, plan)
    assert small.norm.normalized_shape == (6,)
    assert plan.normalised["norm"].tolist() == plan.kept["stem.weight"][0].tolist()
    again = ep.PruningPlan.from_json(plan.to_json())
    assert again == plan
    assert ep.verify(model, again, tokens()).relative < 1e-12
    assert ep.verify(small, ep.analyze(small, tokens()).random_plan(keep=0.5, seed=0), tokens()).relative < 1e-12


def test_plan_without_such_layers_is_written_as_before():
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    assert "normalised" not in ep.analyze(model, torch.randn(1, 3)).random_plan(keep=0.5, seed=0).to_json()


@pytest.mark.parametrize("normalised", [{"": [0]}, {"norm": [12]}, {"nowhere": [0]}])
def test_plan_for_a_layer_that_is_none_or_narrower_is_refused(normalised):
    model = randomise(NORMS["layer norm"]()).double()
    plan = ep.analyze(model, tokens()).random_plan(keep=0.5, seed=0)
    wrong = replace(plan, normalised={name: np.array(kept) for name, kept in normalised.items()})
    with pytest.raises(InvalidPlanError, match="which is no layer of that width"):
        ep.prune(model, wrong)
    with pytest.raises(InvalidPlanError, match="strictly increasing"):
        replace(plan, normalised={"norm": np.array([1, 0])})


class Twice(nn.Module):
    """One layer normalises two streams, which are cut alike, and perhaps the input."""

    def __init__(self, third):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 3)
        self.norm, self.third = nn.LayerNorm(6, elementwise_affine=False), third

    def forward(self, x):
        y = torch.cat([self.norm(self.one(x)), self.norm(self.two(x))], -1)
        return self.head(y) + (self.norm(x).mean() if self.third else 0)


@pytest.mark.parametrize(("third", "units"), [(False, 6), (True, 0)])
def test_streams_that_one_layer_normalises_are_cut_alike(third, units):
    model, x = randomise(Twice(third)).double(), torch.randn(4, 6, dtype=torch.float64)
    space = ep.analyze(model, x)
    assert space.size == units
    if units:
        assert_exact(model, x, space)


class Functional(Block):
    def normalise(self, x):
        return functional.layer_norm(x, (12,))


def test_norm_that_is_no_layer_freezes():
    model = randomise(Functional(nn.Identity())).double()
    reasons = {item.name: item.reason for item in ep.analyze(model, tokens()).frozen}
    assert "is normalised without a weight" in reasons["stem"]


class ShapeOnly(nn.Module):
    """BART's: positions are read for their shape alone, or for their values as well."""

    def __init__(self, values):
        super().__init__()
        self.stem, self.head, self.values = nn.Linear(5, 8), nn.Linear(8, 3), values

    def forward(self, x):
        y = self.stem(x)
        last, first = y[:, :, -1], y[:, :, :3]
        length = torch.arange(last.shape[1] + first.shape[1]).sum()
        y = y * length + (last.unsqueeze(-1) if self.values == "last" else 0)
        return self.head(y + (first.sum() if self.values == "first" else 0))


@pytest.mark.parametrize(
    ("values", "words"),
    [("", ""), ("last", "is read one position at a time"), ("first", "is sliced at fixed positions")],
)
def test_position_read_for_its_shape_freezes_nothing(values, words):
    model = randomise(ShapeOnly(values)).double()
    space = ep.analyze(model, tokens())
    assert words in {item.name: item.reason for item in space.frozen}.get("stem", "")
    assert space.size == (0 if words else 8)
    if not words:
        assert_exact(model, tokens(), space)
