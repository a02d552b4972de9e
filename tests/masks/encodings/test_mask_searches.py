import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evoprune.genome import BitGenome
from evoprune.masks.encodings.keep_ratios import KeepRatios
from evoprune.masks.encodings.threshold_exceptions import ThresholdExceptions
from evoprune.masks.encodings.weight_bits import WeightBits
from evoprune.search.base import Scored, SearchSettings
from evoprune.search.pymoo_adapter import genetic, nsga2
from evoprune.search.steady_state import SteadyStateSearch
from tests.masks.encodings.spaces import build_space, faults, weight

ROOT = Path(__file__).parents[3]
WEIGHTS = [weight((10, 8, 3), name="a"), weight((6, 20), name="b")]


def settings(**changes):
    values = {"pop_size": 8, "mutation_rate": 0.02, "crossover_rate": 0.9, "tournament_size": 2, "elitism": 1}
    return SearchSettings(**{**values, "initial_keep": (0.2, 0.8), **changes})


def told(search, space, encoding):
    """The genomes of one more batch, scored by what their masks keep of a hidden target."""
    batch = [proposal.genome for proposal in search.ask()]
    target = np.random.default_rng(0).random(space.kept or 10_000)
    hits = [sum(target[: plan.kept]) + plan.masks["a.weight"].kept for plan in map(encoding.decode, batch)]
    search.tell([Scored(genome, hit, (-hit, hit)) for genome, hit in zip(batch, hits, strict=True)])
    return batch


@pytest.mark.parametrize("crossover_rate", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_steady_state_that_only_prunes_never_sets_a_bit_in_its_whole_history(seed, crossover_rate):
    space = build_space(WEIGHTS)
    encoding, generator = WeightBits(space), np.random.default_rng(seed)
    initial = [BitGenome.from_bits(generator.random(encoding.length) < 0.9) for _ in range(6)]
    search = SteadyStateSearch(
        encoding,
        settings(
            pop_size=6, crossover="single-point", mutation="prune", initial=initial, crossover_rate=crossover_rate
        ),
        objectives=1,
        seed=seed,
    )
    assert told(search, space, encoding) == initial
    for _ in range(60):
        parents = np.stack([genome.bits for genome in search.population])
        (child,) = told(search, space, encoding)
        # Crossover takes every bit from a parent at its own place, and mutation only clears.
        assert not np.any(child.bits & ~parents.any(axis=0))
        if not crossover_rate:
            assert any(not np.any(child.bits & ~parent) for parent in parents)


@pytest.mark.parametrize("factory", [genetic, SteadyStateSearch, nsga2])
@pytest.mark.parametrize("kind", [WeightBits, KeepRatios, ThresholdExceptions])
@pytest.mark.parametrize("structure", ["unstructured", "2:4", "4x4"])
def test_search_asks_for_valid_new_masks_and_repeats_itself(factory, kind, structure):
    space = build_space(WEIGHTS, structure, kept=0.3, alive=0.9, orders=2, live_outputs=True)
    histories = []
    for _ in range(2):
        encoding = kind(space)
        search = factory(encoding, settings(), objectives=2, seed=3)
        histories.append([genome for _ in range(5) for genome in told(search, space, encoding)])
    assert histories[0] == histories[1]
    assert len(set(histories[0])) == len(histories[0]) > 8
    assert all(faults(space, encoding.decode(genome)) == [] for genome in histories[0])


POPULATION = """
import re, sys, time
from pathlib import Path
import numpy as np
from evoprune.masks.space import MaskSpace
from evoprune.masks.encodings.weight_bits import WeightBits
from evoprune.masks.maskable import MaskableWeight
from evoprune.masks.structures import Unstructured
from evoprune.search.base import Scored, SearchSettings
from evoprune.search.pymoo_adapter import genetic
from evoprune.search.steady_state import SteadyStateSearch

search_name, kept, orders = sys.argv[1], int(sys.argv[2]) or None, int(sys.argv[3])
# All in one layer, which takes more memory than many layers do.
weights = (MaskableWeight("layer.weight", "layer", (2000, 10_000), "linear"),)
generator = np.random.default_rng(0)
space = MaskSpace(
    weights,
    {one.name: np.ones(one.size, dtype=bool) for one in weights},
    kept,
    {"magnitude": {one.name: generator.random(one.size, dtype=np.float32) for one in weights}} if orders else {},
    Unstructured(),
    frozenset(one.name for one in weights),
    "fingerprint",
)
encoding = WeightBits(space)
assert encoding.length == 20_000_000
settings = SearchSettings(
    pop_size=40, mutation_rate=1e-3, crossover_rate=0.9, tournament_size=3, elitism=2, initial_keep=(0.3, 0.9)
)
search = {"genetic": genetic, "steady-state": SteadyStateSearch}[search_name](encoding, settings, objectives=1, seed=0)
seconds = []
for _ in range(4):
    start = time.perf_counter()
    batch = [proposal.genome for proposal in search.ask()]
    search.tell([Scored(genome, int(genome.digest[:8], 16) / 2**32, (0.0,)) for genome in batch])
    seconds.append(time.perf_counter() - start)
assert len(search.population) == 40
assert all(kept is None or np.bitwise_count(genome.packed).sum() == kept for genome in search.population)
# Not ru_maxrss, which begins with what the parent had when it started this process.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(int(peak[1]) * 1024, *(f"{one:.2f}" for one in seconds))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kept", "orders"), [(2_000_000, 1), (15_000_000, 0), (0, 0)])
@pytest.mark.parametrize("search", ["genetic", "steady-state"])
def test_population_of_40_genomes_of_20_million_bits_stays_under_1_gb(search, kept, orders):
    command = [sys.executable, "-c", POPULATION, search, str(kept), str(orders)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    peak, *seconds = output.split()
    # The whole process, PyTorch's 260 MB and the scores included.
    assert int(peak) < 1e9, f"{int(peak) / 1e6:.0f} MB, {seconds} s per generation"
