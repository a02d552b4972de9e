"""The outputs of a network on a set: one pass, which everything that looks at outputs shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import torch
from torch import nn

from evoprune.data.base import Source
from evoprune.data.batches import Batch, as_batch
from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.modes import eval_mode
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

KEPT_BYTES: Final = 64 * 2**20
"""Bytes of outputs that are kept for who asks next; a pass that gives more runs again each time."""


def outputs_of(model: nn.Module, source: Source, *, device: torch.device, batch_size: int) -> Iterator[Batch]:
    """Pairs (outputs, targets) of `model` in eval mode on a set, in its order; the model's mode is restored after each batch."""
    seeds = SeedTree(0).child("scoring")
    for number, pair in enumerate(source.batches(batch_size, device=device)):
        batch = as_batch(pair)
        inputs, targets = batch
        with torch.inference_mode(), eval_mode(model), isolated_rng(seeds.child(number).seed):
            output = call_model(model, inputs)
        yield Batch(output, targets, batch.samples)


class SharedOutputs:
    """Outputs that are computed when they are first asked for, and kept where there is room.

    Args:
        run: Starts a pass over the set: pairs (outputs, targets) per batch.
        room: Most bytes to keep.
    """

    def __init__(self, run: Callable[[], Iterable[Batch]], room: int = KEPT_BYTES) -> None:
        self._run, self._room = run, room
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        """The batches in the order of the set, the same ones each time."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        room = self._room
        for batch in self._run():
            room -= sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(tuple(batch)))
            kept = [*kept, batch] if room >= 0 else []
            yield batch
        if room >= 0:
            self._kept = kept
