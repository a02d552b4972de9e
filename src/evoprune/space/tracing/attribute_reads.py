"""Which sizes that modules keep in attributes of their own are read while a model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import nn

Reads = set[tuple[str, str]]
"""Names of modules, each with the name of an attribute that was read."""


@contextmanager
def attribute_reads(model: nn.Module, reads: Reads) -> Iterator[None]:
    """Note in `reads` which attributes that hold integers are read for as long as this lasts.

    A property on the modules' classes does it, so that the model finds the values that it always finds. Modules of torch itself,
    whose attributes are known, are left out, and so are attributes that a class has a default for.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    watched: list[tuple[type, str]] = []
    try:
        for module in model.modules():
            for name in sizes_in(module):
                kind = type(module)
                if not hasattr(kind, name):
                    with suppress(TypeError, AttributeError):
                        setattr(kind, name, _Watched(name, paths, reads))
                        watched.append((kind, name))
        yield
    finally:
        for kind, name in watched:
            delattr(kind, name)


def sizes_in(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    """The attributes of a module that hold an integer, or a tuple or list of integers; none for modules of torch itself."""
    if type(module).__module__.partition(".")[0] == "torch":
        return {}
    found: dict[str, int | tuple[int, ...]] = {}
    for name, value in vars(module).items():
        if type(value) is int:
            found[name] = value
        elif isinstance(value, (tuple, list)) and value and all(type(one) is int for one in value):
            found[name] = tuple(value)
    return found


class _Watched:
    """A property that reads and writes the instance's own dictionary, as if it weren't there."""

    def __init__(self, name: str, paths: Mapping[int, str], reads: Reads) -> None:
        self._name, self._paths, self._reads = name, paths, reads

    def __get__(self, module: Any, kind: type | None = None) -> Any:
        if module is None:
            return self
        path = self._paths.get(id(module))
        if path is not None:
            self._reads.add((path, self._name))
        try:
            return vars(module)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None  # `__getattr__` goes on from here

    def __set__(self, module: Any, value: Any) -> None:
        vars(module)[self._name] = value

    def __delete__(self, module: Any) -> None:
        try:
            del vars(module)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
