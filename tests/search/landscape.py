"""A problem of 12 bits that can be solved by looking at all 4,096 genomes."""

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Scored, SearchSettings
from evoprune.testing.search_suite import Groups

GROUPS = Groups(4, 4, 4)
SETTINGS = SearchSettings(
    pop_size=16, mutation_rate=0.05, crossover_rate=0.9, tournament_size=3, elitism=2, initial_keep=(0.2, 0.9)
)
GENERATIONS = 15
BUDGET = SETTINGS.pop_size * GENERATIONS

# What a unit is worth alone, and what each pair is worth on top: exact in binary, the same on every machine.
ALONE = np.array([3, -2, 5, 1, -4, 2, 6, -3, 1, -1, 4, -5]) / 4 + np.arange(12) / 512
PAIRS = np.triu(np.add.outer(np.arange(12) * 5, np.arange(12) * 7) % 11 - 5, k=1) / 16


def worth(genome: BitGenome) -> float:
    bits = genome.bits.astype(np.float64)
    return float(bits @ ALONE + bits @ PAIRS @ bits)


def scored(genome: BitGenome) -> Scored:
    return Scored(genome, worth(genome), (-worth(genome), float(genome.bits.sum())))


def valid_genomes() -> list[BitGenome]:
    """All of them, by brute force."""
    numbers = np.arange(4096)[:, None] >> np.arange(12) & 1
    genomes = [BitGenome.from_bits(row.astype(np.bool_)) for row in numbers]
    return [genome for genome in genomes if GROUPS.repair(genome) == genome]
