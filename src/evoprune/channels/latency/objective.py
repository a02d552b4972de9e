"""Latency as candidates are scored by it: from a table, so that the clock has no part in a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evoprune.errors import MeasurementError
from evoprune.nn_utils.calling import named_tensors
from evoprune.objectives.base import Objective, Subject
from evoprune.space.latency_table import LatencyTable


@dataclass(frozen=True)
class PredictedLatency:
    """Milliseconds of a pruned network by the shapes of its layers: the same for the same network, on any machine.

    Attributes:
        name: Name of the latency that it stands for.
        table: Latencies of the dense network's layers at other widths.
    """

    name: str
    table: LatencyTable
    maximize = False
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """What the table says.

        Raises:
            MeasurementError: The network has not the layers of the table.
        """
        tensors = named_tensors(subject.model)
        missing = [tensor for tensor, dim in self.table.axes if tensor not in tensors or tensors[tensor].dim() <= dim]
        if missing:
            raise MeasurementError(
                f"the latency table is of a network with {missing[0]!r}, which this one doesn't have"
            )
        widths = {axis: np.array(tensors[axis[0]].shape[axis[1]]) for axis in self.table.axes}
        return float(self.table.predict_widths(widths))


def predicted(objectives: Sequence[Objective], tables: Mapping[str, LatencyTable]) -> tuple[Objective, ...]:
    """The objectives with predictions in place of those that there are tables of, by name."""
    return tuple(PredictedLatency(one.name, tables[one.name]) if one.name in tables else one for one in objectives)
