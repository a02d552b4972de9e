"""The criteria of a run: measured once, kept with it, and asked what they would cut."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from evoprune.channels.encoding import Encoding
from evoprune.channels.first_generation import Continued, Seeded, along_a_front, at_budget, at_widths
from evoprune.channels.measured_orders import measure_orders
from evoprune.channels.orders import Orders
from evoprune.errors import StoreCorruptedError
from evoprune.genome import BitGenome
from evoprune.nn_utils.weights import parse_weights, save_tensors
from evoprune.run.opened_run import OpenedRun
from evoprune.run.planned_budget import planned_costs
from evoprune.run.stopwatch import stage
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.widths import Counts

ALL: Final = ("l1", "l2", "group_magnitude", "bn_scale", "lamp", "fpgm", "taylor", "hessian")
FILE: Final = "orders.safetensors"
OF_CRITERIA: Final = 0.75
"""Share of the first generation that is cut by criteria along a front, where there is no budget."""


@dataclass(frozen=True)
class Seeding:
    """What a search of channels begins with.

    Attributes:
        criteria: Names of the criteria that order the units.
        samples: Training samples that they look at.
        begins: Whether the first generation holds their cuts.
        says_left_out: Whether it is said which of them can't score the network.
    """

    criteria: Sequence[str]
    samples: int
    begins: bool = True
    says_left_out: bool = False

    def orders(self, run: OpenedRun, space: PruningSpace) -> Orders:
        """The orders of the units, measured when the run begins and read at every resume."""
        parts = run.parts
        path = parts.store.directory / FILE
        if FILE not in parts.store.manifest.pinned:
            with stage("criteria", parts.notify):
                measured = parts.guard().train("criteria", run.problem.model, lambda _: self._measured(run, space))
            parts.store.write(FILE, _to_bytes(measured))
            parts.store.pin(FILE, _digest(path.read_bytes()))
        return read_orders(path, parts.store.manifest.pinned[FILE])

    def genomes(
        self, encoding: Encoding, space: PruningSpace, count: int, widths: Counts | None = None
    ) -> dict[str, BitGenome]:
        """The first genomes of a search, by name: the cuts of all criteria at the budget, or along a front without one.

        Args:
            encoding: Says what genomes mean; one that knows no criteria begins at random.
            space: Pruning space of the model.
            count: Genomes of the first generation.
            widths: [groups] widths of all candidates, where these are fixed; the criteria then say what fills them.
        """
        if not self.begins or not isinstance(encoding, Seeded):
            return {}
        if widths is not None and isinstance(encoding, Continued):
            return at_widths(encoding, encoding.orders, widths)
        if encoding.prunable.projection.budget:
            return at_budget(encoding)
        costs = planned_costs(space)
        if not costs:
            return {}
        cost = costs.get("macs", costs.get("params"))
        assert cost is not None
        return along_a_front(encoding, cost, round(OF_CRITERIA * count))

    def _measured(self, run: OpenedRun, space: PruningSpace) -> Orders:
        return measure_orders(
            run.problem.model,
            space,
            run.problem.task,
            self.criteria,
            samples=self.samples,
            device=run.parts.workplace.device,
            seeds=run.parts.seeds.child("criteria"),
            notify=run.parts.notify,
            says_left_out=self.says_left_out,
        )


def read_orders(path: Path, digest: str | None = None) -> Orders:
    """Read a run's orders.

    Args:
        path: The file.
        digest: Digest that it was written with; None where that is not known.

    Raises:
        StoreCorruptedError: They are not what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreCorruptedError(
            f"can't read the orders in {path}: {error}", "restore the file from a copy"
        ) from error
    if digest is not None and _digest(content) != digest:
        raise StoreCorruptedError(f"{path} is not the file that was written", "restore it from a copy")
    tensors = dict(sorted(parse_weights(content, str(path)).items()))
    names = tuple(name.split("/", 1)[1] for name in tensors)
    return Orders(names, torch.stack(list(tensors.values())).numpy())


def _to_bytes(orders: Orders) -> bytes:
    rows = zip(orders.names, orders.scores, strict=True)
    # Numbered: genomes name criteria by their place.
    return save_tensors({f"{place:03d}/{name}": torch.from_numpy(row.copy()) for place, (name, row) in enumerate(rows)})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
