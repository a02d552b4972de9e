"""Trained weights of candidates, for those that go on from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evoprune.execution.base import Outcome, Start
from evoprune.genome import BitGenome
from evoprune.search.base import Proposal
from evoprune.store.journal import JournalEntry
from evoprune.store.states import StateFolder


class InheritedWeights:
    """Knows where the weights of each candidate are, and keeps those that somebody may still go on from.

    A state is on disk before the journal line that names it, so that whatever the journal says can be gone on from.

    Args:
        folder: Keeps the states.
        given: Weights that genomes of the first generation begin with, by digest; they are in the folder already.
        otherwise: Weights that the others of it begin with; None for the dense network's.
    """

    def __init__(
        self, folder: StateFolder, given: Mapping[str, Start] | None = None, otherwise: Start | None = None
    ) -> None:
        self._folder, self._given, self._otherwise = folder, given or {}, otherwise
        self._known: dict[tuple[str, int], Start] = {}

    def start_of(self, proposal: Proposal) -> Start | None:
        """The weights that a candidate begins with; None for the dense network's, also where the parent has left none."""
        if proposal.start is None:
            return self._given.get(proposal.genome.digest, self._otherwise)
        return self._known.get(proposal.start)

    def put(self, outcome: Outcome) -> Mapping[str, str]:
        """Keep what a candidate has learnt; gives the tags of its journal line."""
        tags = {} if outcome.job.start is None else {"start": outcome.job.start.state}
        if outcome.trained is not None:
            digest = self._folder.put_bytes(outcome.trained)
            self._known[outcome.job.genome.digest, outcome.job.rung] = Start(outcome.job.genome, digest)
            tags["state"] = digest
        return tags

    def note(self, genome: BitGenome, entry: JournalEntry) -> None:
        """Take from a journal line where a candidate's weights are."""
        if "state" in entry.tags:
            self._known[genome.digest, entry.evaluation.rung] = Start(genome, str(entry.tags["state"]))

    def keep_only(self, entries: Iterable[JournalEntry]) -> None:
        """Remove the weights of all other candidates than these."""
        self._folder.keep_only({str(entry.tags["state"]) for entry in entries if "state" in entry.tags})
