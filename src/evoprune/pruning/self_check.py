"""The self-check: surgery against the masked reference on random cuts, and noise in what was removed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.errors import EvopruneError
from evoprune.plan import PruningPlan
from evoprune.pruning.cloning import clone
from evoprune.pruning.masks import masked_copy, removed
from evoprune.pruning.structured import prune
from evoprune.pruning.verify import compare, in_float64, outputs_of
from evoprune.space.calling import named_tensors
from evoprune.space.pruning_space import Group, PruningSpace

_SEED = 20240807
_SMALL_PARAMETERS = 2_000_000
"""Below this, forward passes are cheap enough for more cuts."""

_WIDE_PARAMETERS = 20_000_000
"""Up to this, a model that multiplies activations with each other is always compared in float64, where small errors show."""

_NARROW_TOLERANCE = 5e-6
"""Accepted relative difference in float32; above it, float64 decides."""


_STOPS = "the model's code relies on the full size"
"""How a problem begins when the pruned network stops with an error."""


class SelfCheck:
    """Compares surgery with the masked reference on random cuts of a model.

    Args:
        model: A copy that may be changed.
        example_inputs: What it runs on.
    """

    def __init__(self, model: nn.Module, example_inputs: Any) -> None:
        self._model, self._inputs = model, example_inputs
        self._wide: tuple[nn.Module, Any] | None = None
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        self._cuts = 5 if self._parameters < _SMALL_PARAMETERS else 2

    def refine(self, space: PruningSpace) -> tuple[PruningSpace, list[str]]:
        """`space` without the groups that fail, and their names."""
        failed: list[str] = []
        while space.groups:
            problem = self.problem(space, list(space.groups))
            if not problem:
                break
            for name, reason in self._guilty(space, list(space.groups), problem).items():
                space = space.without([name], f"failed the self-check: {reason}")
                failed.append(name)
        return space, failed

    def problem(self, space: PruningSpace, groups: list[Group]) -> str:
        """What goes wrong when parts of `groups` are cut; empty when nothing does."""
        for number in range(self._cuts):
            plan = random_cut(space, groups, number)
            problem = self._checked(space, plan, noise=number > 0)
            if problem:
                return problem
        return ""

    def _checked(self, space: PruningSpace, plan: PruningPlan, *, noise: bool) -> str:
        problem = self._compare(self._model, self._inputs, space, plan, noise=noise)
        exact = bool(space.single_sided) and self._parameters < _WIDE_PARAMETERS
        if problem.startswith(_STOPS) or not (problem or exact):
            return problem
        if self._wide is None:
            self._wide = in_float64(self._model, self._inputs)
        return self._compare(*self._wide, space, plan, noise=noise)

    def _compare(self, model: nn.Module, inputs: Any, space: PruningSpace, plan: PruningPlan, *, noise: bool) -> str:
        try:
            outputs = outputs_of(prune(model, plan), inputs)
            reference = masked_copy(model, plan, only=None)
            if noise:
                disturb(reference, space, plan)
            found = compare(outputs, outputs_of(reference, inputs))
        except EvopruneError as error:
            return f"{_STOPS} ({error})"
        except Exception as error:
            text = str(error).strip().splitlines() or [""]
            return f"{_STOPS} ({type(error).__name__}: {text[0][:160]})"
        tolerance = min(found.tolerance, _NARROW_TOLERANCE) if found.dtype == torch.float32 else found.tolerance
        if found.relative <= tolerance:
            return ""
        what = "with noise in the removed channels" if noise else "masked"
        return f"the pruned network differs from the one {what} by {found.relative:.1g} of its largest output"

    def _guilty(self, space: PruningSpace, groups: list[Group], problem: str) -> dict[str, str]:
        """Bisect; where only the parts together fail, all of them are guilty."""
        if len(groups) == 1:
            return {groups[0].name: problem}
        middle = len(groups) // 2
        found: dict[str, str] = {}
        for part in (groups[:middle], groups[middle:]):
            inner = self.problem(space, part)
            if inner:
                found |= self._guilty(space, part, inner)
        return found or {group.name: problem for group in groups}


def random_cut(space: PruningSpace, groups: list[Group], number: int) -> PruningPlan:
    """Cut units of `groups`, the same at every call: half of each for number 0, any other share for higher numbers."""
    bits = np.ones(space.size, dtype=np.bool_)
    chosen = {group.name for group in groups}
    for place, group in enumerate(space.groups):
        generator = np.random.default_rng((_SEED, number, place))
        order = generator.permutation(group.size)
        half = group.size // 2
        share = half if number == 0 or group.size < 3 else 1 + int(generator.integers(group.size - 2))
        if number and share == half:
            share = group.size - 1
        if group.name in chosen:
            bits[group.start + order[:share]] = False
    return space.plan(bits)


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
            tensor.data.index_fill_(dim, gone, 0.0)
