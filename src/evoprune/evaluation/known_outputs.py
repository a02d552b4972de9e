"""The outputs of a teacher on a set, computed once: where every pass gives each sample as it is, it says the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch
from evoprune.evaluation.teacher import class_outputs
from evoprune.objectives.outputs import outputs_of

KEPT_BYTES: Final = 256 * 2**20
"""Most bytes of outputs that are kept; where there would be more, the teacher is asked in each step."""


class Taught(NamedTuple):
    """Targets of a batch, with what the teacher says of it.

    Attributes:
        targets: Targets that the loss compares outputs with.
        wanted: Outputs of the teacher, [n, classes, ...].
    """

    targets: Any
    wanted: Tensor


@runtime_checkable
class Numbered(Protocol):
    """A set that may give the places of its samples."""

    def numbered(self) -> tuple[Source, Tensor] | None:
        """The same set with each sample's place in it for targets, and the targets by place; None where passes differ."""


@dataclass(frozen=True)
class KnownOutputs:
    """A set whose targets are `Taught`.

    Attributes:
        source: The set as it was.
        places: The same set with places for targets.
        targets: [samples, ...] targets by place, on the device.
        wanted: [samples, classes, ...] outputs of the teacher by place, on the device.
    """

    source: Source
    places: Source
    targets: Tensor
    wanted: Tensor

    def __len__(self) -> int:
        return len(self.source)

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """The batches of `source`, in its order."""
        for pair in self.places.batches(batch_size, device=device, seed=seed):
            batch = as_batch(pair)
            inputs, places = batch
            yield Batch(inputs, Taught(self.targets[places], self.wanted[places]), batch.samples, batch_dim=0)

    def batch_count(self, batch_size: int) -> int:
        """Batches in one pass."""
        return self.source.batch_count(batch_size)

    def joined(self, other: Source) -> Source:
        """Both sets as one, without the outputs."""
        return self.source.joined(other)

    def head(self, size: int) -> Source:
        """A fixed subset, without the outputs."""
        return self.source.head(size)


def with_known_outputs(source: Source, teacher: nn.Module, *, device: torch.device, batch_size: int) -> Source:
    """`source` with a teacher's outputs, where its samples are always the same and there is room; otherwise as it is.

    Args:
        source: Samples to learn from.
        teacher: Network on `device`.
        device: Where outputs and targets are kept.
        batch_size: Samples per pass.

    Raises:
        UnsupportedModelError: The outputs aren't those of classes.
    """
    numbered = source.numbered() if isinstance(source, Numbered) else None
    if numbered is None:
        return source
    places, targets = numbered
    kept: list[Tensor] = []
    for outputs, _ in outputs_of(teacher, places, device=device, batch_size=batch_size):
        # Of inference mode as they are, they would be no part of a training.
        kept.append(class_outputs(outputs).clone())
        if kept[0][:1].nbytes * len(source) > KEPT_BYTES:
            return source
    return KnownOutputs(source, places, targets.to(device), torch.cat(kept))
