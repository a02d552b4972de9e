"""The seam for what makes new genomes of others: sampling, crossover, mutation."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from evoprune.genome import BitGenome
from evoprune.search.base import Representation, SearchSettings
from evoprune.search.operators import CROSSOVERS, MUTATIONS, sample

Pair = tuple[BitGenome, BitGenome]


class Variation(Protocol):
    """How genomes of one encoding are drawn, crossed and mutated.

    Each method is a function of its arguments and of what it draws from the generator. Callers repair what they get.
    """

    def sample(self, generator: np.random.Generator) -> BitGenome:
        """A random genome, valid."""

    def cross(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> Pair:
        """Two children of two parents."""

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        """The genome with something changed, or nothing at a low rate."""


@runtime_checkable
class Varied(Protocol):
    """A representation whose genomes mean more than bits, and are varied by its own operators."""

    def variation(self, settings: SearchSettings) -> Variation:
        """The operators."""


@runtime_checkable
class Blending(Protocol):
    """A variation that can say what lies between two genomes."""

    def between(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> BitGenome:
        """A child between two parents, for which what one of them has learnt is still of use."""


class BitVariation:
    """Operators on bits that know nothing of what these mean.

    Args:
        representation: Length, groups and repair of the genomes.
        settings: Names and rates of the operators.
    """

    def __init__(self, representation: Representation, settings: SearchSettings) -> None:
        self._representation, self._settings = representation, settings

    def sample(self, generator: np.random.Generator) -> BitGenome:
        """Groups that each keep their own share of units."""
        return sample(self._representation, self._settings.initial_keep, generator)

    def cross(self, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> Pair:
        """Exchange bits, as the settings name it."""
        return CROSSOVERS[self._settings.crossover](one, other, generator)

    def mutate(self, genome: BitGenome, generator: np.random.Generator) -> BitGenome:
        """Change bits, as the settings name it."""
        return MUTATIONS[self._settings.mutation](genome, self._settings.mutation_rate, generator)


def child_between(variation: Variation, one: BitGenome, other: BitGenome, generator: np.random.Generator) -> BitGenome:
    """A child of two parents: between them, where the operators know what that is, or else crossed and mutated."""
    if isinstance(variation, Blending):
        return variation.between(one, other, generator)
    return variation.mutate(variation.cross(one, other, generator)[0], generator)


def variation_of(representation: Representation, settings: SearchSettings) -> Variation:
    """The operators of a representation: its own, or those on bits."""
    if isinstance(representation, Varied):
        return representation.variation(settings)
    return BitVariation(representation, settings)
