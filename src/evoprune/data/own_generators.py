"""Random generators that data sets, transforms and samplers hold, in place of the global ones."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.seeding import SeedTree

Generator = np.random.Generator | np.random.RandomState | random.Random | torch.Generator

_KINDS: Final = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
_LEAVES: Final = (str, bytes, int, float, complex, Tensor, np.ndarray, nn.Module, ModuleType, BuiltinFunctionType)
_LONGEST: Final = 64
"""Items of a list that are looked through: longer ones hold samples, not transforms."""
_MOST: Final = 10_000
"""Objects that are looked at in all."""


def own_generators(*holders: Any) -> tuple[Generator, ...]:
    """The generators that objects reach: in attributes, containers, closures, bound arguments, and by global names in methods.

    Args:
        holders: Such as a data set and a `collate_fn`.

    Returns:
        Each once, in a stable order. The global generators of numpy, Python and torch are not among them.
    """
    found: dict[int, Generator] = {}
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no other object gets the same id
    left = list(reversed(holders))
    while left and len(seen) < _MOST:
        node = left.pop()
        if node is None or isinstance(node, _LEAVES) or id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, _KINDS):
            found[id(node)] = node
        else:
            left.extend(reversed(list(_reached(node))))
    world = (torch.default_generator, getattr(random, "_inst", None), getattr(np.random.mtrand, "_rand", None))
    return tuple(one for one in found.values() if all(one is not other for other in world))


@contextmanager
def seeded(generators: Sequence[Generator], seeds: SeedTree) -> Iterator[None]:
    """Seed each of `generators` by itself inside the block and put them back as they were after it."""
    states = [_state(one) for one in generators]
    for number, one in enumerate(generators):
        _seed(one, seeds.child("own", number).seed)
    try:
        yield
    finally:
        for one, state in zip(generators, states, strict=True):
            _restore(one, state)


def _reached(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from islice(node.values(), _LONGEST)
    elif isinstance(node, (list, tuple)):
        yield from node[:_LONGEST]
    elif isinstance(node, FunctionType):
        yield from _reached_by_code(node)
    elif isinstance(node, MethodType):
        yield from (node.__self__, node.__func__)
    elif isinstance(node, functools.partial):
        yield from (node.func, *node.args, *node.keywords.values())
    elif isinstance(node, type):
        yield from (one for part in node.__mro__ if not _is_library(part) for one in vars(part).values())
    else:
        yield from (getattr(node, "__dict__", None), type(node))


def _reached_by_code(function: FunctionType) -> Iterator[Any]:
    if _is_library(function):
        return
    cells = function.__closure__ or ()
    yield from (cell.cell_contents for cell in cells if cell != type(cell)())
    yield from function.__defaults__ or ()
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    # Functions call others, such as a transform in the same module; classes and objects are left alone.
    yield from (one for one in named if isinstance(one, (*_KINDS, FunctionType)))


def _is_library(thing: Any) -> bool:
    """Whether code is torch's, numpy's or Python's own, in which nobody keeps a generator."""
    return (getattr(thing, "__module__", None) or "builtins").split(".")[0] in ("torch", "numpy", "builtins", "typing")


def _state(generator: Generator) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def _restore(generator: Generator, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _seed(generator: Generator, seed: int) -> None:
    if isinstance(generator, np.random.Generator):
        kind: Any = type(generator.bit_generator)
        generator.bit_generator.state = kind(seed).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed % 2**32)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    else:
        generator.manual_seed(seed)
