"""What a trace notes down about the work of each contraction: its FLOPs, and the labels that set its extents."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.errors import in_words
from evoprune.nn_utils.flops import flops_of, operation_name
from evoprune.space.tracing.label_table import LabelTable
from evoprune.space.tracing.labels import Vector, Work
from evoprune.space.tracing.rules.work import Product, module_work

Places = list[list[tuple[Tensor, int]]]
"""Per extent the places where it can be read: operand and dimension."""


class Recorder:
    """Appends a `Work` to the trace's couplings for every contraction that runs."""

    def __init__(self, tracer: LabelTable) -> None:
        self._tracer = tracer
        self._module_flops: int | None = None

    def see(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, *, paused: bool) -> None:
        """An operation has run."""
        if paused and self._module_flops is None:
            return
        flops = flops_of(func, args, kwargs, result) or 0
        if self._module_flops is not None:
            self._module_flops += flops
        elif flops:
            try:
                self._note(func, flops, args, kwargs)
            except Exception as error:
                reason = f"the MACs of {operation_name(func)} in {self._where} can't be told ({in_words(error)})"
                self._opaque(flops, list(tensors_in((args, kwargs))), reason)

    @contextmanager
    def whole(self, module: nn.Module, args: Any, kwargs: Any) -> Iterator[None]:
        """Count all that runs inside as the work of one module."""
        self._module_flops = 0
        try:
            yield
        finally:
            flops, self._module_flops = self._module_flops, None
        if flops:
            self._note_module(module, flops, args, kwargs)

    def _note(self, func: Any, flops: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        name = operation_name(func).rpartition(":")[2]
        places, summed = _PLACES.get(name), _einsum_operands()
        if places is None or summed > 2 or _in_chain():
            what = name if places is None else f"an einsum of {summed} tensors" if summed > 2 else "a chain of products"
            reason = f"the MACs of {what} in {self._where} have no formula"
            self._opaque(flops, list(tensors_in((args, kwargs))), reason)
            return
        extents = places(args, kwargs)
        labels = [next((found for place in one if (found := self._label(*place)) is not None), None) for one in extents]
        labelled = [atoms for atoms in labels if atoms is not None]
        fragile = ""
        if summed and labels[-1] is not None:
            fragile = f"the einsum in {self._where} is no contraction any more when 1 position is left to sum over"
        self._put(flops, labelled, fragile)

    def _note_module(self, module: nn.Module, flops: int, args: Any, kwargs: Any) -> None:
        products = module_work(module, args, kwargs)
        if 2 * sum(map(_size, products)) != flops:
            operands = [*tensors_in((args, kwargs)), *module.parameters()]
            self._opaque(flops, operands, f"the MACs of {type(module).__name__} in {self._where} have no formula")
            return
        for product in products:
            found = [self._label(tensor, dim) for tensor, dim in product.extents]
            self._put(2 * _size(product), [atoms for atoms in found if atoms is not None])

    def _put(self, flops: int, extents: list[Vector], fragile: str = "") -> None:
        coefficient, rest = divmod(flops, math.prod(map(len, extents)))
        if rest:
            reason = f"the MACs of a contraction in {self._where} are no product of its extents"
            self._tracer.couplings.work.append(Work(flops, (), tuple(extents), reason))
        else:
            self._tracer.couplings.work.append(Work(coefficient, tuple(extents), (), fragile))

    def _opaque(self, flops: int, operands: list[Tensor], reason: str) -> None:
        guards = [atoms for tensor in operands for atoms in self._tracer.labels(tensor).dims.values()]
        self._tracer.couplings.work.append(Work(flops, (), tuple(guards), reason))

    def _label(self, tensor: Tensor, dim: int) -> Vector | None:
        return self._tracer.labels(tensor).dims.get(dim)

    @property
    def _where(self) -> str:
        return self._tracer.module or "the model itself"


def _einsum_operands() -> int:
    """How many tensors the einsum has that called this; 0 outside of one. It chooses its contractions by the sizes it finds."""
    frame = sys._getframe()
    while (caller := frame.f_back) is not None:
        if caller.f_code is torch.functional.einsum.__code__:
            return sum(1 for _ in tensors_in(caller.f_locals["args"]))
        frame = caller
    return 0


def _in_chain() -> bool:
    """Whether what called this may be `torch.linalg.multi_dot`, a C function, which chooses its order by the sizes it finds."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OURS):
        frame = frame.f_back
    return not _CHAINS.isdisjoint(frame.f_code.co_names)


_OURS = ("evoprune.space.", "torch.utils._python_dispatch", "torch._dynamo.", "torch._compile")
_CHAINS = {"multi_dot", "chain_matmul"}


def _size(product: Product) -> int:
    return product.factor * math.prod(tensor.shape[dim] for tensor, dim in product.extents)


def _convolution(args: tuple[Any, ...], _: dict[str, Any]) -> Places:
    source, weight = args[:2]
    return [[(source, 0)], [(weight, 0)], [(weight, 1)]]


def _matrices(first: Tensor, second: Tensor) -> Places:
    """[..., m, k] @ [..., k, n]; what is summed over comes last."""
    batch: Places = [[(first, 0), (second, 0)]] if first.dim() == 3 else []
    rows, inner = first.dim() - 2, second.dim() - 2
    return [*batch, [(first, rows)], [(second, inner + 1)], [(first, rows + 1), (second, inner)]]


def _product(args: tuple[Any, ...], _: dict[str, Any]) -> Places:
    return _matrices(*args[:2])


def _added_product(args: tuple[Any, ...], _: dict[str, Any]) -> Places:
    return _matrices(*args[1:3])


def _grouped(args: tuple[Any, ...], _: dict[str, Any]) -> Places:
    rows, matrices = args[:2]
    return [[(rows, 0)], [(matrices, 2)], [(rows, 1), (matrices, 1)]]


def _vector(args: tuple[Any, ...], _: dict[str, Any]) -> Places:
    matrix, vector = args[:2]
    rows: Places = [[(matrix, 0)]] if matrix.dim() == 2 else []
    return [*rows, [(matrix, matrix.dim() - 1), (vector, 0)]]


def _added_vector(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Places:
    return _vector(args[1:], kwargs)


_PLACES: dict[str, Callable[[tuple[Any, ...], dict[str, Any]], Places]] = {
    **dict.fromkeys(("convolution", "_convolution", "cudnn_convolution"), _convolution),
    **dict.fromkeys(("mm", "bmm"), _product),
    "_grouped_mm": _grouped,
    **dict.fromkeys(("addmm", "baddbmm", "addbmm"), _added_product),
    **dict.fromkeys(("mv", "dot", "vdot"), _vector),
    "addmv": _added_vector,
}
