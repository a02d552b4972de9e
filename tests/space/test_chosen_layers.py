import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import UsageError
from evoprune.space.chosen_layers import only_layers

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Mixed(nn.Module):
    """A plain convolution, one with a depthwise one after it, two that a residual joins, a GRU and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.wide = nn.Conv2d(6, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.block = nn.ModuleDict({"one": nn.Conv2d(8, 12, 1), "two": nn.Conv2d(12, 12, 3, padding=1)})
        self.gru = nn.GRU(12, 10, batch_first=True)
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.depthwise(self.wide(self.norm(self.stem(x)).relu())).relu()
        x = self.block["one"](x)
        x = (x + self.block["two"](x.relu())).relu()
        return self.fc(self.gru(x.flatten(2).transpose(1, 2))[0][:, -1])


INPUTS = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def space():
    with torch.random.fork_rng():
        return ep.analyze(Mixed(), INPUTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["stem"], ["stem"]),
        (["stem.weight"], ["stem"]),
        (["module.stem", "gru"], ["stem", "gru"]),
        (["block.*"], ["block.one"]),
        (["block.one", "block.two"], ["block.one"]),
        (["wide", "depthwise", "stem"], ["stem", "wide"]),
        (["*"], ["stem", "wide", "block.one", "gru"]),
        # The residual's other side is not named; what else the pattern names is.
        (["s*", "block.one", "block.two"], ["stem", "block.one"]),
    ],
)
def test_only_the_outputs_of_chosen_layers_may_go(space, patterns, left):
    chosen = only_layers(space, Mixed(), patterns)
    assert [group.name for group in chosen.groups] == left
    assert chosen.size == sum(group.size for group in chosen.groups)
    small = ep.prune(Mixed(), chosen.random_plan(0.5, seed=0))
    outputs = {name: module.weight.shape[0] for name, module in small.named_modules() if hasattr(module, "stride")}
    dense = {name: module.weight.shape[0] for name, module in Mixed().named_modules() if hasattr(module, "stride")}
    cut = {layer for group in chosen.groups for layer in group.layers}
    assert {name for name in dense if outputs[name] < dense[name]} == cut & dense.keys()


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (
            ["block.one"],
            r"'block.one' can't be pruned alone: its outputs go together with those of block.two \(name it",
        ),
        (["wide"], "go together with those of depthwise"),
        (["fc"], r"'fc' can't be pruned: its output reaches the model's output \(layers that can: "),
        (["norm"], "'norm' has no outputs of its own to prune"),
        (["block"], r"'block' has no outputs of its own to prune \(for the layers inside it, write block\.\*\)"),
        (["stme"], r"there is no layer 'stme' \(layers that can: stem, "),
        (["stem", "conv9"], "there is no layer 'conv9'"),
        (["stem", "fc"], "'fc' can't be pruned"),
    ],
)
def test_layer_that_cannot_be_pruned_is_refused_with_the_reason(space, patterns, message):
    with pytest.raises(UsageError, match=message):
        only_layers(space, Mixed(), patterns)


def test_layers_that_are_not_chosen_say_so(space):
    reasons = {item.name: item.reason for item in only_layers(space, Mixed(), ["stem"]).frozen}
    assert reasons["gru"] == "is not chosen by stem, or goes together with what is not"
