import copy

import numpy as np
import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import InvalidPlanError
from evoprune.mask_plan import MaskPlan, PackedMask
from evoprune.masks.apply import (
    apply_masks,
    masks_as_tensors,
    plan_of,
)
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.weights import weight_bytes
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import TinyCNN
from tests.masks.zeros import plan_of_zeros, sparsity_of, zeros_by_weight


@pytest.fixture
def model():
    with isolated_rng(0):
        return TinyCNN().eval()


def random_plan(model, keep=0.3, **options):
    generator = np.random.default_rng(0)
    weights = maskable_weights(model, **options)
    return plan_of(model, {weight.name: generator.random(weight.shape) < keep for weight in weights})


def test_masked_weights_are_zero_and_all_others_as_they_were(model):
    plan = random_plan(model, include_norm_scales=True)
    model.conv1.weight.data[0] = -0.0
    before = weight_bytes(model)
    masked = apply_masks(model, plan).state_dict()
    for name, value in model.state_dict().items():
        keep = torch.from_numpy(plan.masks[name].bools) if name in plan.masks else torch.ones_like(value).bool()
        assert torch.equal(masked[name][keep], value[keep])
        assert not masked[name][~keep].any()
        assert not torch.signbit(masked[name][~keep]).any()
    assert weight_bytes(model) == before


def test_masked_weight_is_zero_where_it_was_not_a_number(model):
    model.fc.weight.data.fill_(float("nan"))
    masked = apply_masks(model, plan_of(model, {"fc.weight": np.eye(4, 32, dtype=bool)}))
    assert torch.equal(masked.fc.weight.isnan(), torch.eye(4, 32).bool())


def test_masked_model_shares_nothing_and_keeps_its_kind(model):
    model.double().to(memory_format=torch.channels_last).train()
    model.conv2.weight.requires_grad_(False)
    masked = apply_masks(model, random_plan(model))
    assert (type(masked), masked.training, masked.conv1.weight.dtype) == (TinyCNN, True, torch.float64)
    assert masked.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert [p.requires_grad for p in masked.parameters()] == [p.requires_grad for p in model.parameters()]
    assert not {p.data_ptr() for p in masked.parameters()} & {p.data_ptr() for p in model.parameters()}


def test_masked_model_keeps_its_ties():
    with isolated_rng(0):
        model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    model[1].weight = model[0].weight
    masked = apply_masks(model, plan_of(model, {"0.weight": np.eye(5, 3, dtype=bool)}))
    assert masked[0].weight is masked[1].weight
    assert masked[1].weight.count_nonzero() == 3


def test_masks_apply_under_inference_mode(model):
    with torch.inference_mode():
        masked = apply_masks(model, random_plan(model))
    masked(torch.ones(1, 3, 8, 8)).sum().backward()
    assert masked.conv1.weight.grad is not None


def test_masks_as_tensors_are_the_plan(model):
    plan = random_plan(model)
    tensors = masks_as_tensors(model, plan)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        weight.name: (torch.bool, weight.shape) for weight in maskable_weights(model)
    }
    assert plan_of(model, tensors) == plan


def test_sparsity_counts_the_zeros_that_are_there(model):
    plan = random_plan(model)
    masked = apply_masks(model, plan)
    assert sparsity_of(masked) == pytest.approx(plan.sparsity)
    assert plan_of_zeros(masked) == plan
    assert zeros_by_weight(masked)["fc.weight"] == (128 - plan.masks["fc.weight"].kept, 128)
    assert sparsity_of(model) == 0


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"fc.weight": np.ones((32, 4), bool)}, r"'fc.weight' has shape \[32, 4\], the model's is \[4, 32\]"),
        ({"fd.weight": np.ones((4, 32), bool)}, r"'fd.weight', which is no parameter"),
        ({"bn1.running_mean": np.ones(8, bool)}, r"'bn1.running_mean', which is no parameter"),
        ({"fc.weight": np.ones((4, 32))}, "array of bool, not of float64"),
    ],
)
def test_plan_that_does_not_fit_is_refused(model, masks, message):
    with pytest.raises(InvalidPlanError, match=message):
        plan_of(model, masks)


def test_plan_of_another_structure_is_refused(model):
    with isolated_rng(0):
        other = TinyCNN(width=9)
    with pytest.raises(InvalidPlanError, match="another structure than this TinyCNN"):
        apply_masks(other, random_plan(model))


def test_public_functions_take_mask_plans(model):
    plan, images = random_plan(model), torch.linspace(-1, 1, 2 * 192).view(2, 3, 8, 8)
    expected = weight_bytes(apply_masks(model, plan))
    assert weight_bytes(ep.prune(model, plan)) == weight_bytes(ep.mask(model, plan)) == expected
    check = ep.verify(model, plan, images)
    assert (check.max_abs_difference, check.agrees) == (0, True)
    assert check.max_abs_reference > 0


def test_verify_leaves_a_model_as_it_was_that_can_not_run_in_float64(model):
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = copy.deepcopy(model)

        def forward(self, images):
            return self.net(images.float())

    picky = Picky()
    before = weight_bytes(picky)
    assert ep.verify(picky, random_plan(picky), torch.ones(2, 3, 8, 8)).dtype == torch.float32
    assert weight_bytes(picky) == before


def test_plan_with_no_masks_changes_nothing(model):
    assert weight_bytes(apply_masks(model, plan_of(model, {}))) == weight_bytes(model)
    assert MaskPlan({"a": PackedMask.from_bools(np.ones(0, bool))}, "f").sparsity == 0
