"""pymoo behind `Search`: the one file that imports it.

Genomes travel through pymoo as objects in a single variable. Its own boolean variables take gigabytes at 1e7 bits; here a bit is
a bit, and every operator works on packed bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.algorithms.moo.nsga2 import NSGA2, RankAndCrowding
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.survival import Survival
from pymoo.core.termination import NoTermination
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.util.ref_dirs import get_reference_directions

from evoprune.genome import BitGenome
from evoprune.search.base import Proposal, Representation, Scored, SearchSettings
from evoprune.search.lineage import Lineage
from evoprune.search.variation import Variation, variation_of

Objects = NDArray[np.object_]
SAMPLING_ATTEMPTS = 100


class PymooSearch:
    """A generational pymoo algorithm as a `Search`.

    Args:
        algorithm: Set up with the operators of this file.
        seen: Digests that the algorithm's duplicate elimination consults; that of every genome asked is added.
        lineage: Parents of each genome that the algorithm's operators have bred.
        costs_of: Returns the costs that pymoo minimises, from a scored genome.
        objectives: Number of these costs.
        seed: Seed of pymoo's generator.
    """

    def __init__(
        self,
        algorithm: GeneticAlgorithm,
        seen: set[str],
        lineage: Lineage,
        *,
        costs_of: Callable[[Scored], Sequence[float]],
        objectives: int,
        seed: int,
    ) -> None:
        self._algorithm = algorithm
        self._seen, self._lineage = seen, lineage
        self._costs_of = costs_of
        self._asked: Any = None
        # One constraint carries every violation, failures included; pymoo compares it before any objective.
        problem = Problem(n_var=1, n_obj=objectives, n_ieq_constr=1, vtype=object)
        algorithm.setup(problem, termination=NoTermination(), seed=seed)

    def ask(self) -> Sequence[Proposal]:
        """The next generation's new candidates; empty when no unique child can be bred."""
        self._lineage.clear()
        self._asked = self._algorithm.ask()
        if self._asked is None or len(self._asked) == 0:
            return ()
        genomes = [individual.X[0] for individual in self._asked]
        self._seen.update(genome.digest for genome in genomes)
        return [Proposal(genome, parents=self._lineage.parents(genome)) for genome in genomes]

    def tell(self, scored: Sequence[Scored]) -> None:
        """Costs in the order asked."""
        if [one.genome for one in scored] != [individual.X[0] for individual in self._asked]:
            raise ValueError("tell needs the genomes of the last ask, in order")
        for individual, one in zip(self._asked, scored, strict=True):
            individual.F = np.array(self._costs_of(one), dtype=np.float64)
            individual.G = np.array([one.violation], dtype=np.float64)
            individual.H = np.empty(0)
            individual.evaluated.update({"F", "G", "H"})
        self._algorithm.tell(infills=self._asked)

    @property
    def population(self) -> Sequence[BitGenome]:
        """The survivors of the last selection."""
        population = self._algorithm.pop
        return () if population is None else [individual.X[0] for individual in population]


class ElitistReplacement(Survival):
    """Children replace their parents, all but the `elitism` best of these (De Jong 1975)."""

    def __init__(self, elitism: int) -> None:
        super().__init__(filter_infeasible=False)
        self._elitism = elitism

    def _do(
        self, problem: Problem, pop: Population, *args: Any, n_survive: int, algorithm: Any, **kwargs: Any
    ) -> Population:
        order = np.lexsort([pop.get("F")[:, 0], pop.get("CV")[:, 0]])
        is_child = pop.get("n_gen") == algorithm.n_iter
        parents, children = order[~is_child[order]], order[is_child[order]]
        elite = parents[: self._elitism]
        rest = children[: n_survive - len(elite)]
        # Where too few unique children could be bred, the best parents fill the places.
        filled = parents[len(elite) : n_survive - len(rest)]
        survivors = np.concatenate([elite, rest, filled])
        return pop[survivors[np.lexsort([pop.get("F")[survivors, 0], pop.get("CV")[survivors, 0]])]]


def fittest_of_tournament(pop: Population, tournaments: NDArray[np.int64], **_: Any) -> NDArray[np.int64]:
    """Winner of each tournament: least violation first, then least cost; a tie goes to the first drawn.

    Args:
        pop: Individuals with one objective.
        tournaments: [n, size] positions in `pop`.

    Returns:
        [n, 1] positions of the winners.
    """
    keys = np.column_stack([pop.get("CV")[:, 0], pop.get("F")[:, 0]])
    rank = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    winners = rank[tournaments].argmin(axis=1)
    chosen: NDArray[np.int64] = tournaments[np.arange(len(tournaments)), winners][:, None]
    return chosen


class _Sampling(Sampling):
    def __init__(self, initial: Sequence[BitGenome], variation: Variation) -> None:
        super().__init__()
        self._initial, self._variation = initial, variation

    def _do(self, problem: Problem, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> Objects:
        found: dict[BitGenome, None] = dict.fromkeys(self._initial[:n_samples])
        for _ in range(SAMPLING_ATTEMPTS * n_samples):
            if len(found) == n_samples:
                break
            found.setdefault(self._variation.sample(random_state))
        return as_objects(list(found))


class _PairCrossover(Crossover):
    def __init__(self, variation: Variation, rate: float, lineage: Lineage) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=rate)
        self._variation, self._lineage = variation, lineage

    def _do(self, problem: Problem, X: Objects, *args: Any, random_state: Any = None, **kwargs: Any) -> Objects:
        children = np.empty_like(X)
        for mating in range(X.shape[1]):
            parents = X[0, mating, 0], X[1, mating, 0]
            children[:, mating, 0] = self._variation.cross(*parents, random_state)
            for child in children[:, mating, 0]:
                self._lineage.bred(child, *parents)
        return children


class _GenomeMutation(Mutation):
    def __init__(self, variation: Variation, lineage: Lineage) -> None:
        super().__init__(prob=1.0)
        self._variation, self._lineage = variation, lineage

    def _do(self, problem: Problem, X: Objects, *args: Any, random_state: Any = None, **kwargs: Any) -> Objects:
        return as_objects([self._lineage.changed(row[0], self._variation.mutate(row[0], random_state)) for row in X])


class _Repair(Repair):
    def __init__(self, repair: Callable[[BitGenome], BitGenome], lineage: Lineage) -> None:
        super().__init__()
        self._repair, self._lineage = repair, lineage

    def _do(self, problem: Problem, X: Objects, **kwargs: Any) -> Objects:
        return as_objects([self._lineage.changed(row[0], self._repair(row[0])) for row in X])


class _NeverAgain(DuplicateElimination):
    """Drops what was asked before, in this generation or in any other."""

    def __init__(self, seen: set[str]) -> None:
        super().__init__()
        self._seen = seen

    def do(self, pop: Population, *others: Population, **_: Any) -> Population:
        known = {individual.X[0].digest for other in others for individual in other}
        fresh: list[int] = []
        for position, individual in enumerate(pop):
            digest = individual.X[0].digest
            if digest not in known and digest not in self._seen:
                known.add(digest)
                fresh.append(position)
        return pop[fresh]


def as_objects(genomes: Sequence[BitGenome]) -> Objects:
    """[n, 1] array of the genomes, whatever numpy thinks of their insides."""
    array = np.empty((len(genomes), 1), dtype=object)
    for row, genome in enumerate(genomes):
        array[row, 0] = genome
    return array


def genetic(representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> PymooSearch:
    """The classical genetic algorithm on fitness: tournament, uniform crossover, bit flips, elitist replacement."""
    del objectives
    seen: set[str] = set()
    lineage = Lineage()
    algorithm = GeneticAlgorithm(
        selection=TournamentSelection(func_comp=fittest_of_tournament, pressure=settings.tournament_size),
        survival=ElitistReplacement(settings.elitism),
        **_variation(representation, settings, seen, lineage),
    )
    return PymooSearch(algorithm, seen, lineage, costs_of=lambda one: (-one.fitness,), objectives=1, seed=seed)


def nsga2(representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> PymooSearch:
    """NSGA-II on all costs, a front in one run; its tournaments are binary (Deb et al. 2002)."""
    seen: set[str] = set()
    lineage = Lineage()
    algorithm = NSGA2(survival=RankAndCrowding(), **_variation(representation, settings, seen, lineage))
    return PymooSearch(algorithm, seen, lineage, costs_of=lambda one: one.costs, objectives=objectives, seed=seed)


def nsga3(representation: Representation, settings: SearchSettings, *, objectives: int, seed: int) -> PymooSearch:
    """NSGA-III on all costs, for more objectives than three, where crowding says little (Deb and Jain 2014).

    Survivors are spread over as many reference directions as the population is large, at most: those of Das and Dennis.
    """
    seen: set[str] = set()
    lineage = Lineage()
    directions = reference_directions(objectives, settings.pop_size)
    algorithm = NSGA3(
        directions,
        selection=TournamentSelection(func_comp=less_violation_of_tournament, pressure=2),
        **_variation(representation, settings, seen, lineage),
    )
    return PymooSearch(algorithm, seen, lineage, costs_of=lambda one: one.costs, objectives=objectives, seed=seed)


def reference_directions(objectives: int, most: int) -> NDArray[np.float64]:
    """[directions, objectives] points of the unit simplex, in as many equal parts as give at most `most` of them."""
    partitions = 1
    while comb(partitions + objectives, objectives - 1) <= most and objectives > 1:
        partitions += 1
    directions: NDArray[np.float64] = get_reference_directions("das-dennis", objectives, n_partitions=partitions)
    return directions


def less_violation_of_tournament(
    pop: Population, tournaments: NDArray[np.int64], *, random_state: np.random.Generator, **_: Any
) -> NDArray[np.int64]:
    """Winner of each tournament: least violation, and of equals any, as NSGA-III leaves all else to its survival.

    pymoo 0.6.2's own comparator draws from numpy's global generator unless it is told otherwise.
    """
    violation = pop.get("CV")[:, 0][tournaments]
    drawn = random_state.random(tournaments.shape)
    order = np.lexsort((drawn, violation), axis=1)
    winners: NDArray[np.int64] = tournaments[np.arange(len(tournaments)), order[:, 0]][:, None]
    return winners


def _variation(
    representation: Representation, settings: SearchSettings, seen: set[str], lineage: Lineage
) -> dict[str, Any]:
    variation = variation_of(representation, settings)
    return {
        "pop_size": settings.pop_size,
        "n_offsprings": settings.pop_size,
        "sampling": _Sampling(
            [representation.repair(genome) for genome in settings.initial],
            variation,
        ),
        "crossover": _PairCrossover(variation, settings.crossover_rate, lineage),
        "mutation": _GenomeMutation(variation, lineage),
        "repair": _Repair(representation.repair, lineage),
        "eliminate_duplicates": _NeverAgain(seen),
    }
