"""Sizes that modules keep under any name: set along with a cut where that is proven, and never wrong."""

import keyword
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import evoprune as ep
from evoprune.channels.analyze import analyze
from evoprune.channels.passes import ALLOWED
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.objectives.compute import count
from evoprune.plan import PruningPlan
from evoprune.rng import isolated_rng
from evoprune.space.analysis import trace_space
from evoprune.space.attributes import HEAD_COUNTS, HEAD_SIZES, HEAD_WIDTHS, WIDTHS
from evoprune.space.tied import tied
from tests.channels.nets import randomise
from tests.channels.test_passes import measured

pytestmark = pytest.mark.usefixtures("seeded_torch")
KNOWN = HEAD_COUNTS | HEAD_SIZES | HEAD_WIDTHS | WIDTHS
NAMES = st.from_regex(r"[a-z]{2,6}(_[a-z]{2,5})?", fullmatch=True).filter(
    lambda name: name not in KNOWN and not keyword.iskeyword(name) and not hasattr(nn.Module(), name)
)


class Named(nn.Module):
    """Keeps numbers under names that are given."""

    def keep(self, names, *values):
        self._names = names
        for name, value in zip(names, values, strict=False):
            setattr(self, name, value)

    def value(self, number):
        return getattr(self, self._names[number])


class Scaled(Named):
    """A scale of the shape that a tuple says."""

    def __init__(self, names, width):
        super().__init__()
        self.linear, self.scale = nn.Linear(width, 2 * width), nn.Parameter(torch.randn(2 * width))
        self.out = nn.Linear(2 * width, width)
        self.keep(names, (1, 2 * width, 1))

    def forward(self, x):
        y = self.linear(x).transpose(1, 2) * self.scale.reshape(self.value(0))
        return x + self.out(y.transpose(1, 2).relu())


class Halved(Named):
    """Parts of a size that is kept."""

    def __init__(self, names, width):
        super().__init__()
        self.linear, self.out = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)
        self.keep(names, 2 * width)

    def forward(self, x):
        one, two = self.linear(x).split(self.value(0), dim=-1)
        return x + self.out(one * two.sigmoid())


class Heads(Named):
    """Attention whose heads and whose width stand in attributes."""

    def __init__(self, names, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.keep(names, 4, width // 4, width)
        self.scale = 1 / math.sqrt(width // 4)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.value(0), self.value(1)).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) * self.scale).softmax(-1) @ v
        return x + self.out(mixed.transpose(1, 2).reshape(*x.shape[:2], self.value(2)))


class FromShape(Named):
    """Attention whose width is taken from what comes in."""

    def __init__(self, names, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.keep(names, 4)
        self.scale = 1 / math.sqrt(width // 4)

    def forward(self, x):
        samples, length, width = x.shape
        heads = self.value(0)
        q, k, v = self.qkv(x).reshape(samples, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) * self.scale).softmax(-1) @ v
        return x + self.out(mixed.transpose(1, 2).reshape(samples, length, width))


class Multiplied(Named):
    """What is computed depends on the number itself: no edit is right."""

    def __init__(self, names, width):
        super().__init__()
        self.linear, self.out = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.keep(names, 2 * width)

    def forward(self, x):
        y = self.linear(x)
        return x + self.out(y.reshape(*x.shape[:2], self.value(0)).relu()) / self.value(0)


class Net(nn.Module):
    def __init__(self, kinds, names, width):
        super().__init__()
        self.embed, self.head = nn.Linear(5, width), nn.Linear(width, 3)
        self.blocks = nn.ModuleList(kind(given, width) for kind, given in zip(kinds, names, strict=True))

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


KINDS = [Scaled, Halved, Heads, FromShape, Multiplied]


def is_prunable(space, layer):
    return any(layer in group.layers for group in space.groups)


@settings(max_examples=8)
@given(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
def test_sizes_under_any_name_are_set_along_or_frozen_and_never_wrong(data, kinds):
    names = [data.draw(st.lists(NAMES, min_size=3, max_size=3, unique=True)) for _ in kinds]
    width = data.draw(st.sampled_from([8, 12, 20]))
    with isolated_rng(1):
        own = {name for kind in kinds for name in vars(kind([], 8))} | set(dir(nn.Module))
        assume(all(name not in own for several in names for name in several))
        model, x = randomise(Net(kinds, names, width)), torch.randn(2, 7, 5)
    space, passes, frozen = measured(model, x)
    assert passes <= ALLOWED + 2 * len(frozen)
    for seed in range(4):
        if space.groups:
            assert verify(model, space.random_plan(0.3 + 0.2 * seed, seed), x).relative <= 1e-9


@pytest.mark.parametrize(
    ("kind", "layer", "attributes"),
    [
        (Scaled, "linear", {"teams": (1, 8, 1)}),
        (Halved, "linear", {"teams": 16}),
        (Heads, "qkv", {"together": 8}),
        (FromShape, "qkv", {}),
    ],
)
def test_attributes_follow_the_cut(kind, layer, attributes):
    model, x = randomise(Net([kind], [["teams", "each", "together"]], 16)), torch.randn(2, 7, 5)
    model.blocks[0].unrelated = 16
    space = analyze(model, x)
    assert is_prunable(space, f"blocks.0.{layer}")
    bits = np.ones(space.size, dtype=bool)
    for group in space.groups:
        if f"blocks.0.{layer}" in group.layers:
            bits[group.start : group.start + (group.size * 3 // 4 if kind is Scaled else group.size // 2)] = False
    plan = PruningPlan.from_json(space.plan(bits).to_json())
    small = prune(model, plan)
    assert {name: getattr(small.blocks[0], name) for name in attributes} == attributes
    assert plan.attributes.get("blocks.0", {}).keys() <= {"teams", "each", "together"}
    assert small.blocks[0].unrelated == 16
    if kind is Heads:
        assert small.blocks[0].teams * small.blocks[0].each == 8
    assert verify(model, plan, x).relative <= 1e-9


def test_what_no_edit_makes_right_is_frozen():
    model, x = randomise(Net([Multiplied], [["one", "two", "three"]], 16)), torch.randn(2, 7, 5)
    space = analyze(model, x)
    assert [group.name for group in space.groups] == ["embed"]
    assert "in blocks.0" in {item.name: item.reason for item in space.frozen}["blocks.0.linear"]


def test_a_list_of_sizes_stays_a_list():
    model, x = randomise(Net([Scaled], [["sizes", "b", "c"]], 16)), torch.randn(2, 7, 5)
    model.blocks[0].sizes = [1, 32, 1]
    space = analyze(model, x)
    small = prune(model, space.random_plan(0.5, 0))
    assert small.blocks[0].sizes == [1, 16, 1]
    assert verify(model, space.random_plan(0.3, 1), x).agrees


def test_heads_go_in_step_with_the_channels_that_they_are_cut_from():
    model, x = randomise(Net([FromShape, FromShape], [["a", "b", "c"], ["d", "e", "f"]], 16)), torch.randn(2, 7, 5)
    space = analyze(model, x)
    assert [(group.name, group.size) for group in space.groups] == [("embed", 4)]
    assert {"blocks.0.qkv", "blocks.1.qkv", "embed"} <= set(space.groups[0].layers)
    for seed in range(3):
        bits = space.random_bits(0.5, seed)
        assert int(space.cost(bits).macs) == count(prune(model, space.plan(bits)), x).macs


def test_tied_groups_have_the_units_that_divide_both():
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    joined = tied(trace_space(model, torch.randn(2, 5)), "2", "0")
    assert [(group.name, group.size, group.layers) for group in joined.groups] == [("0", 4, ("0", "2"))]
    kept = joined.plan([True, False, False, True]).kept
    assert kept["0.weight"][0].tolist() == [0, 1, 2, 9, 10, 11]
    assert kept["2.weight"][0].tolist() == [0, 1, 6, 7]
    assert kept["2.weight"][1].tolist() == kept["0.weight"][0].tolist()


def test_groups_without_a_common_divisor_are_not_tied():
    space = trace_space(
        nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(2, 5)
    )
    assert tied(space, "0", "2") is None


class Pooled(Net):
    def __init__(self):
        super().__init__([Halved], [["one", "two", "three"]], 16)

    def forward(self, x):
        return super().forward(x).mean(1)


def test_finished_run_names_its_edits_and_loads_with_them(tmp_path):
    sets = [[(torch.randn(8, 7, 5), torch.randint(0, 3, (8,)))] for _ in range(3)]
    config = {
        "ga": {"pop_size": 2, "num_generations": 1, "elitism": 0},
        "training": {"retrain_epochs": 1, "finetune_steps": 1, "epochs": 1},
        "execution": {"training_threads": 1, "isolation": "none"},
    }
    inputs, out = torch.randn(2, 7, 5), tmp_path / "run"
    result = ep.evolve(Pooled(), ep.Task(*sets), inputs, constraints=["macs<=0.2"], config=config, out=out)
    plan = PruningPlan.from_json((out / "artifact" / "plan.json").read_text())
    loaded = ep.load(out / "artifact", factory=Pooled)
    assert loaded.blocks[0].one == plan.attributes["blocks.0"]["one"] < 32
    torch.testing.assert_close(loaded.eval()(inputs), result.best.model.eval()(inputs))
