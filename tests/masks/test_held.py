import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import InvalidPlanError
from evoprune.evaluation.training import Schedule, train
from evoprune.masks.held import hold_masks
from evoprune.nn_utils.memory import MicroBatch
from evoprune.seeding import SeedTree
from tests.evaluation.doubles import CPU, network, points


def masks_for(model, keep=0.4):
    generator = torch.Generator().manual_seed(3)
    weights = {name: weight for name, weight in model.named_parameters() if weight.dim() > 1}
    return {name: torch.rand(weight.shape, generator=generator) < keep for name, weight in weights.items()}


def trained(model, masks, *, optimizer="sgd", size=8, steps=60, on_step=None):
    train(
        model,
        points(40),
        Schedule(steps, 8, optimizer, 0.05, 0.1),
        loss=functional.cross_entropy,
        seeds=SeedTree(0),
        device=CPU,
        micro_batch=MicroBatch(size, stage="test"),
        on_step=on_step,
        masks=masks,
    )
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def positive_zero(tensor):
    return not tensor.any() and not torch.signbit(tensor).any()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("size", [8, 3])
def test_pruned_weights_are_exactly_zero_after_every_step(optimizer, size):
    model = network().float()
    model.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    masks, zero = masks_for(model), []

    def look(*_):
        weights = dict(model.named_parameters())
        zero.append(all(positive_zero(weights[name].detach()[~mask]) for name, mask in masks.items()))

    after = trained(model, masks, optimizer=optimizer, size=size, on_step=look)
    assert zero == [True] * 60
    assert all(after[name][mask].all() for name, mask in masks.items())


def by_hand(model, masks, optimizer):
    """As `train`, with the masks put on everything that there is after every step, and on gradients before."""
    seeds, weights = SeedTree(0), dict(model.named_parameters())
    how = Schedule(60, 8, optimizer, 0.05, 0.1)
    options = {"lr": how.lr, "weight_decay": how.weight_decay}
    if optimizer == "sgd":
        engine = torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **options)
    else:
        engine = torch.optim.AdamW(model.parameters(), **options)

    def put_masks():
        with torch.no_grad():
            for name, mask in masks.items():
                state = [value for value in engine.state[weights[name]].values() if value.shape == mask.shape]
                for tensor in (weights[name], *state):
                    tensor[~mask] = 0

    put_masks()
    batches = (
        batch
        for epoch in range(12)
        for batch in points(40).batches(8, device=CPU, seed=seeds.child("order", epoch).seed)
    )
    for step, (inputs, targets) in enumerate(batches):
        engine.param_groups[0]["lr"] = how.lr * how.lr_factor(step)
        model.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        for name, mask in masks.items():
            weights[name].grad[~mask] = 0
        engine.step()
        put_masks()
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_train_with_masks_equals_a_loop_that_masks_by_hand(optimizer):
    model = network()
    masks = masks_for(model)
    expected = by_hand(network(), masks, optimizer)
    assert all(torch.equal(value, expected[name]) for name, value in trained(model, masks, optimizer=optimizer).items())


def test_train_with_masks_that_keep_all_equals_train_without():
    everything = {name: torch.ones_like(mask) for name, mask in masks_for(network()).items()}
    one, other = trained(network(), everything), trained(network(), None)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_infinite_gradient_of_a_pruned_weight_stays_out(seeded_torch):
    layer = nn.Linear(2, 1, bias=False).double()
    layer.weight.data.fill_(1)
    engine = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    hold_masks(layer, {"weight": torch.tensor([[True, False]])}, engine)
    for _ in range(2):
        layer.weight.grad = torch.tensor([[1.0, torch.inf]], dtype=torch.float64)
        engine.step()
    assert layer.weight[0, 1] == 0
    assert layer.weight[0, 0] < 1


def test_masks_hold_for_shared_and_frozen_weights_and_unused_ones(seeded_torch):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    eye = torch.eye(2).bool()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    engine = torch.optim.SGD(parameters, lr=0.1)
    hold_masks(model, {f"{number}.weight": eye for number in (1, 2, 3)}, engine)
    model[:3](torch.ones(1, 2)).sum().backward()
    engine.step()
    assert all(positive_zero(layer.weight.detach()[~eye]) for layer in model)


@pytest.mark.parametrize(
    "masks",
    [
        {"0.weight": torch.ones(5, 7, dtype=torch.bool)},
        {"0.weight": torch.ones(7, 5)},
        {"9.weight": torch.ones(7, 5, dtype=torch.bool)},
    ],
)
def test_train_refuses_masks_that_do_not_fit(masks):
    with pytest.raises(InvalidPlanError, match="fits no parameter of Sequential"):
        trained(network(), masks)
