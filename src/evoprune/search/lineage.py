"""Who was bred from whom, while a generation is being made."""

from __future__ import annotations

from evoprune.genome import BitGenome


class Lineage:
    """Follows genomes through crossover, mutation and repair, each of which only sees its own step."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, ...]] = {}

    def clear(self) -> None:
        """Forget everything: another generation is made."""
        self._parents.clear()

    def bred(self, child: BitGenome, *parents: BitGenome) -> None:
        """Note the parents of a child; of two pairs with the same child, the first."""
        self._parents.setdefault(child.digest, tuple(dict.fromkeys(one.digest for one in parents)))

    def changed(self, before: BitGenome, after: BitGenome) -> BitGenome:
        """Note that `after` is what became of `before`, and give it back."""
        if after.digest != before.digest:
            self._parents.setdefault(after.digest, self._parents.get(before.digest, (before.digest,)))
        return after

    def parents(self, genome: BitGenome) -> tuple[str, ...]:
        """Digests of the parents; none for a genome that was not bred."""
        return self._parents.get(genome.digest, ())
