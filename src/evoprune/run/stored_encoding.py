"""What genomes of a run mean, found out again from its directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.errors import ReplayMismatchError, StoreCorruptedError
from evoprune.plan import PruningPlan
from evoprune.run.channel_work import STEP, ChannelTarget
from evoprune.run.problem import Problem
from evoprune.run.seeding_criteria import FILE as ORDERS
from evoprune.run.seeding_criteria import read_orders
from evoprune.store.claim import MANIFEST
from evoprune.store.journal import JournalEntry
from evoprune.store.manifest import Manifest, read_manifest


def stored_encoding(directory: Path, target: ChannelTarget, model: nn.Module, problem: Problem) -> Encoding:
    """The encoding of a run's journal.

    Args:
        directory: The run directory.
        target: Says which channels the run may prune.
        model: The trained dense network.
        problem: What the run is about.

    Raises:
        ReplayMismatchError: The network is not the one that the run has pruned.
        StoreCorruptedError: The orders of the units are missing, or not what was written.
    """
    manifest = read_manifest(directory / MANIFEST) or Manifest()
    space = target.space(model, problem)
    if manifest.pinned.get("space", space.fingerprint) != space.fingerprint:
        raise ReplayMismatchError(
            f"the network has other layers or widths than the one that the run in {directory} pruned",
            "restore it, or the recipe that makes it",
        )
    kept = ORDERS in manifest.pinned or (directory / ORDERS).is_file()
    orders = read_orders(directory / ORDERS, manifest.pinned.get(ORDERS)) if kept else None
    # What genomes mean doesn't depend on the bounds that they keep.
    unbounded = replace(target, round_to=int(manifest.pinned.get(STEP, target.round_to)), constraints=())
    return unbounded.encoding(space, orders)


def plan_of(entry: JournalEntry, encoding: Encoding) -> PruningPlan:
    """What a line of the journal keeps.

    Args:
        entry: The line.
        encoding: Encoding of the journal.

    Raises:
        StoreCorruptedError: The line has no bits, or those of another encoding.
    """
    if entry.genome is None:
        raise StoreCorruptedError(
            f"evaluation {entry.index} of the journal has no bits", "restore the file from a copy"
        )
    if entry.genome.length != encoding.length:
        raise StoreCorruptedError(
            f"evaluation {entry.index} of the journal has {entry.genome.length} bits, the run's encoding {encoding.length}",
            "restore the journal and the settings of the run from a copy",
        )
    return encoding.decode(entry.genome)
