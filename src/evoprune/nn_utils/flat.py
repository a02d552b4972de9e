"""A network that takes and returns tensors one by one, as file formats want it, with names for them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.nn_utils.calling import Call


class Flat(nn.Module):
    """A module that takes the tensors of its arguments one by one, and returns those of its results: one alone as it is.

    Args:
        module: Any module; it is held, not copied.
        call: Arguments of one call; what is no tensor in them stays as it is.
    """

    def __init__(self, module: nn.Module, call: Call) -> None:
        super().__init__()
        self.module, self._call = module, call

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tensors of the results, in the order of `tensors_in`."""
        given = iter(tensors)
        args, kwargs = map_tensors(self._call, lambda _: next(given))
        results = tuple(tensors_in(self.module(*args, **kwargs)))
        return results[0] if len(results) == 1 else results


def input_names(module: nn.Module, call: Call) -> list[str]:
    """A name for each tensor of a call: that of its argument, with a number for those in containers."""
    names = list(_argument_names(module, call))
    return names if len(set(names)) == len(names) else _numbered("input", len(names))


def output_names(results: Any, taken: list[str]) -> list[str]:
    """A name for each tensor of a module's results: their keys where they have some; none of `taken`."""
    count = len(list(tensors_in(results)))
    if isinstance(results, Tensor):
        names = ["output"]
    elif isinstance(results, Mapping) and all(isinstance(one, Tensor) for one in results.values()):
        names = list(map(str, results))
    else:
        names = _numbered("output", count)
    return [f"{name}_out" if name in taken else name for name in names]


def _argument_names(module: nn.Module, call: Call) -> Iterator[str]:
    args, kwargs = call
    parameters = inspect.signature(module.forward).parameters.values()
    positional = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    positional += _numbered("input", len(args) - len(positional))
    for name, value in [*zip(positional, args, strict=False), *kwargs.items()]:
        yield from [name] if isinstance(value, Tensor) else _numbered(name, len(list(tensors_in(value))))


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}_{number}" for number in range(count)]
