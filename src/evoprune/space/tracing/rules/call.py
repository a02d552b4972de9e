"""One executed operation, as a rule sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.label_table import LabelTable
from evoprune.space.tracing.labels import FIXED, Couplings, Labels, Production, Vector

Dims = dict[int, Vector]


@dataclass
class Call:
    """An operation with its operands, their labels, and its result.

    A rule reads labels, ties or freezes atoms, and puts the labels of the results.
    """

    tracer: LabelTable
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    operands: list[Tensor]
    operand_labels: list[Labels]

    @property
    def couplings(self) -> Couplings:
        """Where ties and freezes go."""
        return self.tracer.couplings

    @cached_property
    def active(self) -> bool:
        """Whether any operand depends on the model's input."""
        return any(label.active for label in self.operand_labels)

    @property
    def where(self) -> str:
        """Operation and module, for reasons: `aten.cumsum in blocks.0`."""
        name = str(self.func).rpartition(".")[0] or str(self.func)
        return f"{name} in {self.tracer.module or 'the model itself'}"

    @cached_property
    def _bound(self) -> dict[str, Any]:
        bound = {}
        for position, argument in enumerate(self.func._schema.arguments):
            if position < len(self.args):
                bound[argument.name] = self.args[position]
            elif argument.name in self.kwargs:
                bound[argument.name] = self.kwargs[argument.name]
            else:
                bound[argument.name] = argument.default_value
        return bound

    def arg(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the operation's schema."""
        return self._bound.get(name, default)

    def labels(self, tensor: Tensor | None) -> Labels:
        """Labels of an operand; none for an absent one."""
        return Labels() if tensor is None else self.tracer.labels(tensor)

    def dims(self, tensor: Tensor | None) -> Dims:
        """The labelled dimensions of an operand."""
        return dict(self.labels(tensor).dims)

    def put(self, dims: Dims, tensor: Tensor | None = None, *, active: bool | None = None) -> None:
        """Label the result (or `tensor` of it); vectors of the wrong length are frozen rather than believed."""
        target = self.result if tensor is None else tensor
        good = {dim: atoms for dim, atoms in dims.items() if target.shape[dim] == len(atoms) and (atoms != FIXED).any()}
        for dim, atoms in dims.items():
            if dim not in good:
                self.couplings.freeze(atoms, f"changes its size in {self.where}")
        self.tracer.put(target, good, active=self.active if active is None else active)

    def put_all(self, dims: Dims) -> None:
        """Label every tensor of the result alike."""
        for tensor in tensors_in(self.result):
            self.put(dims, tensor)

    def freeze(self, atoms: Vector, what: str) -> None:
        """Freeze `atoms`; `what` completes the sentence "... by aten.sum in fc"."""
        self.couplings.freeze(atoms, f"{what} by {self.where}")

    def freeze_where_read(self, atoms: Vector, what: str) -> None:
        """Freeze `atoms` as soon as anything reads the result's values; code may want no more than its shape."""
        for tensor in tensors_in(self.result):
            self.tracer.taint(tensor, atoms, f"{what} by {self.where}")

    def freeze_dims(self, dims: Dims, what: str) -> None:
        """Freeze all labels of `dims`."""
        for atoms in dims.values():
            self.freeze(atoms, what)

    def join(self, parts: list[tuple[Vector | None, int]]) -> Vector | None:
        """The label of positions that several operands share.

        Args:
            parts: Per operand its label and its size along the dimension; size 1 broadcasts.
        """
        size = max(size for _, size in parts)
        labelled = [atoms for atoms, length in parts if atoms is not None and length == size]
        narrow = [atoms for atoms, length in parts if atoms is not None and length != size]
        reason = f"meets a tensor of fixed size in {self.where}"
        for atoms in narrow:
            self.couplings.freeze(atoms, reason)
        if not labelled:
            return None
        for atoms in labelled[1:]:
            self.couplings.tie(labelled[0], atoms, reason)
            if not self.active:
                self.couplings.alike.append((labelled[0], atoms))
        if size > 1 and any(atoms is None and length == size for atoms, length in parts):
            self.couplings.freeze(labelled[0], reason)
            return None
        fixed = np.any([atoms == FIXED for atoms in labelled], axis=0)
        return np.where(fixed, FIXED, labelled[0])

    def contract(self, first: tuple[Vector | None, bool], second: tuple[Vector | None, bool], size: int) -> None:
        """Sum over a dimension of two operands, each given as its label and whether it is active."""
        if size <= 1:
            return
        (one, one_active), (two, two_active) = first, second
        if one is None or two is None:
            for atoms in (one, two):
                if atoms is not None:
                    self.freeze(atoms, "is matched with a fixed size (an input, or a computed tensor)")
            return
        self.couplings.tie(one, two, f"is matched with fixed positions in {self.where}")
        if one_active == two_active:
            self.couplings.multiplied.append(one)
        if not one_active and not two_active and min(tensor.dim() for tensor in self.operands) == 1:
            self.freeze(one, "is summed over, weight by weight,")
        consumed = two if one_active else one
        self.couplings.consumed.append(consumed)

    def produce(self, atoms: Vector | None, layer_type: str) -> None:
        """A parameter gives the result a dimension of its own; without a label, the weight is one that can't be followed."""
        if atoms is None:
            reason = f"its weight is computed in a way evoprune can't follow, or has a single output, in {self.where}"
            self.couplings.blind.append((self.tracer.module, reason))
        else:
            self.couplings.productions.append(Production(atoms, layer_type, self.tracer.module))
