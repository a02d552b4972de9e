"""An earlier run whose networks a search begins with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evoprune.channels.encoding import Encoding
from evoprune.channels.first_generation import Continued
from evoprune.channels.surgery import prune
from evoprune.errors import ConfigError, StoreCorruptedError, UsageError
from evoprune.evaluation.inheritance import inherit, read_trained, trained_bytes
from evoprune.events import Decision
from evoprune.plan import PruningPlan
from evoprune.run.addition import finished_manifest
from evoprune.run.begun import FILE, Begun, BegunNetwork, keep_begun, read_begun
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.front_choice import entries_on_front
from evoprune.run.opened_run import OpenedRun
from evoprune.run.stored_encoding import plan_of, stored_encoding
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.comparison import read_comparison
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.manifest import Manifest
from evoprune.store.run_directory import BASELINE, JOURNAL, RunStore
from evoprune.store.states import StateFolder

SHARE: Final = 0.25
"""Of the first generation, that networks of the earlier run may take: criteria and chance have the rest."""
SETTING: Final = "search.start_from"


@dataclass(frozen=True)
class EarlierRun:
    """Gives networks of a finished run to another one on the same dense network.

    They are read once and are files of the new run from then on: it resumes alike whatever becomes of the earlier one.

    Attributes:
        directory: Folder of the earlier run.
        target: Reads from a run's folder which channels it might prune.
        swaps: Whether its finished network alone is gone on from, at fixed widths.
        inherits: Whether trained weights are handed on.
    """

    directory: Path
    target: Callable[[Path], ChannelTarget]
    swaps: bool
    inherits: bool

    def check(self, store: RunStore) -> None:
        """See that there is a finished run of channels, unless its networks are here already.

        Raises:
            UsageError: There is none.
        """
        if FILE not in store.manifest.pinned:
            self._manifest()
            self.target(self.directory)

    def begun(self, run: OpenedRun, encoding: Encoding, space: PruningSpace, count: int) -> Begun:
        """The networks that the first generation begins with, in the new run's own encoding and within its bounds.

        Args:
            run: The new run.
            encoding: Its encoding.
            space: Its pruning space.
            count: Size of its first generation.

        Raises:
            UsageError: The earlier run pruned another network, or the encoding can't say what it chose.
        """
        if not isinstance(encoding, Continued):
            raise ConfigError(
                f"{SETTING}: the encoding has no by_units, which gives the genome of a choice",
                "set search.encoding to channel-widths or channel-bits",
            )
        store = run.parts.store
        if FILE not in store.manifest.pinned:
            keep_begun(store, self._networks(run, encoding, space, 1 if self.swaps else max(1, round(SHARE * count))))
        networks = read_begun(store, encoding.length)
        widths = np.array(list(encoding.widths(networks[0].genome).values())) if self.swaps else None
        return Begun(networks, widths)

    def _networks(self, run: OpenedRun, encoding: Continued, space: PruningSpace, most: int) -> Sequence[BegunNetwork]:
        """The finished network, then the front."""
        manifest = self._manifest()
        self._check_network(manifest, run, space)
        hands_on = self.inherits and manifest.pinned.get("data") == run.parts.store.manifest.pinned["data"]
        problem = run.problem
        theirs = stored_encoding(self.directory, self.target(self.directory), problem.model, problem)
        networks: list[BegunNetwork] = []
        same = 0
        for entry in self._chosen(most):
            before = plan_of(entry, theirs)
            units = space.units(before)
            genome = encoding.by_units(units[encoding.prunable.positions])
            if any(one.genome == genome for one in networks):
                continue  # a tight bound brings several onto one; the first is the most important
            after = encoding.decode(genome)
            same += after == before
            networks.append(
                BegunNetwork(entry.index, genome, self._state(run, entry, before, after) if hands_on else None)
            )
        trained = sum(one.state is not None for one in networks)
        run.parts.notify(
            Decision(
                SETTING,
                f"the first generation holds {len(networks)} networks of {self.directory}: {same} as they were there, the others "
                f"brought onto what this run allows; {trained} with the weights that they were trained to",
            )
        )
        return networks

    def _manifest(self) -> Manifest:
        try:
            return finished_manifest(self.directory)
        except UsageError as error:
            raise ConfigError(f"{SETTING}: {error.message}", error.hint) from error

    def _check_network(self, manifest: Manifest, run: OpenedRun, space: PruningSpace) -> None:
        """See that both runs prune one network.

        Raises:
            ConfigError: They don't.
        """
        if manifest.pinned.get("space") != space.fingerprint:
            raise ConfigError(
                f"{SETTING}: {self.directory} pruned another network: one of other layers or widths",
                "name a run on this network",
            )
        if manifest.baseline_sha256 != run.parts.store.manifest.baseline_sha256:
            raise ConfigError(
                f"{SETTING}: {self.directory} began with other weights of the dense network",
                f"begin with the same, in a new directory: data.checkpoint={self.directory / BASELINE}",
            )

    def _chosen(self, most: int) -> list[JournalEntry]:
        """The entry of the finished network, then others of the front, spread out along it.

        Raises:
            StoreCorruptedError: The journal doesn't have what was finished.
        """
        entries, comparison = read_journal(self.directory / JOURNAL), read_comparison(self.directory)
        # A survivor stands in several lines; what it was trained to in the end is the last one's.
        best = next((one for one in reversed(entries) if one.evaluation.genome == comparison.pruned.genome), None)
        if best is None or best.genome is None:
            raise StoreCorruptedError(
                f"{self.directory / JOURNAL} doesn't have the genome of the finished network",
                "restore the file from a copy",
            )
        # A genome of more than a journal line holds is left out.
        others = [one for one in entries_on_front(self.directory, comparison) if one.genome is not None]
        front = [one for one in others if one.genome != best.genome]
        places = np.linspace(0, len(front) - 1, num=min(most - 1, len(front))).round().astype(int)
        return [best, *(front[place] for place in places)]

    def _state(self, run: OpenedRun, entry: JournalEntry, before: PruningPlan, after: PruningPlan) -> str | None:
        """What the entry's network was trained to, cut to what stays of it and kept in the new run; None where that is gone."""
        name, theirs = entry.tags.get("state"), StateFolder(self.directory)
        if name is None or not theirs.path(str(name)).is_file():
            return None
        trained = read_trained(theirs.get_bytes(str(name)), before, f"state {name}")
        model = prune(run.problem.model, after)
        inherit(model, after, run.problem.model, trained)
        return StateFolder(run.parts.store.directory).put_bytes(trained_bytes(model))
