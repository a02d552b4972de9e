"""The genetic algorithm on a problem whose optimum brute force knows, and its journal for one seed, pinned.

`python -m tests.search.test_golden` writes the journal anew, after a change that is meant to change the search.
"""

from itertools import chain
from pathlib import Path

import pytest

from evoprune.plugins import resolve
from evoprune.testing.search_suite import play
from tests.search.landscape import BUDGET, GENERATIONS, GROUPS, SETTINGS, scored, valid_genomes, worth

GOLDEN = Path(__file__).parents[1] / "golden" / "genetic_12_bits.txt"
SEEDS = range(10)


def asked_by(name, seed, *, representation=GROUPS, settings=SETTINGS):
    search = resolve("searches", name)(representation, settings, objectives=2, seed=seed)
    return list(chain(*play(search, scored, GENERATIONS)))


def journal():
    return [f"{genome.digest} {worth(genome):.6f}" for genome in asked_by("genetic", 0)]


@pytest.fixture(scope="module")
def optimum():
    ranked = sorted(valid_genomes(), key=worth)
    assert worth(ranked[-1]) > worth(ranked[-2]), "the optimum is not unique"
    return ranked[-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_genetic_finds_the_optimum_within_a_fraction_of_the_space(seed, optimum):
    asked = asked_by("genetic", seed)
    assert optimum in asked
    assert len(asked) <= BUDGET < len(valid_genomes()) / 10


def test_random_finds_the_optimum_less_often_at_the_same_budget(optimum):
    found = sum(optimum in asked_by("random", seed) for seed in SEEDS)
    assert found < len(SEEDS) / 2


def test_nsga2_holds_the_optimum_and_best_genomes_of_other_sizes_at_its_end(optimum):
    search = resolve("searches", "nsga2")(GROUPS, SETTINGS, objectives=2, seed=1)
    play(search, scored, GENERATIONS)
    best = {}
    for genome in valid_genomes():
        size = int(genome.bits.sum())
        best[size] = max(best.get(size, worth(genome)), worth(genome))
    population = {(int(genome.bits.sum()), worth(genome)) for genome in search.population}
    assert optimum in search.population
    assert len(population & set(best.items())) >= 3


def test_genetic_asks_for_the_pinned_genomes():
    assert journal() == GOLDEN.read_text(encoding="utf-8").split("\n")[:-1]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("".join(f"{line}\n" for line in journal()), encoding="utf-8")
