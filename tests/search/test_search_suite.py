"""The conformance suite on the searches we ship, and on searches that break one promise each, which it must catch."""

import itertools
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evoprune
from evoprune.genome import BitGenome
from evoprune.plugins import resolve
from evoprune.search.base import Proposal
from evoprune.search.operators import flip_bits, sample
from evoprune.search.random_search import RandomSearch
from evoprune.testing.search_suite import AsynchronousSearchSuite, SearchSuite


class TestGenetic(SearchSuite):
    def factory(self):
        return resolve("searches", "genetic")


class TestNsga2(SearchSuite):
    def factory(self):
        return resolve("searches", "nsga2")


class TestLadder(SearchSuite):
    def factory(self):
        return resolve("searches", "ladder")


class TestLadderFront(SearchSuite):
    def factory(self):
        return resolve("searches", "ladder-front")


class TestNsga3(SearchSuite):
    def factory(self):
        return resolve("searches", "nsga3")


class TestSteadyState(AsynchronousSearchSuite):
    def factory(self):
        return resolve("searches", "steady-state")


class TestRandom(AsynchronousSearchSuite):
    learns = False
    diversity = 0.3

    def factory(self):
        return RandomSearch


class AllNearlyAlike(RandomSearch):
    """Every individual is one random genome with at most two bits turned: all different, all valid, and of no use."""

    def __init__(self, representation, settings, *, objectives, seed):
        super().__init__(representation, settings, objectives=objectives, seed=seed)
        base = sample(representation, settings.initial_keep, self._generator).bits
        positions = (ends for count in range(3) for ends in itertools.combinations(range(len(base)), count))
        turned = (representation.repair(with_turned(base, ends)) for ends in positions)
        self._near = (Proposal(genome) for genome in dict.fromkeys(turned))

    def ask(self):
        return list(itertools.islice(self._near, self._pop_size))


def with_turned(bits, positions):
    turned = bits.copy()
    turned[list(positions)] ^= True
    return BitGenome.from_bits(turned)


class AllAlike(RandomSearch):
    """A population that holds one genome over and over."""

    def tell(self, scored):
        super().tell(scored)
        self._population = [scored[0].genome] * len(scored)


class Foundling(RandomSearch):
    """Names parents that nobody knows."""

    def ask(self):
        return [replace(one, parents=(one.genome.digest[::-1],)) for one in super().ask()]


class Forgetful(RandomSearch):
    """Asks for its first batch for ever."""

    def ask(self):
        self._batch = getattr(self, "_batch", None) or super().ask()
        return self._batch


class Unrepaired(RandomSearch):
    """Turns bits after the repair."""

    def ask(self):
        turned = dict.fromkeys(flip_bits(one.genome, 0.5, self._generator) for one in super().ask())
        return [Proposal(genome) for genome in turned]


class Unseeded(RandomSearch):
    """Draws from the machine's entropy."""

    def __init__(self, representation, settings, *, objectives, seed):
        super().__init__(representation, settings, objectives=objectives, seed=int.from_bytes(os.urandom(4), "big"))


class SharedGenerator(RandomSearch):
    """All instances of a process draw from one generator."""

    generator = np.random.default_rng(0)

    def __init__(self, representation, settings, *, objectives, seed):
        super().__init__(representation, settings, objectives=objectives, seed=seed)
        self._generator = SharedGenerator.generator


class Discouraged(RandomSearch):
    """Gives up after a generation without a feasible candidate."""

    def ask(self):
        return super().ask() if getattr(self, "_hope", True) else []

    def tell(self, scored):
        super().tell(scored)
        self._hope = any(one.violation == 0 for one in scored)


class Premature(RandomSearch):
    """Calls a batch its population before anybody has evaluated it."""

    def ask(self):
        proposals = super().ask()
        self._population = [proposal.genome for proposal in proposals]
        return proposals

    def tell(self, scored):
        self._population = [flip_bits(one.genome, 0.5, self._generator) for one in scored]


BROKEN = {
    AllNearlyAlike: "test_population_stays_diverse_where_nothing_is_to_be_gained",
    AllAlike: "test_population_stays_diverse_where_nothing_is_to_be_gained",
    Forgetful: "test_ask_never_gives_a_genome_twice",
    Foundling: "test_parents_are_genomes_that_were_told",
    Unrepaired: "test_ask_gives_only_valid_genomes",
    Unseeded: "test_told_costs_decide_what_is_asked_next",
    SharedGenerator: "test_same_seed_gives_same_genomes_while_another_search_runs",
    Discouraged: "test_search_goes_on_when_no_candidate_is_feasible",
    Premature: "test_population_is_distinct_genomes_that_were_told",
}


def failed_tests(kind):
    """Names of the suite's tests that a search does not pass."""

    class Suite(SearchSuite):
        learns = False

        def factory(self):
            return kind

    failed = set()
    for name in (name for name in dir(Suite) if name.startswith("test_")):
        try:
            getattr(Suite(), name)()
        except AssertionError:
            failed.add(name)
    return failed


@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_suite_fails_a_search_that_breaks_a_promise(kind):
    assert BROKEN[kind] in failed_tests(kind)


@pytest.mark.slow
def test_suite_fails_a_search_of_nearly_equal_individuals_for_nothing_but_their_likeness():
    assert failed_tests(AllNearlyAlike) == {BROKEN[AllNearlyAlike]}


@pytest.mark.slow
def test_suite_tells_a_search_that_learns_from_one_that_does_not():
    class PretendsToLearn(TestRandom):
        learns = True

    assert failed_tests(RandomSearch) == set()
    with pytest.raises(AssertionError, match="exactly if the search learns"):
        PretendsToLearn().test_told_costs_decide_what_is_asked_next()


def test_package_needs_pytest_nowhere_but_for_testing():
    package = Path(evoprune.__file__).parent
    imports = re.compile(r"^\s*(import|from) pytest\b", re.MULTILINE)
    found = {
        path.relative_to(package).parts[0] for path in package.rglob("*.py") if imports.search(path.read_text("utf-8"))
    }
    assert found <= {"testing"}
    assert not imports.search((package / "testing" / "search_suite.py").read_text("utf-8"))
