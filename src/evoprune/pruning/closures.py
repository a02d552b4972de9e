"""Functions that hold on to a model: copied along with it, they would go on running the original."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from evoprune.errors import UnsupportedModelError


def refuse_closures(model: nn.Module) -> None:
    """See that no attribute or hook of `model` is a function that closes over one of its modules.

    Bound methods and `functools.partial` are copied rightly; the cells of a closure can't be.

    Raises:
        UnsupportedModelError: There is such a function; the message names it.
    """
    own = {id(module) for module in model.modules()}
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute == "_compiled_call_impl":
                continue  # of a compiled module, which tracing refuses with a better reason
            for function in _functions(value):
                if any(_holds(cell.cell_contents, own) for cell in function.__closure__ or () if _is_full(cell)):
                    where = f"{path}.{attribute}" if path else attribute
                    raise UnsupportedModelError(
                        f"{where} holds the function {function.__qualname__}, which closes over the model: a pruned copy would "
                        "go on running the original's layers",
                        "make it a method, or a function that is given the module",
                    )


def _functions(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _functions(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _functions(item)


def _holds(content: Any, own: set[int]) -> bool:
    if isinstance(content, MethodType):
        content = content.__self__
    if isinstance(content, (list, tuple)):
        return any(_holds(item, own) for item in content)
    return isinstance(content, nn.Module) and id(content) in own


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True
