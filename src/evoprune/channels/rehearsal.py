"""A pruned network and its masked reference run alike, once, in one of two modes, and compared."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.channels.journey import Journey, followed
from evoprune.data.used_outputs import EVERYTHING, Forgiving, Gather, UsedOutputs
from evoprune.errors import in_words
from evoprune.nn_utils.comparison import compare
from evoprune.nn_utils.draws import CommonDraws
from evoprune.nn_utils.independence import Watch, run_through

STOPS: Final = "the model's code relies on the full size"
"""How a problem begins when the pruned network stops with an error."""

_TRAINING_TOLERANCE: Final = 1e-3
"""Accepted relative difference of outputs in training in float32: batch statistics of few values add up errors."""


@dataclass
class Rehearsal:
    """Two networks that must compute the same.

    Attributes:
        pruned: The pruned network; it may be changed, as may `reference`.
        reference: The masked network of full size.
        inputs: Inputs that both run on.
        original: Network that both were made from, for messages.
        tolerance: Accepted relative difference in float32.
        watch: Sees to it that the pruned network has nothing to do with the original; None where that was seen before.
        outputs: What of the outputs is compared.
        journey: How far the pruned network came in its last run.
        passes: Number of forward passes so far, those that stopped included.
        difference: By how much of the largest output the last two runs differed.
    """

    pruned: nn.Module
    reference: nn.Module
    inputs: Any
    original: nn.Module
    tolerance: float
    watch: Watch | None = None
    outputs: UsedOutputs = EVERYTHING
    journey: Journey = field(default_factory=Journey)
    passes: int = 0
    difference: float = 0.0

    def evaluate(self, calls: int = 1) -> tuple[str, int, int]:
        """Compare outputs in evaluation mode, of several calls in a row.

        Returns:
            What went wrong, empty when nothing did; FLOPs of the pruned network and of the reference where there is a watch.

        Raises:
            UnsupportedModelError: The pruned network uses the original.
        """
        count = Watch([]) if self.watch is not None else None
        for _ in range(calls):
            found = self.run_pruned(self.outputs)
            if isinstance(found, Exception):
                return f"{STOPS} ({in_words(found)})", 0, 0
            problem = self._difference(found, self._run_reference(count), self.tolerance)
            if problem:
                return problem, 0, 0
        return ("", self.watch.flops, count.flops) if self.watch is not None and count is not None else ("", 0, 0)

    def train(self) -> str | None:
        """Compare outputs in training mode, with random draws in common, and run the pruned network backward.

        Returns:
            What went wrong, empty when nothing did, None when the reference can't be trained on the inputs either.

        Raises:
            UnsupportedModelError: The pruned network uses the original.
        """
        draws, expected_draws = CommonDraws(), CommonDraws()
        used = Forgiving(self.outputs)
        found = self.run_pruned(used, training=True, draws=draws)
        used.gave_up = False
        try:
            with expected_draws:
                self.passes += 1
                backward = isinstance(found, Exception)  # if the reference can't do it either, it isn't the cut
                expected = run_through(self.reference, self.inputs, training=True, backward=backward, gather=used)
        except Exception:
            return None
        if isinstance(found, Exception):
            return f"{STOPS} in training ({in_words(found)})"
        if used.gave_up:
            found, expected = _of_equal_shapes(found, expected)
        if draws.integers != expected_draws.integers:
            shapes, wanted = ([list(one.shape) for one in outputs] for outputs in (found, expected))
            return "" if shapes == wanted else f"{STOPS} in training (outputs {shapes} in place of {wanted})"
        problem = self._difference(found, expected, max(self.tolerance, _TRAINING_TOLERANCE))
        return f"in training, {problem}" if problem else ""

    def _run_reference(self, count: Watch | None) -> list[Tensor]:
        self.passes += 1
        return run_through(self.reference, self.inputs, count, gather=self.outputs)

    def run_pruned(
        self, gather: Gather, *, training: bool = False, draws: AbstractContextManager[Any] | None = None
    ) -> list[Tensor] | Exception:
        """Run the pruned network alone: its outputs, or the error that it stops with."""
        found: list[Tensor] | Exception
        self.journey = Journey(summarised=True)
        self.passes += 1
        try:
            with draws or nullcontext(), followed(self.pruned, self.journey):
                found = run_through(self.pruned, self.inputs, self.watch, training=training, gather=gather)
        except Exception as error:
            found = error
        if self.watch is not None:
            self.watch.check(self.original)
        return found

    def _difference(self, outputs: list[Tensor], expected: list[Tensor], tolerance: float) -> str:
        try:
            found = compare(outputs, expected)
        except Exception as error:
            return f"{STOPS} ({in_words(error)})"
        accepted = min(found.tolerance, tolerance) if found.dtype == torch.float32 else found.tolerance
        self.difference = found.relative
        if found.relative <= accepted:
            return ""
        return f"the pruned network differs from the masked one by {found.relative:.1g} of its largest output"


def _of_equal_shapes(found: list[Tensor], expected: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs that kept their shape, where it can't be told which are used; all if their number differs."""
    if len(found) != len(expected):
        return found, expected
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one.shape == other.shape]
    return [one for one, _ in pairs], [other for _, other in pairs]
