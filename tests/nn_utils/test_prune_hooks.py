"""Networks under masks of `torch.nn.utils.prune` count as those with the masks folded into their weights."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.masks.apply import plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.masks.weight_scores import weight_scores
from evoprune.nn_utils.cloning import clone
from evoprune.pruning import mask, prune, verify
from tests.masks.zeros import plan_of_zeros, sparsity_of

pytestmark = pytest.mark.usefixtures("seeded_torch")


def network():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    ).eval()


def one_channel(model):
    gone = torch.ones_like(model[0].weight)
    gone[2] = 0
    torch_prune.custom_from_mask(model[0], "weight", gone)


def scale_and_weight(model):
    torch_prune.custom_from_mask(model[1], "weight", torch.tensor([1.0, 1, 0, 1, 1, 1]))
    torch_prune.l1_unstructured(model[3], "weight", 0.4)


def twice_and_bias(model):
    torch_prune.l1_unstructured(model[0], "weight", 0.3)
    torch_prune.random_unstructured(model[0], "weight", 0.3)
    torch_prune.l1_unstructured(model[0], "bias", 2)


def both(put_on):
    """-> a network with hooks on, and one with the same weights and none."""
    model = network()
    with torch.no_grad():
        model[0].weight[2] *= 50
        model[1].weight.uniform_(0.5, 2)
    plain = copy.deepcopy(model)
    put_on(model)
    for name, buffer in model.named_buffers():
        if name.endswith("_mask"):
            plain.get_parameter(name.removesuffix("_mask")).data *= buffer
    return model, plain


X = torch.linspace(-2, 2, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
WAYS = [one_channel, scale_and_weight, twice_and_bias]


@pytest.mark.parametrize("put_on", WAYS)
@pytest.mark.parametrize("criterion", ["l1", "l2", "lamp", "fpgm", "group_magnitude", "bn_scale", "taylor", "hessian"])
def test_criteria_see_the_weights_that_the_layers_use(put_on, criterion):
    model, plain = both(put_on)
    data = {"batches": [(X, torch.tensor([0, 1]))], "loss": nn.CrossEntropyLoss()}
    scores, expected = (importance(each, analyze(each, X), criterion, **data) for each in (model, plain))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("put_on", WAYS)
@pytest.mark.parametrize("ran_with_gradients", [False, True])
def test_a_pruned_layer_has_its_sizes_before_its_first_pass(put_on, ran_with_gradients):
    model, plain = both(put_on)
    if ran_with_gradients:
        model(X)
    plan = analyze(model, X).random_plan(0.5, seed=0)
    small = prune(model, plan)
    assert small[0].weight.shape == (small[0].out_channels, 3, 3, 3) == (3, 3, 3, 3)
    assert small[3].weight.shape == (small[3].out_channels, 3, 3, 3)
    expected = prune(plain, analyze(plain, X).random_plan(0.5, seed=0))
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(small[0], name), getattr(expected[0], name))
    torch.testing.assert_close(small(X), expected(X))
    assert verify(model, plan, X).agrees


def test_copies_keep_masks_on_and_share_nothing():
    model, _ = both(one_channel)
    model(X)
    copied = clone(model)
    copied.train()(X).sum().backward()
    assert not copied[0].weight[2].any()
    assert not copied[0].weight_orig.grad[2].any()
    assert model[0].weight_orig.grad is None
    assert model[0].weight.grad_fn is not None


def test_masked_references_show_the_weights_of_their_next_pass():
    model, _ = both(one_channel)
    plan = analyze(model, X).random_plan(0.5, seed=0)
    gone = np.setdiff1d(np.arange(6), plan.kept["0.weight_orig"][0])
    assert not mask(model, plan)[0].weight[gone].any()
    weights = {"0.weight_orig": torch.zeros(6, 3, 3, 3, dtype=torch.bool)}
    assert not mask(model, plan_of(model, weights))[0].weight.any()


@pytest.mark.parametrize("put_on", [one_channel, twice_and_bias])
def test_sparsity_and_orders_of_single_weights_count_masked_ones_as_zero(put_on):
    model, plain = both(put_on)
    assert sparsity_of(model) == sparsity_of(plain) > 0
    assert not plan_of_zeros(model).masks["0.weight_orig"].bools[plain[0].weight.detach().numpy() == 0].any()
    scores = weight_scores(model, maskable_weights(model), ["magnitude"], [], nn.CrossEntropyLoss())["magnitude"]
    np.testing.assert_array_equal(scores["0.weight_orig"], plain[0].weight.detach().abs().numpy())
