"""Conformance suite for `Search`: what every search algorithm has to hold, as tests that an extension inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain
from typing import Final

import numpy as np

from evoprune.genome import BitGenome, Segment
from evoprune.search.base import AsynchronousSearch, Scored, Search, SearchFactory, SearchSettings
from evoprune.search.diversity import mean_hamming_distance

Answer = Callable[[BitGenome], Scored]

SETTINGS: Final = SearchSettings(
    pop_size=12, mutation_rate=0.02, crossover_rate=0.9, tournament_size=2, elitism=2, initial_keep=(0.2, 0.9)
)
GROUPS: Final = (24, 24, 16)
FAILED_VIOLATION: Final = 1e9


class Groups:
    """A `Representation` whose groups each keep at least one unit: an empty group gets its first one back.

    Args:
        sizes: Units of each group.
    """

    def __init__(self, *sizes: int) -> None:
        starts = np.cumsum([0, *sizes])
        self.length = int(starts[-1])
        self.segments = tuple(Segment(f"group{number}", int(starts[number]), size) for number, size in enumerate(sizes))

    def repair(self, genome: BitGenome) -> BitGenome:
        """The genome, with a unit in each group."""
        bits = genome.bits
        empty = [one.start for one in self.segments if not bits[one.start : one.start + one.size].any()]
        if not empty:
            return genome
        bits[empty] = True
        return BitGenome.from_bits(bits)


class SearchSuite(ABC):
    """Inherit in a module that pytest collects, and name the search: every test below then runs on it.

    Example:
        class TestHillClimber(SearchSuite):
            def factory(self):
                return HillClimber

    Attributes:
        learns: Whether the search asks for other genomes when it is told other costs.
        generations: Batches asked in most tests.
        diversity: The least mean share of differing bits between two of a population, once nothing distinguishes good from bad.
            Random individuals differ in about 0.4 of theirs; a population whose members share all but a bit or two stays below.
    """

    learns: bool = True
    generations: int = 8
    diversity: float = 0.1

    @abstractmethod
    def factory(self) -> SearchFactory:
        """The search under test."""

    def test_ask_gives_only_valid_genomes(self) -> None:
        """Each is as long as the representation says, and needs no repair."""
        groups = Groups(3, 2, 4)
        asked = play(self._search(groups=groups), noisy, self.generations)
        assert asked, "the first batch is empty"
        assert all(genome.length == groups.length for genome in chain(*asked)), "a genome is of another length"
        assert all(groups.repair(genome) == genome for genome in chain(*asked)), "a genome was not repaired"

    def test_ask_never_gives_a_genome_twice(self) -> None:
        """Neither in one batch nor in two, unless at another fidelity."""
        asked = list(chain(*proposed(self._search(), noisy, self.generations)))
        assert len(asked) > SETTINGS.pop_size, "the search ends after its first batch"
        assert len(set(asked)) == len(asked), "a genome was asked for twice"

    def test_starts_are_candidates_that_were_told(self) -> None:
        """A proposal begins with weights of one that was evaluated before, at the fidelity that it names."""
        search, told = self._search(), set[tuple[str, int]]()
        for _ in range(self.generations):
            proposals = search.ask()
            starts = {proposal.start for proposal in proposals if proposal.start is not None}
            assert starts <= told, "a candidate begins with weights that nobody has trained"
            search.tell([noisy(proposal.genome) for proposal in proposals])
            told |= {(proposal.genome.digest, proposal.fidelity) for proposal in proposals}

    def test_same_seed_gives_same_genomes_while_another_search_runs(self) -> None:
        """Nothing is drawn from a generator that searches share, and the seed makes a difference."""
        alone = play(self._search(seed=3), noisy, self.generations)
        one, other = self._search(seed=3), self._search(seed=4)
        beside: list[list[BitGenome]] = []
        elsewhere: list[list[BitGenome]] = []
        for _ in range(self.generations):
            beside += play(one, noisy, 1)
            elsewhere += play(other, noisy, 1)
        assert beside == alone, "the genomes depend on more than seed and answers"
        assert elsewhere != alone, "the seed makes no difference"

    def test_told_costs_decide_what_is_asked_next(self) -> None:
        """The same answers give the same genomes, other answers other genomes from the second batch on."""
        first, again = (play(self._search(), noisy, self.generations) for _ in range(2))
        turned = play(self._search(), opposite, self.generations)
        assert first == again, "told the same, the search asks for something else: a run can't be resumed"
        assert first[0] == turned[0], "the first batch depends on costs not yet told"
        assert (first[1:] != turned[1:]) == self.learns, "costs are to make a difference exactly if the search learns"

    def test_parents_are_genomes_that_were_told(self) -> None:
        """A proposal names only parents that were evaluated before it was bred."""
        search, told = self._search(), set[str]()
        for _ in range(self.generations):
            proposals = search.ask()
            unknown = {parent for proposal in proposals for parent in proposal.parents} - told
            assert not unknown, "a genome has parents that nobody has evaluated"
            search.tell([noisy(proposal.genome) for proposal in proposals])
            told |= {proposal.genome.digest for proposal in proposals}

    def test_ask_is_empty_once_a_tiny_space_is_used_up(self) -> None:
        """The search ends by itself, and stays ended."""
        for sizes in ((1,), (3,), (2, 2)):
            search = self._search(groups=Groups(*sizes))
            asked = list(chain(*proposed(search, noisy, 2 ** (sum(sizes) + 1))))
            assert 1 <= len(asked) == len(set(asked)), "a genome was asked for twice, or none at all"
            assert not search.ask(), "the search goes on asking though there is nothing left"

    def test_search_goes_on_when_no_candidate_is_feasible(self) -> None:
        """Generations that break every bound or fail whole are answers like any other."""
        for answer in (infeasible, failed):
            asked = proposed(self._search(), answer, self.generations)
            assert len(asked) == self.generations, "the search gave up"
            assert len(set(chain(*asked))) == sum(map(len, asked)), "a genome was asked for twice"

    def test_population_is_distinct_genomes_that_were_told(self) -> None:
        """Empty at first; never one that nobody has evaluated."""
        search = self._search()
        assert len(search.population) == 0, "there is a population before anything was told"
        asked = set(chain(*play(search, noisy, self.generations)))
        assert 1 <= len(search.population) == len(set(search.population)), (
            "an individual is there twice, or none at all"
        )
        assert asked.issuperset(search.population), "an individual was never evaluated"

    def test_population_stays_diverse_where_nothing_is_to_be_gained(self) -> None:
        """On a flat and on a noisy landscape there is no reason to become alike."""
        for answer in (flat, noisy):
            search = self._search()
            play(search, answer, self.generations)
            population = search.population
            distance = mean_hamming_distance(population) if len(population) > 1 else 0.0
            assert distance >= self.diversity, f"individuals are nearly alike: mean distance {distance:.3f}"

    def _search(self, *, groups: Groups | None = None, seed: int = 0) -> Search:
        return self.factory()(groups or Groups(*GROUPS), SETTINGS, objectives=2, seed=seed)


class AsynchronousSearchSuite(SearchSuite):
    """For searches that may be asked again while candidates are still at work."""

    def test_ask_one_gives_valid_new_genomes_while_nothing_is_told(self) -> None:
        """Many more than a population, as a large cluster needs them."""
        groups = Groups(*GROUPS)
        search = self._asynchronous()
        asked = [search.ask_one() for _ in range(5 * SETTINGS.pop_size)]
        found = [proposal.genome for proposal in asked if proposal is not None]
        assert len(set(found)) == len(asked), "a genome is missing, or was asked for twice"
        assert all(groups.repair(genome) == genome for genome in found), "a genome was not repaired"

    def test_first_genomes_are_those_of_the_first_batch(self) -> None:
        """Whether the search waits or not: the first population depends on nothing that could be told."""
        search = self._asynchronous()
        assert [search.ask_one() for _ in range(SETTINGS.pop_size)] == list(self._search().ask())

    def test_same_calls_give_the_same_genomes_and_another_order_others(self) -> None:
        """Scores are told out of order, with several candidates under way at any time."""
        asked = stagger(self._asynchronous(), noisy, self.generations, latest_first=True)
        assert asked == stagger(self._asynchronous(), noisy, self.generations, latest_first=True)
        assert len(set(asked)) == len(asked), "a genome was asked for twice"
        in_order = stagger(self._asynchronous(), noisy, self.generations, latest_first=False)
        assert (in_order != asked) == self.learns, (
            "the order of what is told is to make a difference if the search learns"
        )

    def test_tell_one_refuses_what_was_never_asked_and_what_is_told_already(self) -> None:
        """Nothing enters the population that nobody has evaluated, or twice."""
        search, stranger = self._asynchronous(), self._asynchronous(seed=1).ask_one()
        proposal = search.ask_one()
        assert proposal is not None, "the search gives nothing"
        assert stranger is not None, "the search gives nothing"
        search.tell_one(noisy(proposal.genome))
        for refused in (proposal, stranger):
            try:
                search.tell_one(noisy(refused.genome))
            except ValueError:
                continue
            raise AssertionError("a genome was taken that is not under way")

    def test_ask_one_gives_none_once_a_tiny_space_is_used_up(self) -> None:
        """And stays calm about it."""
        search = self._asynchronous(groups=Groups(2))
        asked = [search.ask_one() for _ in range(8)]
        found = [proposal.genome for proposal in asked if proposal is not None]
        assert 1 <= len(found) == len(set(found)) <= 3, "a genome was asked for twice, or none at all"
        search.tell_one(noisy(found[0]))
        assert search.ask_one() is None or len(found) < 3, "a genome was asked for twice"

    def _asynchronous(self, *, groups: Groups | None = None, seed: int = 0) -> AsynchronousSearch:
        search = self._search(groups=groups, seed=seed)
        assert isinstance(search, AsynchronousSearch), "the search has no ask_one and tell_one"
        return search


def play(search: Search, answer: Answer, generations: int) -> list[list[BitGenome]]:
    """Ask and tell until the search is done or `generations` are over; the batches that were asked for."""
    asked: list[list[BitGenome]] = []
    for _ in range(generations):
        genomes = [proposal.genome for proposal in search.ask()]
        if not genomes:
            break
        asked.append(genomes)
        search.tell([answer(genome) for genome in genomes])
    return asked


def proposed(search: Search, answer: Answer, generations: int) -> list[list[tuple[BitGenome, int]]]:
    """As `play`, each genome with the fidelity that it was asked for at."""
    asked: list[list[tuple[BitGenome, int]]] = []
    for _ in range(generations):
        proposals = search.ask()
        if not proposals:
            break
        asked.append([(proposal.genome, proposal.fidelity) for proposal in proposals])
        search.tell([answer(proposal.genome) for proposal in proposals])
    return asked


def stagger(search: AsynchronousSearch, answer: Answer, rounds: int, *, latest_first: bool) -> list[BitGenome]:
    """Keep a third of a population under way for so many populations, told in one order or the other; what was asked for."""
    asked: list[BitGenome] = []
    under_way: list[BitGenome] = []
    for _ in range(rounds * SETTINGS.pop_size):
        proposal = search.ask_one()
        if proposal is not None:
            asked.append(proposal.genome)
            under_way.append(proposal.genome)
        if len(under_way) > SETTINGS.pop_size // 3:
            search.tell_one(answer(under_way.pop(-1 if latest_first else 0)))
    return asked


def flat(genome: BitGenome) -> Scored:
    """All genomes are worth the same."""
    return Scored(genome, 0.5, (0.5, 0.5))


def noisy(genome: BitGenome) -> Scored:
    """Worth that says nothing of the bits, the same at every call."""
    fitness, cost = (int(genome.digest[start : start + 8], 16) / 2**32 for start in (0, 8))
    return Scored(genome, fitness, (1 - fitness, cost))


def opposite(genome: BitGenome) -> Scored:
    """What `noisy` says, turned round."""
    scored = noisy(genome)
    return Scored(genome, 1 - scored.fitness, (1 - scored.costs[0], 1 - scored.costs[1]))


def infeasible(genome: BitGenome) -> Scored:
    """A bound is broken, by more or less."""
    return Scored(genome, 0.0, (0.0, 0.0), violation=0.1 + noisy(genome).fitness)


def failed(genome: BitGenome) -> Scored:
    """A candidate that could not be evaluated."""
    return Scored(genome, 0.0, (0.0, 0.0), violation=FAILED_VIOLATION)
