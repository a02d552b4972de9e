"""The same cuts by Torch-Pruning, on networks where it is right: weights and shapes must agree to the bit."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from tests.channels.zoo.catalogue import build

peer = pytest.importorskip("torch_pruning", reason="install the extra `peers`")

NETS = ("vgg", "resnet-projection", "resnet-bottleneck", "pre-activation", "densenet", "mobilenet-v2")


@pytest.mark.parametrize("name", NETS)
def test_every_group_is_cut_as_torch_pruning_cuts_it(name):
    model, inputs = build(name)
    space = analyze(model, inputs)
    for group in space.groups:
        bits = np.ones(space.size, dtype=bool)
        gone = np.arange(0, group.size, 2)[: group.size - 1]
        bits[group.start + gone] = False
        ours = prune(model, space.plan(bits))
        theirs = copy.deepcopy(model)
        layer = theirs.get_submodule(group.name)
        remove = peer.prune_linear_out_channels if isinstance(layer, nn.Linear) else peer.prune_conv_out_channels
        graph = peer.DependencyGraph().build_dependency(theirs, example_inputs=inputs)
        graph.get_pruning_group(layer, remove, idxs=gone.tolist()).prune()
        expected = theirs.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in ours.state_dict().items()), group.name
