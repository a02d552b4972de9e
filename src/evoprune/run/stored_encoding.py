"""What genomes of a run mean, found out again from its directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.errors import ReplayMismatchError
from evoprune.run.channel_work import STEP, ChannelTarget
from evoprune.run.seeding_criteria import FILE as ORDERS
from evoprune.run.seeding_criteria import read_orders
from evoprune.store.claim import MANIFEST
from evoprune.store.manifest import Manifest, read_manifest


def stored_encoding(directory: Path, target: ChannelTarget, model: nn.Module, example_inputs: Any) -> Encoding:
    """The encoding of a run's journal.

    Args:
        directory: The run directory.
        target: Says which channels the run may prune.
        model: The trained dense network.
        example_inputs: Inputs of one forward pass.

    Raises:
        ReplayMismatchError: The network is not the one that the run has pruned.
        StoreCorruptedError: The orders of the units are not what was written.
    """
    manifest = read_manifest(directory / MANIFEST) or Manifest()
    space = target.space(model, example_inputs)
    if manifest.pinned.get("space", space.fingerprint) != space.fingerprint:
        raise ReplayMismatchError(
            f"the network has other layers or widths than the one that the run in {directory} pruned",
            "restore it, or the recipe that makes it",
        )
    orders = read_orders(directory / ORDERS, manifest.pinned.get(ORDERS)) if (directory / ORDERS).is_file() else None
    # What genomes mean doesn't depend on the bounds that they keep.
    unbounded = replace(target, round_to=int(manifest.pinned.get(STEP, target.round_to)), constraints=())
    return unbounded.encoding(space, orders)
