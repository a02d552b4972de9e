import types

import pytest
import torch
from torch.nn import functional

import evoprune as ep
from evoprune.errors import ConfigError, DataError
from evoprune.objectives.accuracy import score
from evoprune.recipes.lenet5 import LeNet5, TanhLeNet5, lenet5_mnist, lenet5_tanh_mnist
from evoprune.recipes.shipped import ShippedWeights
from evoprune.run.problem import factory_of
from evoprune.store.artifact import save_artifact

CPU = torch.device("cpu")


def test_lenet5_is_the_classical_one(seeded_torch):
    model = LeNet5()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert [name for name, _ in model.named_children()] == ["conv1", "conv2", "fc1", "fc2", "fc3"]


@pytest.mark.parametrize(("network", "activate"), [(LeNet5, torch.relu), (TanhLeNet5, torch.tanh)])
def test_forward_is_the_network_that_activates_before_it_pools(seeded_torch, network, activate):
    model, images = network(), torch.randn(4, 1, 28, 28)
    features = functional.max_pool2d(activate(model.conv1(images)), 2)
    features = functional.max_pool2d(activate(model.conv2(features)), 2)
    expected = model.fc3(activate(model.fc2(activate(model.fc1(features.flatten(1))))))
    assert torch.equal(model(images), expected)


def test_another_activation_is_refused():
    with pytest.raises(ConfigError, match="'gelu', relu or tanh accepted"):
        LeNet5(activation="gelu")


@pytest.mark.parametrize("network", [LeNet5, TanhLeNet5])
def test_class_alone_rebuilds_the_network(seeded_torch, network):
    assert factory_of(network()) == f"evoprune.recipes.lenet5:{network.__name__}"


def test_activation_that_was_given_comes_back_with_the_network(seeded_torch, tmp_path):
    model, images = LeNet5(activation="tanh").eval(), torch.randn(2, 1, 28, 28)
    task = types.SimpleNamespace(train=object(), class_names=(), data_licence="")
    plan = ep.analyze(model, images).random_plan(keep=0.5, seed=0)
    small = ep.prune(model, plan).eval()
    save_artifact(tmp_path / "artifact", small, plan, factory=factory_of(model), task=task)
    assert torch.equal(ep.load(tmp_path / "artifact")(images), small(images))
    with torch.no_grad():
        assert not torch.allclose(LeNet5().eval()(images), model(images))


@pytest.mark.parametrize("network", [LeNet5, TanhLeNet5])
def test_channel_pruning_equals_the_masked_network(seeded_torch, network):
    model, example = network(), torch.randn(2, 1, 28, 28)
    space = ep.analyze(model, example)
    assert sum(group.size for group in space.groups) == 6 + 16 + 120 + 84
    ep.verify(model, space.random_plan(keep=0.5, seed=0), example)


def test_shipped_weights_are_those_of_the_card_and_accurate(real_mnist):
    model, task, _ = lenet5_mnist()
    card = ShippedWeights("lenet5-mnist").card()
    assert card["test_accuracy"] >= 0.989
    head = score(model, task.test.head(1000), task.metric, device=CPU, batch_size=250)
    assert head == pytest.approx(card["test_accuracy"], abs=0.01)


@pytest.mark.slow
def test_shipped_weights_reach_what_the_card_says(real_mnist):
    model, task, _ = lenet5_mnist()
    card = ShippedWeights("lenet5-mnist").card()
    for data, stated in ((task.test, card["test_accuracy"]), (task.select, card["select_accuracy"])):
        assert score(model, data, task.metric, device=CPU, batch_size=250) == pytest.approx(stated, abs=2e-4)


def test_split_is_the_same_whatever_the_seed(real_mnist):
    (_, first, _), (_, other, _) = lenet5_mnist(seed=0), lenet5_mnist(seed=1)
    assert first.select.rows.equal(other.select.rows)
    assert len(first.select) == ShippedWeights("lenet5-mnist").card()["select_size"] == 6000


def test_smaller_select_set_holds_nothing_that_the_weights_have_learnt(real_mnist):
    (_, whole, _), (_, small, _) = lenet5_mnist(), lenet5_mnist(select_size=500)
    assert torch.isin(small.select.rows, whole.select.rows).all()


def test_larger_select_set_is_refused_for_trained_weights_alone(real_mnist):
    with pytest.raises(DataError, match=r"select_size is 7,000.* all training images but 6,000") as caught:
        lenet5_mnist(select_size=7000)
    assert "training.epochs=" in caught.value.hint
    assert len(lenet5_mnist(select_size=7000, pretrained=False)[1].select) == 7000


@pytest.mark.slow
def test_untrained_network_depends_on_the_seed(real_mnist):
    models = [lenet5_mnist(seed=seed, pretrained=False)[0] for seed in (0, 0, 1)]
    assert models[0].fc1.weight.equal(models[1].fc1.weight)
    assert not models[0].fc1.weight.equal(models[2].fc1.weight)
    assert lenet5_tanh_mnist()[0].fc1.weight.equal(models[0].fc1.weight)
