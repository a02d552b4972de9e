"""The self-check: surgery against the masked reference on cuts of many kinds, in evaluation and in training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.channels.reference import cleared_to, masked_copy, removed
from evoprune.channels.rehearsal import STOPS, Rehearsal
from evoprune.channels.surgery import prune
from evoprune.channels.trial_cuts import Bits, Trial, trials, widths_that_stay
from evoprune.channels.verify import in_float64
from evoprune.data.used_outputs import EVERYTHING, UsedOutputs
from evoprune.errors import UnsupportedModelError, in_words
from evoprune.nn_utils.calling import call_model, in_mode, named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.independence import Watch
from evoprune.plan import PruningPlan
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace

_SEED: Final = 20240807
_SMALL_PARAMETERS: Final = 2_000_000
"""Below this, forward passes are cheap enough for more cuts."""

_WIDE_PARAMETERS: Final = 20_000_000
"""Up to this, a model that multiplies activations with each other is always compared in float64, where small errors show."""

_NARROW_TOLERANCE: Final = 5e-6
"""Accepted relative difference in float32; above it, float64 decides."""


class SelfCheck:
    """Compares surgery with the masked reference on cuts of a model, and sees that copies don't go on using it.

    Args:
        model: A copy that may be changed.
        example_inputs: Inputs of one forward pass.
        original: Network that `model` was copied from.
        keeps_state: Whether a pass changes what the model keeps, so that the next one may differ.
        outputs: What of the outputs is compared.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        original: nn.Module | None = None,
        *,
        keeps_state: bool = False,
        outputs: UsedOutputs = EVERYTHING,
    ) -> None:
        self._model, self._inputs, self._keeps_state = model, example_inputs, keeps_state
        self._outputs = outputs
        self._original = model if original is None else original
        self._watched: set[bool] = set()
        self._wide: tuple[nn.Module, Any] | None = None
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._passed: set[tuple[str, Trial]] = set()

    def refine(self, space: PruningSpace) -> tuple[PruningSpace, list[str]]:
        """`space` without the groups that fail, and their names.

        Raises:
            UnsupportedModelError: Copies of the model go on using it.
        """
        failed: list[str] = []
        while (trial := self._first_failure(space)) is not None:
            for name, reason in self._guilty(space, trial, list(space.groups), []).items():
                space = space.without([name], f"failed the self-check: {reason}")
                failed.append(name)
        return space, failed

    def fails_in_training(self, space: PruningSpace) -> bool:
        """Whether it is in training mode that pruned networks fail first, where other tensors are read."""
        trial = self._first_failure(space)
        return trial is not None and trial.training

    def problem(self, space: PruningSpace, groups: list[Group]) -> str:
        """What goes wrong when parts of `groups` are cut; empty when nothing does."""
        found = (self._checked(space, trial, groups) for trial in self._trials(space))
        return next((problem for problem in found if problem), "")

    def _trials(self, space: PruningSpace) -> list[Trial]:
        widths = widths_that_stay(self._model, self._inputs, space)
        many = self._parameters < _SMALL_PARAMETERS
        return trials(space, widths, many=many, keeps_state=self._keeps_state) if space.groups else []

    def _first_failure(self, space: PruningSpace) -> Trial | None:
        for trial in self._trials(space):
            if (space.digest, trial) not in self._passed:
                if self._checked(space, trial, list(space.groups)):
                    return trial
                self._passed.add((space.digest, trial))
        return None

    def _guilty(self, space: PruningSpace, trial: Trial, groups: list[Group], context: list[Group]) -> dict[str, str]:
        """The groups that make a trial fail, and how: found by halves, those included that fail only along with others."""
        problem = self._checked(space, trial, [*groups, *context])
        if not problem or len(groups) == 1:
            return {group.name: problem for group in groups if problem}
        first, second = groups[: len(groups) // 2], groups[len(groups) // 2 :]
        alone = self._guilty(space, trial, first, context) | self._guilty(space, trial, second, context)
        if alone:
            return alone
        together = self._guilty(space, trial, first, [*context, *second])
        return together | self._guilty(space, trial, second, [*context, *first])

    def _checked(self, space: PruningSpace, trial: Trial, groups: list[Group]) -> str:
        bits = trial.bits(space, groups)
        if bits.all():
            return ""
        problem = self._compare(self._model, self._inputs, space, trial, bits)
        exact = bool(space.single_sided) and self._parameters < _WIDE_PARAMETERS
        if problem.startswith(STOPS) or not (problem or exact):
            return problem
        if self._wide is None:
            self._wide = in_float64(self._model, self._inputs)
        return self._compare(*self._wide, space, trial, bits)

    def _compare(self, model: nn.Module, inputs: Any, space: PruningSpace, trial: Trial, bits: Bits) -> str:
        try:
            plan = space.plan(bits)
            pair = self._pair(_run_once(model, inputs) if trial.warm else model, inputs, space, plan, trial)
        except Exception as error:
            return f"{STOPS} ({in_words(error)})"
        if trial.training:
            problem = pair.train()
            if problem is not None:
                return problem
            # What can't be trained on the inputs is at least evaluated.
            return self._compare(model, inputs, space, replace(trial, training=False), bits)
        problem, flops, full = pair.evaluate(trial.calls)
        return problem or (self._miscounted(space, bits, flops, full, trial.calls) if full else "")

    def _pair(self, model: nn.Module, inputs: Any, space: PruningSpace, plan: PruningPlan, trial: Trial) -> Rehearsal:
        reference = masked_copy(model, plan, only=None)
        if trial.noise:
            disturb(reference, space, plan)
        watch = None if trial.training in self._watched else Watch([self._original, model])
        self._watched.add(trial.training)
        return Rehearsal(prune(model, plan), reference, inputs, self._original, _NARROW_TOLERANCE, watch, self._outputs)

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


def _run_once(model: nn.Module, inputs: Any) -> nn.Module:
    """A copy with the state that a pass leaves behind."""
    copied = clone(model)
    with in_mode(copied, training=False), torch.no_grad():
        call_model(copied, inputs)
    return copied


def generic_copy(model: nn.Module) -> nn.Module:
    """A copy whose constant weights (zero-initialised branches, unit scales) are drawn at random, so that they hide nothing."""
    copied = clone(model)
    generator = torch.Generator().manual_seed(_SEED)
    for name, tensor in named_tensors(copied).items():
        kind = name.rpartition(".")[2]
        if not isinstance(tensor, nn.Parameter) and "running" not in kind:
            continue
        if tensor.is_floating_point() and tensor.numel() > 1 and _is_constant(tensor):
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data.copy_(noise + 0.5 if kind == "running_var" else noise * 0.8 - 0.3 + tensor.detach().cpu())
    return copied


def _is_constant(tensor: Tensor) -> bool:
    flat = tensor.detach().reshape(-1)
    return bool(flat[0] == flat[-1]) and bool((flat == flat[0]).all())


def disturb(model: nn.Module, space: PruningSpace, plan: PruningPlan) -> None:
    """Fill what the plan removes with noise, except where it is read: with the readers at zero, the output must not change."""
    single = {
        (member.tensor, member.dim)
        for group in space.groups
        if group.name in space.single_sided
        for member in group.members
    }
    generator = torch.Generator().manual_seed(_SEED)
    tensors: dict[str, Tensor] = named_tensors(model)
    for name, dimensions in plan.kept.items():
        tensor = tensors[name]
        readers = [dim for dim in dimensions if (name, dim) in space.consumers]
        for dim, indices in dimensions.items():
            if dim in readers or (name, dim) in single or name.endswith("running_var"):
                continue
            gone = torch.as_tensor(removed(tensor.shape[dim], indices), device=tensor.device)
            shape = [*tensor.shape[:dim], len(gone), *tensor.shape[dim + 1 :]]
            noise = torch.randn(len(gone), generator=generator).to(tensor).view(-1, *[1] * (tensor.dim() - dim - 1))
            tensor.data.index_copy_(dim, gone, noise.expand(shape))
        for dim in readers:
            gone = torch.as_tensor(removed(tensor.shape[dim], dimensions[dim]), device=tensor.device)
            tensor.data.index_fill_(dim, gone, cleared_to(tensors, name, dim))
