"""Constructs that other libraries prune wrongly: each is right here, or refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from evoprune.channels.analyze import analyze
from evoprune.channels.channel_bits import ChannelBits
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.errors import InvalidPlanError, UnsupportedModelError
from evoprune.plan import PruningPlan
from tests.channels.nets import Residual, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Net(nn.Module):
    """Two convolutions around whatever `middle` does to the features, and a head."""

    def __init__(self, middle, width=8, after=8, **layers):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(after, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)
        self.layers = nn.ModuleDict(layers)
        self.middle = middle

    def forward(self, x):
        return self.head(self.conv2(self.middle(self, x, self.conv1(x).relu())).relu())


def space_of(net, inputs=None):
    """The space, with every group cut and compared at several ratios."""
    inputs = image() if inputs is None else inputs
    net = randomise(net)
    space = analyze(net, inputs)
    for keep in (0.2, 0.5, 0.8):
        for seed in range(3):
            assert verify(net, space.random_plan(keep, seed), inputs).relative <= 1e-10
    return space


def names(space):
    return [group.name for group in space.groups]


def test_concat_with_a_frozen_branch():
    space = space_of(Net(lambda net, x, y: torch.cat([x, y, y.softmax(1)], 1), after=19))
    assert names(space) == ["conv2"]
    space = space_of(Net(lambda net, x, y: torch.cat([x, y], 1), after=11))
    assert [(group.name, group.size) for group in space.groups] == [("conv1", 8), ("conv2", 6)]


def test_channel_shuffle_cuts_the_same_channels_of_all_groups():
    def shuffle(net, x, y):
        return y.view(2, 2, y.shape[1] // 2, 8, 8).transpose(1, 2).reshape(2, -1, 8, 8)

    assert space_of(Net(shuffle)).group("conv1").size == 4


def test_shuffle_by_a_fixed_index_is_refused():
    space = space_of(Net(lambda net, x, y: y[:, [1, 0, 3, 2, 5, 4, 7, 6]]))
    assert names(space) == ["conv2"]
    assert "fixed positions" in space.frozen[0].reason


def test_grouped_convolution_in_and_out():
    space = space_of(Net(lambda net, x, y: net.layers["g"](y), after=12, g=nn.Conv2d(8, 12, 3, padding=1, groups=4)))
    assert [(group.name, group.size) for group in space.groups] == [("conv1", 2), ("layers.g", 3), ("conv2", 6)]


def test_depthwise_with_a_multiplier():
    space = space_of(Net(lambda net, x, y: net.layers["d"](y), after=16, d=nn.Conv2d(8, 16, 3, padding=1, groups=8)))
    assert space.group("conv1").size == 8


def test_equal_chunks_are_cut_alike():
    def middle(net, x, y):
        one, two = y.chunk(2, 1)
        return torch.cat([one.relu(), two.sigmoid()], 1)

    assert space_of(Net(middle)).group("conv1").size == 4


@pytest.mark.parametrize("sizes", [[3, 5], [4, 4]])
def test_chunks_of_sizes_fixed_in_the_code_are_refused(sizes):
    def middle(net, x, y):
        one, two = y.split(sizes, 1)
        return torch.cat([one, two.tanh()], 1)

    assert names(space_of(Net(middle))) == ["conv2"]


def test_a_slice_of_fixed_size_is_refused():
    assert names(space_of(Net(lambda net, x, y: y[:, :5], after=5))) == ["conv2"]


def test_tied_weights_lose_the_same_channels():
    net = Net(lambda net, x, y: net.layers["b"](net.layers["a"](y)), a=nn.Conv2d(8, 8, 1), b=nn.Conv2d(8, 8, 1))
    net.layers["b"].weight = net.layers["a"].weight
    space = space_of(net)
    assert [(group.name, group.size) for group in space.groups] == [("conv1", 8), ("conv2", 6)]


def test_shared_modules_lose_the_same_channels():
    space = space_of(Net(lambda net, x, y: net.layers["a"](net.layers["a"](y)), a=nn.Conv2d(8, 8, 1)))
    assert space.group("conv1").size == 8


def test_a_branch_under_no_grad_is_followed():
    def middle(net, x, y):
        with torch.no_grad():
            gate = y.mean((2, 3), keepdim=True).sigmoid()
        return y * gate

    assert space_of(Net(middle)).group("conv1").size == 8


def test_values_taken_out_of_torch_are_refused():
    def middle(net, x, y):
        return y * torch.from_numpy(y.detach().double().numpy()).to(y.dtype)

    assert names(space_of(Net(middle))) == ["conv2"]


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_normed_weights_are_right(norm):
    net = Net(lambda net, x, y: net.layers["n"](y), n=norm(nn.Conv2d(8, 8, 3, padding=1)))
    assert names(space_of(net)) == ["conv1", "layers.n", "conv2"]


def test_weight_standardisation_keeps_its_inputs():
    def middle(net, x, y):
        weight = net.layers["s"].weight
        return functional.conv2d(y, weight - weight.mean((1, 2, 3), keepdim=True), padding=1)

    space = space_of(Net(middle, s=nn.Conv2d(8, 8, 3, bias=False)))
    assert len(space.groups) == 2


def test_writing_into_a_fixed_tensor_is_refused():
    def middle(net, x, y):
        out = torch.zeros(2, 8, 8, 8, dtype=y.dtype)
        out[:, :] = y
        return out

    assert names(space_of(Net(middle))) == ["conv2"]


def test_a_matrix_of_activations_by_activations_is_right_or_refused():
    def middle(net, x, y):
        flat = (y + 1).flatten(2)
        return (torch.tanh(flat.transpose(1, 2) @ flat) @ flat.transpose(1, 2)).transpose(1, 2).reshape(y.shape)

    space_of(Net(middle))


@pytest.mark.parametrize("bad", [[0, 0, 1], [-1, 0], [2, 1]])
def test_duplicate_negative_and_unordered_indices_are_refused(bad):
    with pytest.raises(InvalidPlanError):
        PruningPlan({"stem.weight": {0: np.array(bad)}}, {}, "")


def test_plans_with_holes_are_refused_at_the_latest_by_verify():
    model = randomise(Residual())
    plan = analyze(model, image()).random_plan(0.5, 0)
    torn = {name: dims for name, dims in plan.kept.items() if name != "conv1.weight"}
    with pytest.raises(Exception, match=r"can't run|differs"):
        verify(model, PruningPlan(torn, plan.attributes, plan.fingerprint), image())


def test_a_model_without_anything_to_prune_says_why():
    space = analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1)), image())
    assert space.groups == ()
    with pytest.raises(UnsupportedModelError, match="mixed over all its channels"):
        ChannelBits(space)


def test_frozen_parameters_are_pruned_and_stay_frozen():
    net = Net(lambda net, x, y: y).requires_grad_(False)
    space = space_of(net)
    assert not any(parameter.requires_grad for parameter in prune(net, space.random_plan(0.5, 0)).parameters())


def test_control_flow_follows_the_path_taken():
    def middle(net, x, y):
        return y if x.mean() < 100 else torch.softmax(y, 1)

    assert space_of(Net(middle)).group("conv1").size == 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_give_the_same_space(dtype):
    net = randomise(Residual())
    space = analyze(net, image())
    other = analyze(randomise(Residual()).to(dtype), image().to(dtype))
    assert other.digest == space.digest
    verify(net.to(dtype), space.random_plan(0.5, 0), image().to(dtype))


def test_data_parallel_is_analysed():
    space = space_of(nn.DataParallel(Residual()))
    assert [group.name for group in space.groups] == ["module.stem", "module.conv1"]


def test_layers_that_do_not_run_are_listed():
    net = Net(lambda net, x, y: net.layers["aux"](y) if y is None else y, aux=nn.Conv2d(8, 8, 1))
    reasons = {item.name: item.reason for item in space_of(net).frozen}
    assert "not run" in reasons["layers.aux"]


def test_dataclass_outputs_are_frozen():
    from dataclasses import dataclass

    @dataclass
    class Result:
        scores: torch.Tensor

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 1)

        def forward(self, x):
            return Result(self.conv(x))

    assert analyze(Wrapped(), image()).groups == ()


def test_pixels_made_from_channels_by_hand():
    def middle(net, x, y):
        y = y.view(2, y.shape[1] // 4, 2, 2, 8, 8).permute(0, 1, 4, 2, 5, 3)
        return y.reshape(2, -1, 16, 16)

    assert space_of(Net(middle, width=16, after=4)).group("conv1").size == 4
