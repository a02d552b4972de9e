import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.reference import mask
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from evoprune.errors import InvalidPlanError, SurgeryError
from evoprune.plan import PruningPlan
from tests.channels.nets import Concat, Residual, image, randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.mark.parametrize("net", [Residual, Concat])
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_prune_equals_masked_reference_in_float64(net, keep):
    model, inputs = randomise(net()).double(), image().double()
    space = analyze(model, inputs)
    for seed in range(3):
        plan = space.random_plan(keep, seed)
        expected, found = mask(model, plan)(inputs), prune(model, plan)(inputs)
        assert expected.abs().max() > 1e-3
        assert (expected - found).abs().max() <= 1e-10 * expected.abs().max()


def test_residual_stage_is_one_group():
    space = analyze(randomise(Residual()), image())
    assert [(group.name, group.size) for group in space.groups] == [("stem", 8), ("conv1", 8)]


def test_concat_with_the_input_keeps_the_inputs_positions():
    space = analyze(randomise(Concat()), image())
    kept = space.random_plan(0.2, 0).kept["head.weight"][1].tolist()
    assert set(range(5, 8)) <= set(kept)


def test_prune_leaves_the_original_and_keeps_its_kind():
    model = randomise(Residual()).to(memory_format=torch.channels_last).half()
    model.train()
    model.conv1.weight.requires_grad_(False)
    model.stem.weight.grad = torch.ones_like(model.stem.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = analyze(model.float(), image()).random_plan(0.5, 0)
    small = prune(model.half(), plan)
    assert small.training
    assert small.stem.out_channels == 4
    assert small.stem.weight.dtype == torch.float16
    assert small.stem.weight.is_contiguous(memory_format=torch.channels_last)
    assert small.stem.weight.grad.shape == small.stem.weight.shape
    assert not small.conv1.weight.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_prune_keeps_ties_and_hooks():
    model = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)
    )
    model[4].weight = model[2].weight
    seen = []
    model[2].register_forward_hook(lambda *_: seen.append(1))
    inputs = torch.randn(3, 4)
    small = prune(model, analyze(model, inputs).random_plan(0.5, 0))
    seen.clear()
    small(inputs)
    assert small[4].weight is small[2].weight
    assert small[2].out_features == 3
    assert seen == [1]


def test_a_plan_for_another_model_is_refused():
    plan = analyze(Residual(), image()).random_plan(0.5, 0)
    with pytest.raises(InvalidPlanError, match="another structure"):
        prune(Concat(), plan)
    with pytest.raises(InvalidPlanError, match="another structure"):
        prune(prune(Residual(), plan), plan)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"nothing.weight": {0: [0]}}, "doesn't have"),
        ({"stem.weight": {7: [0]}}, "dimension 7"),
        ({"stem.weight": {0: [0, 8]}}, "index 8"),
    ],
)
def test_indices_that_do_not_fit_are_refused(kept, message):
    space = analyze(Residual(), image())
    arrays = {name: {dim: np.array(index) for dim, index in dims.items()} for name, dims in kept.items()}
    with pytest.raises(InvalidPlanError, match=message):
        prune(Residual(), PruningPlan(arrays, {}, space.fingerprint))


@pytest.mark.parametrize(
    "attributes",
    [
        {"nothing": {}},
        {"nothing": {"out_channels": 4}},
        {"conv2": {"nothing": 4}},
        {"conv2": {"training": 1}},
        {"conv2": {"__class__": 4}},
        {"conv2": {"_parameters": (4,)}},
        {"conv2": {"forward": 4}},
        {"conv2": {"out_channels": (4,)}},
        {"conv2": {"kernel_size": 4}},
    ],
    ids=str,
)
def test_attributes_that_are_no_sizes_of_the_model_are_refused(attributes):
    space = analyze(Residual(), image())
    with pytest.raises(InvalidPlanError, match=r"the plan sets"):
        prune(Residual(), PruningPlan({}, attributes, space.fingerprint))


def test_verify_reports_agreement_and_raises_on_a_wrong_cut():
    model, inputs = randomise(Residual()), image()
    plan = analyze(model, inputs).random_plan(0.5, 0)
    assert verify(model, plan, inputs).max_abs_difference < 1e-12
    wrong = {name: dict(dims) for name, dims in plan.kept.items()}
    wrong["conv2.weight"][1] = np.array([0, 1, 2, 3]) if plan.kept["conv2.weight"][1][0] else np.array([4, 5, 6, 7])
    with pytest.raises(SurgeryError, match="differs"):
        verify(model, PruningPlan(wrong, plan.attributes, plan.fingerprint), inputs)


def test_a_plan_survives_json():
    model, inputs = randomise(Residual()), image()
    plan = analyze(model, inputs).random_plan(0.5, 0)
    again = PruningPlan.from_json(plan.to_json())
    assert torch.equal(prune(model, again)(inputs), prune(model, plan)(inputs))


@pytest.mark.parametrize(("channels", "kernel"), [(1, 3), (3, 1), (3, 3)])
def test_pruning_keeps_the_strides_of_channels_last_weights(seeded_torch, channels, kernel):
    model = nn.Sequential(nn.Conv2d(channels, 8, kernel), nn.ReLU(), nn.Conv2d(8, 4, 1)).to(
        memory_format=torch.channels_last
    )
    inputs = torch.zeros(1, channels, 6, 6)
    smaller = prune(model, analyze(model, inputs).random_plan(keep=0.5, seed=0))
    expected = nn.Conv2d(channels, 4, kernel).to(memory_format=torch.channels_last).weight.stride()
    assert smaller[0].weight.stride() == expected
