import pytest

from evoprune.objectives.fitness import WeightedFitness


def test_fitness_weighs_accuracy_against_the_share_of_macs_saved():
    fitness = WeightedFitness(w_acc=2.0, w_macs=0.5, baseline_macs=400)
    assert fitness({"accuracy": 0.9, "macs": 100, "params": 7}) == pytest.approx(2 * 0.9 + 0.5 * 0.75)
    assert fitness({"accuracy": 0.9, "macs": 400}) == pytest.approx(1.8)


def test_fitness_rises_with_accuracy_and_falls_with_macs():
    fitness = WeightedFitness(w_acc=1.0, w_macs=0.1, baseline_macs=400)
    here = fitness({"accuracy": 0.9, "macs": 100})
    assert fitness({"accuracy": 0.91, "macs": 100}) > here > fitness({"accuracy": 0.9, "macs": 101})


@pytest.mark.parametrize(("w_acc", "w_macs", "wanted"), [(1, 0, 0.9), (0, 1, 0.75)])
def test_fitness_ignores_what_weighs_nothing(w_acc, w_macs, wanted):
    assert WeightedFitness(w_acc, w_macs, 400)({"accuracy": 0.9, "macs": 100}) == pytest.approx(wanted)
