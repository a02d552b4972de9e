import pytest
import torch
from torch import nn

from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from tests.evaluation.doubles import CPU, network, points


def recalibrated(model, source, *, batches, batch_size=8, seed=3):
    return recalibrate_batch_norm(model, source, batches=batches, batch_size=batch_size, device=CPU, seed=seed)


def test_recalibrate_gives_the_averages_of_the_batches():
    model, source = network(nn.BatchNorm1d(7)), points(40)
    model[1].running_mean += 5
    assert recalibrated(model, source, batches=3) == 1
    features = [model[0](inputs) for inputs, _ in source.batches(8, device=CPU, seed=3)][:3]
    torch.testing.assert_close(model[1].running_mean, torch.stack([one.mean(0) for one in features]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([one.var(0) for one in features]).mean(0))


def test_recalibrate_feeds_later_layers_what_earlier_ones_normalise():
    with isolated_rng(1):
        linear = nn.Linear(7, 7)
    model, source = network(nn.BatchNorm1d(7), nn.ReLU(), linear, nn.BatchNorm1d(7)), points(40)
    assert recalibrated(model, source, batches=5) == 2
    normal = [model[0](inputs) for inputs, _ in source.batches(8, device=CPU, seed=3)]
    normal = [(one - one.mean(0)) / (one.var(0, unbiased=False) + model[1].eps).sqrt() for one in normal]
    features = [model[3](one.relu()) for one in normal]
    torch.testing.assert_close(model[4].running_mean, torch.stack([one.mean(0) for one in features]).mean(0))
    torch.testing.assert_close(model[4].running_var, torch.stack([one.var(0) for one in features]).mean(0))


def test_recalibrate_changes_statistics_alone():
    model = network(nn.BatchNorm1d(7), nn.Dropout(0.5))
    model[1].momentum = 0.3
    model.eval()
    model[2].train()
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    statistics = model[1].running_var.clone()
    recalibrated(model, points(16), batches=2)
    assert all(map(torch.equal, weights, model.parameters()))
    assert not statistics.equal(model[1].running_var)
    assert (model[1].momentum, model.training, model[1].training, model[2].training) == (0.3, False, False, True)


def test_recalibrate_averages_without_dropout():
    plain, dropping = (network(between, nn.BatchNorm1d(7)) for between in (nn.Identity(), nn.Dropout(0.5)))
    for model in (plain, dropping):
        recalibrated(model.train(), points(16), batches=2)
    assert plain[2].running_mean.equal(dropping[2].running_mean)
    assert dropping[1].training


def test_recalibrate_leaves_everything_when_there_is_nothing_to_do():
    model = network(nn.BatchNorm1d(7))
    assert recalibrated(model, None, batches=0) == 0
    assert recalibrated(network(nn.BatchNorm1d(7, track_running_stats=False)), None, batches=4) == 0
    assert model[1].running_mean.eq(0).all()


def test_recalibrate_leaves_out_a_single_sample_at_the_end():
    model, source = network(nn.BatchNorm1d(7)), points(17)
    recalibrated(model, source, batches=10)
    features = [model[0](inputs) for inputs, _ in source.batches(8, device=CPU, seed=3)][:2]
    torch.testing.assert_close(model[1].running_mean, torch.stack([one.mean(0) for one in features]).mean(0))
    assert int(model[1].num_batches_tracked) == 2


def test_recalibrate_restores_modes_when_the_network_fails():
    model = network(nn.BatchNorm1d(7)).train()
    with pytest.raises(RuntimeError):
        recalibrated(model, points(16, features=4), batches=1)
    assert all(module.training for module in model.modules())
    assert model[1].momentum == 0.1


def test_recalibrate_depends_on_its_seed_and_nothing_else():
    def statistics(seed, surroundings):
        model = network(nn.BatchNorm1d(7))
        with isolated_rng(surroundings):
            recalibrated(model, points(40), batches=2, seed=SeedTree(seed).seed)
        return model[1].running_mean

    assert statistics(0, surroundings=1).equal(statistics(0, surroundings=2))
    assert not statistics(0, surroundings=1).equal(statistics(1, surroundings=1))
