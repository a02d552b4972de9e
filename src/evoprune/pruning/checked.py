"""Analysis with its self-check: what comes out has been pruned once and compared with the masked reference."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.errors import EvopruneError
from evoprune.plan import PruningPlan
from evoprune.pruning.masks import masked_copy, removed
from evoprune.pruning.structured import _derived_tensors, prune
from evoprune.pruning.verify import compare, in_float64, outputs_of
from evoprune.space.analysis import trace_space
from evoprune.space.calling import named_tensors
from evoprune.space.pruning_space import Group, PruningSpace

_SEED = 20240807


def analyze(
    model: nn.Module, example_inputs: Any, *, exclude: Sequence[str] = (), self_check: bool = True
) -> PruningSpace:
    """Find what can be pruned from `model`, what goes together, and what can't go and why.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        exclude: Name patterns of modules or parameters that must stay as they are.
        self_check: Prune half of everything once and compare; groups that disagree are frozen.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    space = trace_space(model, example_inputs, exclude)
    if not self_check or not space.groups:
        return space
    checker = SelfCheck(generic_copy(model), example_inputs)
    return checker.refine(space)


class SelfCheck:
    """Compares surgery with the masked reference on random cuts of a model.

    Args:
        model: A copy that may be changed.
        example_inputs: What it runs on.
    """

    def __init__(self, model: nn.Module, example_inputs: Any) -> None:
        self._model, self._inputs = model, example_inputs
        self._wide: tuple[nn.Module, Any] | None = None

    def refine(self, space: PruningSpace) -> PruningSpace:
        """`space` without the groups that fail."""
        while space.groups:
            problem = self.problem(space, list(space.groups))
            if not problem:
                break
            guilty = self._guilty(space, list(space.groups), problem)
            for group, reason in guilty.items():
                space = space.without([group], f"failed the self-check: {reason}")
        return space

    def problem(self, space: PruningSpace, groups: list[Group]) -> str:
        """What goes wrong when half of `groups` is cut; empty when nothing does."""
        plan = half_plan(space, groups)
        problem = self._compare(self._model, self._inputs, space, plan)
        if not problem or problem.startswith("can't run"):
            return problem
        if self._wide is None:
            self._wide = in_float64(self._model, self._inputs)
        return self._compare(*self._wide, space, plan)

    def _compare(self, model: nn.Module, inputs: Any, space: PruningSpace, plan: PruningPlan) -> str:
        reference = masked_copy(model, plan, only=None)
        expected = outputs_of(reference, inputs)
        try:
            found = compare(outputs_of(prune(model, plan), inputs), expected)
        except EvopruneError as error:
            return f"can't run: {error}"
        except Exception as error:
            text = str(error).strip().splitlines() or [""]
            return f"can't run: {type(error).__name__}: {text[0][:160]}"
        if not found.agrees:
            return f"the pruned network differs from the masked one by {found.relative:.1g} of its largest output"
        disturb(reference, space, plan)
        noisy = compare(outputs_of(reference, inputs), expected)
        return "" if noisy.agrees else "removed channels still reach the output"

    def _guilty(self, space: PruningSpace, groups: list[Group], problem: str) -> dict[str, str]:
        if len(groups) == 1:
            return {groups[0].name: problem}
        middle = len(groups) // 2
        found: dict[str, str] = {}
        for part in (groups[:middle], groups[middle:]):
            inner = self.problem(space, part)
            if inner:
                found |= self._guilty(space, part, inner)
        return found or {group.name: problem for group in groups}


def half_plan(space: PruningSpace, groups: list[Group]) -> PruningPlan:
    """Cut half of the units of `groups`, at least one where there are two, the same ones at every call."""
    bits = np.ones(space.size, dtype=np.bool_)
    generator = np.random.default_rng(_SEED)
    for group in space.groups:
        order = generator.permutation(group.size)
        if group in groups:
            bits[group.start + order[: group.size // 2]] = False
    return space.plan(bits)


def generic_copy(model: nn.Module) -> nn.Module:
    """A copy whose constant weights (zero-initialised branches, unit scales) are drawn at random, so that they hide nothing."""
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in _derived_tensors(model)}
    copied = copy.deepcopy(model, memo)
    generator = torch.Generator().manual_seed(_SEED)
    for name, tensor in named_tensors(copied).items():
        kind = name.rpartition(".")[2]
        if (
            tensor.is_floating_point()
            and tensor.numel() > 1
            and (isinstance(tensor, nn.Parameter) or "running" in kind)
        ):
            flat = tensor.detach().reshape(-1)
            if bool((flat == flat[0]).all()):
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.data.copy_(noise + 0.5 if kind == "running_var" else noise * 0.8 - 0.3 + tensor.detach().cpu())
    return copied


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
            noise = torch.randn(shape, generator=generator).to(tensor)
            tensor.data.index_copy_(dim, gone, noise)
        for dim in readers:
            gone = torch.as_tensor(removed(tensor.shape[dim], dimensions[dim]), device=tensor.device)
            tensor.data.index_fill_(dim, gone, 0.0)
