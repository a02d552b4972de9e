"""Every model of the zoo: pruned equals masked, or the layer is listed as frozen with a reason."""

import re
from functools import cache

import pytest
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.channel_widths import ChannelWidths
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.errors import UsageError
from evoprune.objectives.compute import count
from evoprune.objectives.constraint import Constraint
from evoprune.run.planned_budget import planned_budget
from tests.channels.zoo.catalogue import EACH, PLAIN_CONVNETS, build


@cache
def analysed(name):
    model, inputs = build(name)
    return model, inputs, analyze(model, inputs)


@pytest.mark.parametrize("name", EACH)
def test_zoo_model_pruned_equals_masked_in_float64(name):
    model, inputs, space = analysed(name)
    check = verify(model, space.random_plan(0.5, seed=0), inputs)
    assert check.relative <= 1e-10
    assert check.max_abs_reference > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_zoo_model_pruned_equals_masked_at_three_ratios_and_five_seeds(name):
    model, inputs, space = analysed(name)
    for keep in (0.2, 0.5, 0.8):
        for seed in range(5):
            assert verify(model, space.random_plan(keep, seed), inputs).relative <= 1e-10


@pytest.mark.parametrize("name", EACH)
def test_every_layer_of_a_zoo_model_is_prunable_or_explained(name):
    model, _inputs, space = analysed(name)
    pruned = {member.tensor for group in space.groups for member in group.members if member.dim == 0}
    explained = {item.name for item in space.frozen}
    assert all(item.reason for item in space.frozen)
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.shape[0] > 1:
            assert f"{path}.weight" in pruned or path in explained, path


@pytest.mark.parametrize("name", EACH)
def test_budget_of_a_zoo_model_is_kept_when_it_is_counted_or_refused_with_what_is_possible(name):
    model, inputs, space = analysed(name)
    if not space.groups:
        pytest.skip("nothing of it can be pruned")
    budget = planned_budget([Constraint.parse("macs<=0.03")], space)
    dense = count(model, inputs).macs
    try:
        encoding = ChannelWidths(space, round_to=8, budget=budget)
    except UsageError as error:
        least = float(re.search(r"\(([\d,.e+]+) at least\)", error.message)[1].replace(",", ""))
        assert least > 0.03 * dense
        return
    genome = encoding.genome(encoding.sizes, [0] * len(encoding.sizes))
    assert not budget or count(prune(model, encoding.decode(genome)), inputs).macs <= 0.03 * dense


@pytest.mark.parametrize("name", PLAIN_CONVNETS)
def test_nearly_all_channels_of_plain_convnets_are_prunable(name):
    model, _inputs, space = analysed(name)
    outputs = [item.name for item in space.frozen if "output" in item.reason]
    total = {
        f"{path}.weight": module.weight.shape[1 if isinstance(module, nn.ConvTranspose2d) else 0]
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and path not in outputs
    }
    found = {
        (member.tensor, index)
        for group in space.groups
        for member in group.members
        if member.tensor in total and member.dim == int("up" in member.tensor and "weight" in member.tensor)
        for index in member.index.tolist()
    }
    assert len(found) >= 0.95 * sum(total.values())


def test_sizes_kept_in_attributes_follow():
    def sizes(name):
        return {group.name: group.size for group in analysed(name)[2].groups}

    assert sizes("gpt") == {"tokens": 12, "attn": 3, "local.q": 3, "fc1": 24}
    assert sizes("llama") == {"embed": 12, "attn.q": 2, "gate": 20}
    assert sizes("vit") == {
        "patch": 12,
        "blocks.0.attn.qkv": 3,
        "blocks.0.fc1": 20,
        "blocks.1.attn.qkv": 3,
        "blocks.1.fc1": 20,
    }
    assert sizes("swin") == {"patch": 2, "reduce": 16}
    assert sizes("res2net") == {"conv1.0": 3, "convs.2.0": 3, "conv3": 8}
    assert sizes("encoder") == {
        "0": 12, "1.layers.0.self_attn": 3, "1.layers.0.linear1": 20, "1.layers.1.self_attn": 3, "1.layers.1.linear1": 20,
    }  # fmt: skip
