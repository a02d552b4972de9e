from types import SimpleNamespace

import pytest

from evoprune.objectives.fitness import mean_gain, weighted

DENSE = {"macs": 400}


def test_fitness_weighs_accuracy_against_the_share_of_macs_saved():
    fitness = weighted({"accuracy": 2.0, "macs": 0.5}, DENSE)
    assert fitness({"accuracy": 0.9, "macs": 100, "params": 7}) == pytest.approx(2 * 0.9 + 0.5 * 0.75)
    assert fitness({"accuracy": 0.9, "macs": 400}) == pytest.approx(1.8)


def test_fitness_rises_with_accuracy_and_falls_with_macs():
    fitness = weighted({"accuracy": 1.0, "macs": 0.1}, DENSE)
    here = fitness({"accuracy": 0.9, "macs": 100})
    assert fitness({"accuracy": 0.91, "macs": 100}) > here > fitness({"accuracy": 0.9, "macs": 101})


@pytest.mark.parametrize(
    ("weights", "values", "wanted"),
    [
        ({"accuracy": 1, "macs": 0}, {"accuracy": 0.9}, 0.9),
        ({"accuracy": 0, "macs": 1}, {"macs": 100}, 0.75),
        ({"accuracy": 0, "layer_sparsity": 0.5, "loss": 2.0}, {"layer_sparsity": 0.4, "loss": 0.1}, 0.0),
    ],
)
def test_fitness_needs_no_value_of_what_weighs_nothing(weights, values, wanted):
    assert weighted(weights, DENSE)(values) == pytest.approx(wanted)


def test_fitness_turns_the_sign_of_a_metric_of_which_less_is_better():
    channels = weighted({"accuracy": 2.0, "macs": 0.5}, DENSE, maximize=False)
    masks = weighted({"accuracy": 2.0, "layer_sparsity": 0.5, "loss": 0.0}, {}, maximize=False)
    assert channels({"accuracy": 3.0, "macs": 100}) == pytest.approx(-6 + 0.375)
    assert masks({"accuracy": 3.0, "layer_sparsity": 0.5}) == pytest.approx(-6 + 0.25)


def objective(name, *, maximize):
    return SimpleNamespace(name=name, maximize=maximize)


def test_mean_gain_weighs_all_objectives_alike_as_fractions_of_the_dense_networks():
    fitness = mean_gain(
        [objective("loss", maximize=False), objective("params", maximize=False)], {"loss": 0.4, "params": 1000}
    )
    assert fitness({"loss": 0.3, "params": 500}) == pytest.approx((0.25 + 0.5) / 2)
    assert fitness.names == ("loss", "params")


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("dense", [2.0, -2.0, 0.0])
def test_mean_gain_rises_with_what_is_better_whatever_the_sign_of_the_dense_networks_value(dense, maximize):
    fitness = mean_gain([objective("own", maximize=maximize)], {"own": dense})
    assert (fitness({"own": dense + 1}) > fitness({"own": dense})) == maximize
    assert fitness({"own": dense}) == pytest.approx(0)
