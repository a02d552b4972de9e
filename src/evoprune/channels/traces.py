"""Traces of one model: with other readings of the dimensions that it splits, and in training mode as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from torch import nn

from evoprune.channels.passes import Passes
from evoprune.channels.repair import extent
from evoprune.errors import UnsupportedModelError
from evoprune.space.analysis import Traced
from evoprune.space.attributes import HEAD_COUNTS, HEAD_SIZES
from evoprune.space.coupling import STUCK
from evoprune.space.pruning_space import PruningSpace

Readings = Mapping[str, int]

Retrace = Callable[[Readings, Traced | None], Traced]
"""Traces the model again with other readings of splits, or goes on with a trace in training mode."""

_READINGS: Final = (-1, -2, -3)
"""Which of the dimensions of a split may be cut, from the end."""

_MOST_UNSTUCK: Final = 2


class Traces:
    """The trace that a space is made from, and others that may take its place.

    Args:
        model: The model.
        found: Its first trace.
        retrace: Makes others.
        passes: Counts their forward passes.

    Attributes:
        found: The present trace.
    """

    def __init__(self, model: nn.Module, found: Traced, retrace: Retrace, passes: Passes) -> None:
        self.found = found
        self._model, self._retrace, self._passes = model, retrace, passes
        self._readings: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._tried: set[tuple[str, int]] = set()

    def unstick(self) -> None:
        """Read splits that leave nothing to prune otherwise, where that leaves more."""
        for number in range(_MOST_UNSTUCK):
            stuck = self.found.splits.get(STUCK, ())
            others = {module: self._other_readings(module)[number:] for module in stuck}
            readings = {module: several[0] for module, several in others.items() if several}
            if not readings:
                break
            before = self.found
            self.read(readings)
            if _reach(self.found.space) <= _reach(before.space):
                self.go_back(before)

    def ways(self, paths: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Readings that were not tried yet, each with those of the modules to which it makes a difference."""
        splitting = {module for modules in self.found.splits.values() for module in modules}
        others = {path: self._other_readings(path) for path in paths if path in splitting}
        for reading in _READINGS:
            new = [
                path for path, several in others.items() if reading in several and (path, reading) not in self._tried
            ]
            self._tried |= {(path, reading) for path in new}
            if new:
                yield reading, new

    def read(self, readings: Readings) -> None:
        """Trace the model with some splits read otherwise, in training mode as well if it was before."""
        self._before = self._readings
        self._readings = self._readings | dict(readings)
        found = self._retrace(self._readings, None)
        self._passes.spend(found.passes)
        if self.found.in_training and not found.in_training:
            found = self._retrace(self._readings, found)
            self._passes.spend(found.passes)
        self.found = found

    def go_back(self, before: Traced) -> None:
        """Undo the last `read`."""
        self.found, self._readings = before, self._before

    def go_on_in_training(self) -> bool:
        """Follow a pass in training mode as well, if none was: whether that could be done."""
        if self.found.in_training:
            return False
        try:
            self.found = self._retrace(self._readings, self.found)
        except UnsupportedModelError:  # a model that can't be trained on the inputs
            self._passes.spend()
            return False
        self._passes.spend(self.found.passes)
        return True

    def _other_readings(self, path: str) -> list[int]:
        """What to try for a split; what tells of heads was read as heads, and else the innermost dimension was."""
        values = vars(self._model.get_submodule(path))
        first = -2 if not (HEAD_COUNTS | HEAD_SIZES).isdisjoint(values) else -1
        return [reading for reading in _READINGS if reading != first and -reading <= self.found.split_dims.get(path, 1)]


def cut_the_same(space: PruningSpace, again: PruningSpace, before: Traced) -> bool:
    """Whether two spaces cut the same of all tensors that a trace read, so that what passed in that mode still does."""
    known = {tensor for tensor, _ in before.starts}
    return _cuts(space, known) == _cuts(again, known)


def _cuts(space: PruningSpace, known: set[str]) -> list[tuple[str, int, list[tuple[str, int, bytes, bytes]]]]:
    return [
        (
            group.name,
            group.size,
            [
                (member.tensor, member.dim, member.index.tobytes(), member.unit.tobytes())
                for member in group.members
                if member.tensor in known
            ],
        )
        for group in space.groups
    ]


def _reach(space: PruningSpace) -> int:
    """How many positions of parameters a space can remove."""
    return sum(extent(group) for group in space.groups)
