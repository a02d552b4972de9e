"""The self-check: surgery against the masked reference on cuts of many kinds, in evaluation and in training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import nn

from evoprune.channels.generic import disturb
from evoprune.channels.journey import Journey
from evoprune.channels.passes import Passes
from evoprune.channels.reference import masked_copy
from evoprune.channels.rehearsal import STOPS, Rehearsal
from evoprune.channels.surgery import prune
from evoprune.channels.trial_cuts import Bits, Trial, further_trials, trials, widths_that_stay
from evoprune.channels.verify import wide_copies
from evoprune.data.used_outputs import EVERYTHING, UsedOutputs
from evoprune.errors import UnsupportedModelError, in_words
from evoprune.nn_utils.calling import call_model, in_mode
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.independence import Watch
from evoprune.plan import PruningPlan
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace

_SMALL_PARAMETERS: Final = 2_000_000
"""Below this, forward passes are cheap enough for numbers of twice the width, and for more cuts where there is room."""

_WIDE_PARAMETERS: Final = 20_000_000
"""Up to this, a model that multiplies activations with each other is always compared in float64, where small errors show."""

_NARROW_TOLERANCE: Final = 5e-6
"""Accepted relative difference in float32; above it, float64 decides."""

_NOT_ROUNDING: Final = 1e-3
"""Relative difference in float32 that is none of rounding."""


@dataclass(frozen=True)
class Failure:
    """A trial that a space didn't pass.

    Attributes:
        trial: The trial as it was run: in evaluation mode if the network can't be trained on the inputs.
        problem: What went wrong.
        journey: How far the pruned network came.
        difference: By how much of the largest output the networks differ, if they both came to the end; else 0.
    """

    trial: Trial
    problem: str
    journey: Journey
    difference: float = 0.0


class SelfCheck:
    """Compares surgery with the masked reference on cuts of a model, and sees that copies don't go on using it.

    Args:
        model: A copy that may be changed.
        example_inputs: Inputs of one forward pass.
        original: Network that `model` was copied from.
        keeps_state: Whether a pass changes what the model keeps, so that the next one may differ.
        outputs: What of the outputs is compared.
        passes: Counts forward passes.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        original: nn.Module | None = None,
        *,
        keeps_state: bool = False,
        outputs: UsedOutputs = EVERYTHING,
        passes: Passes | None = None,
    ) -> None:
        self.model, self.inputs = model, example_inputs
        self._keeps_state, self._passes = keeps_state, passes or Passes()
        self._outputs = outputs
        self._original = model if original is None else original
        self._watched: set[bool] = set()
        self._narrow = (model, example_inputs)
        self._widened = self._runs_wide = False
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._trainable = True
        self._warm: tuple[nn.Module, nn.Module] | None = None

    @property
    def is_small(self) -> bool:
        """Whether forward passes are cheap."""
        return self._parameters < _SMALL_PARAMETERS

    def trials(self, space: PruningSpace, widths: Sequence[int] = ()) -> list[Trial]:
        """What `space` has to pass; everything is tried at `widths` as well."""
        if not space.groups:
            return []
        known = widths_that_stay(self.model, self.inputs, space)
        return trials(space, known, widths, keeps_state=self._keeps_state)

    def further_trials(self, space: PruningSpace) -> list[Trial]:
        """What a small model is tried with where there is room."""
        if not self.is_small or not space.groups:
            return []
        return further_trials(space, widths_that_stay(self.model, self.inputs, space))

    def cost(self, several: Sequence[Trial]) -> int:
        """Forward passes that trials take if nothing goes wrong."""
        warm = any(trial.warm for trial in several) and (self._warm is None or self._warm[0] is not self.model)
        return sum(2 * trial.calls for trial in several) + warm

    def problem(self, space: PruningSpace, groups: list[Group]) -> str:
        """What goes wrong when parts of `groups` are cut; empty when nothing does."""
        found = (self.failure(space, trial, groups) for trial in self.trials(space))
        return next((failure.problem for failure in found if failure is not None), "")

    def failure(self, space: PruningSpace, trial: Trial, groups: Collection[Group] | None = None) -> Failure | None:
        """What goes wrong when `groups` are cut as `trial` says, all of them where nothing is said.

        Raises:
            UnsupportedModelError: Copies of the model go on using it.
        """
        bits = trial.bits(space, space.groups if groups is None else groups)
        if bits.all():
            return None
        if trial.training and not self._trainable:
            trial = replace(trial, training=False)
        if not self._widened and (self.is_small or (space.single_sided and self._parameters < _WIDE_PARAMETERS)):
            self._widen()
        failure = self._compare(space, trial, bits)
        if failure is None:
            self._runs_wide |= self._is_wide
        elif not self._widened and not failure.problem.startswith(STOPS):
            self._widen()
            if failure.difference < _NOT_ROUNDING:
                return self.failure(space, trial, groups)
        return failure

    @property
    def _is_wide(self) -> bool:
        return self.model is not self._narrow[0]

    def _widen(self) -> None:
        """Go on in float64. Whether the model runs in it shows later."""
        self._widened = True
        self.model, self.inputs = wide_copies(self.model, self.inputs)

    def go_back(self) -> bool:
        """Stop using float64 if nothing has shown that the model runs in it: whether it was used."""
        doubtful = self._is_wide and not self._runs_wide
        if doubtful:
            self.model, self.inputs = self._narrow
        return doubtful

    def _compare(self, space: PruningSpace, trial: Trial, bits: Bits) -> Failure | None:
        pair: Rehearsal | None = None
        try:
            plan = space.plan(bits)
            model = self._warmed() if trial.warm else self.model
            pair = self._pair(model, space, plan, trial)
            problem = pair.train() if trial.training else self._evaluate(pair, space, trial, bits)
        except UnsupportedModelError:
            raise
        except Exception as error:
            problem = f"{STOPS} ({in_words(error)})"
        finally:
            self._passes.spend(pair.passes if pair is not None else 0)
        if problem is None:  # what can't be trained on the inputs is at least evaluated
            self._trainable = False
            return self._compare(space, replace(trial, training=False), bits)
        if not problem:
            return None
        return Failure(trial, problem, pair.journey, pair.difference) if pair else Failure(trial, problem, Journey())

    def journey(self, space: PruningSpace, trial: Trial) -> Journey:
        """How far the pruned network comes in a trial, without a reference to compare with."""
        pruned = prune(self.model, trial.plan(space, space.groups))
        pair = Rehearsal(pruned, self.model, self.inputs, self._original, _NARROW_TOLERANCE, outputs=self._outputs)
        pair.run_pruned(self._outputs, training=trial.training)
        self._passes.spend(pair.passes)
        return pair.journey

    def _evaluate(self, pair: Rehearsal, space: PruningSpace, trial: Trial, bits: Bits) -> str:
        problem, flops, full = pair.evaluate(trial.calls)
        return problem or (self._miscounted(space, bits, flops, full, trial.calls) if full else "")

    def _pair(self, model: nn.Module, space: PruningSpace, plan: PruningPlan, trial: Trial) -> Rehearsal:
        reference = masked_copy(model, plan, only=None)
        if trial.noise:
            disturb(reference, space, plan)
        watch = None if trial.training in self._watched else Watch([self._original, model])
        self._watched.add(trial.training)
        pruned = prune(model, plan)
        return Rehearsal(pruned, reference, self.inputs, self._original, _NARROW_TOLERANCE, watch, self._outputs)

    def _miscounted(self, space: PruningSpace, bits: Bits, flops: int, full: int, calls: int) -> str:
        """Compare what the pruned network computed with the prediction, where the prediction holds for the dense one."""
        try:
            expected, dense = space.cost(bits).macs, space.cost(bits | True).macs
        except UnsupportedModelError:
            return ""
        counted, counted_dense = (round(amount / calls / 2 / space.workload.samples) for amount in (flops, full))
        if counted_dense != int(dense) or counted == int(expected):
            return ""
        return f"the pruned network takes {counted} MACs where {int(expected)} are expected"

    def _warmed(self) -> nn.Module:
        """A copy with the state that a pass leaves behind, made once."""
        if self._warm is None or self._warm[0] is not self.model:
            copied = clone(self.model)
            self._passes.spend()
            with in_mode(copied, training=False), torch.no_grad():
                call_model(copied, self.inputs)
            self._warm = self.model, copied
            self._runs_wide |= self._is_wide
        return self._warm[1]
