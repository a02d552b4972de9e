"""Run a model once and collect the labels of everything it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.data.trees import tensors_in
from evoprune.data.used_outputs import Gather
from evoprune.errors import in_words
from evoprune.nn_utils.calling import named_tensors, run_example, undisturbed
from evoprune.nn_utils.dispatch import WatchingMode
from evoprune.space.attributes import HEAD_COUNTS, HEAD_SIZES
from evoprune.space.tracing.attribute_reads import attribute_reads
from evoprune.space.tracing.fresh import FreshTensors
from evoprune.space.tracing.labels import Couplings, Labels, Vector
from evoprune.space.tracing.module_calls import calls_noted
from evoprune.space.tracing.recorder import Recorder
from evoprune.space.tracing.rules import refuse, rule_for
from evoprune.space.tracing.rules.call import Call
from evoprune.space.tracing.rules.modules import ModuleRule
from evoprune.space.tracing.running import module_path, whole_modules

Met = tuple[set[str], dict[str, dict[int, Vector]], set[int]]


class Tracer(WatchingMode):
    """Follows every ATen operation and lets its rule label the results.

    Attributes:
        couplings: What it has learnt.
        readings: Said beforehand, see `Trace`.
        path: Names of the modules that are running.
        ran: Names of the modules that have run.
        seen: `{module: {hash: label}}`, the labels of what went through the very code of a module.
    """

    def __init__(self, model: nn.Module, readings: Mapping[str, int]) -> None:
        super().__init__()
        self.couplings = Couplings()
        self.readings = readings
        self._model = model
        self.path: list[str] = []
        self.ran: set[str] = set()
        self._modules = dict(model.named_modules())
        self._names = {id(tensor): name for name, tensor in named_tensors(model).items()}
        self._table: Any = WeakTensorKeyDictionary()
        self._taints: Any = WeakTensorKeyDictionary()
        self._paused = False
        self.seen: dict[str, dict[int, Vector]] = {}
        self._fresh = FreshTensors()
        self.outputs: list[Tensor] = []
        self.recorder = Recorder(self)

    def run(self, example_inputs: Any, gather: Gather, *, training: bool) -> list[Tensor]:
        """Follow one pass; the output tensors that count.

        Raises:
            UnsupportedModelError: The model can't run on these inputs.
        """
        for tensor in tensors_in(example_inputs):
            self.put(tensor, {}, active=True)
        model = self._model
        with ExitStack() as stack:
            snapshot = stack.enter_context(undisturbed(model, training=training))
            stack.enter_context(module_path(model, self.path, self.ran, self._see))
            stack.enter_context(attribute_reads(model, self.couplings.reads))
            if not training:
                stack.enter_context(calls_noted(model, self, self.couplings.calls))
            stack.enter_context(whole_modules(model, self.run_whole))
            with self:
                outputs = run_example(model, example_inputs)
                reached = gather(outputs)
        self.outputs = [tensor.detach() for tensor in tensors_in(outputs)]
        self.couplings.keeps_state |= snapshot.changed and not training
        return reached

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then label its results."""
        kwargs = kwargs or {}
        rule = rule_for(func)
        if rule is refuse and (parts := self.in_parts(func, types, args, kwargs)) is not NotImplemented:
            return parts
        before = self._before(args[0]) if _reshapes_in_place(func) else None
        result = func(*args, **kwargs)
        if before is not None:
            args = (before, *args[1:])
        self.recorder.see(func, args, kwargs, result, paused=self._paused)
        if not self._paused:
            self.follow(func, rule, args, kwargs, result)
        return result

    def follow(
        self, func: Any, rule: Callable[[Call], None], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Let `rule` label the results of a call if any operand has a label."""
        operands = list(tensors_in((args, kwargs)))
        labels = [self.labels(tensor) for tensor in operands]
        for tensor in operands:
            self.check_taint(tensor)
        self._see(operands)
        call = Call(self, func, args, kwargs, result, operands, labels)
        if isinstance(func, str) or any(label.dims for label in labels):
            try:
                rule(call)
            except Exception as error:
                self._give_up(call, error)
        for tensor in tensors_in(result):
            if tensor not in self._table:
                self.put(tensor, {}, active=call.active)
        self._see(result)
        self._fresh.see(func, operands, result, self.module)

    def _see(self, values: Any) -> None:
        """Note the labels of tensors that the module which is running has in hand."""
        here = self.seen.setdefault(self.module, {})
        for tensor in tensors_in(values):
            known = self._table.get(tensor)
            for atoms in () if known is None else known.dims.values():
                here.setdefault(hash(atoms.tobytes()), atoms)

    def _give_up(self, call: Call, error: Exception) -> None:
        """Freeze all that enters an operation whose rule failed; what the rule said of the result is forgotten."""
        for labels in call.operand_labels:
            call.freeze_dims(dict(labels.dims), f"is left alone, for a rule failed ({in_words(error)}),")
        for tensor in tensors_in(call.result):
            self.put(tensor, {}, active=call.active)

    def _before(self, tensor: Tensor) -> Tensor:
        """`tensor` with the shape and labels that it is about to lose."""
        twin = tensor.detach()
        known = self.labels(tensor)
        self.put(twin, dict(known.dims), active=known.active)
        return twin

    def run_whole(self, module: nn.Module, rule: ModuleRule, forward: Any, args: Any, kwargs: Any) -> Any:
        """Run a module without following its operations, then label its results by a rule for the module as a whole."""
        if self._paused:
            return forward(*args, **kwargs)
        with self.pausing(), self.recorder.whole(module, args, kwargs):
            result = forward(*args, **kwargs)
        self.follow(f"{type(module).__name__}.forward", lambda call: rule(call, module), args, kwargs, result)
        return result

    def reading(self, sizes: list[int]) -> int:
        """Which of the dimensions that the running module splits one into may be cut, from the end.

        Said beforehand, or heads where an attribute of the module tells their number or their size, or the innermost.
        """
        said = self.readings.get(self.module)
        if said is not None or len(sizes) < 2:
            return -1 if said is None else said
        values = self.attributes()
        heads = any(values.get(name) == sizes[-2] for name in HEAD_COUNTS)
        return -2 if heads or any(values.get(name) == sizes[-1] for name in HEAD_SIZES) else -1

    def attributes(self, module: str | None = None) -> Mapping[str, object]:
        """Attributes of a module, or of the one that is running."""
        path = self.module if module is None else module
        return vars(self._modules[path]) if path in self._modules else {}

    def maker(self, tensor: Tensor) -> str | None:
        """The module whose code made `tensor` of a single number; None for other tensors."""
        return self._fresh.maker(tensor)

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Follow nothing for a while."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def is_named(self, tensor: Tensor) -> bool:
        """Whether `tensor` is a parameter or buffer of the model."""
        return id(tensor) in self._names

    def met(self) -> Met:
        """What the trace came across so far: modules, what went through their code, and parameters."""
        known = {id(tensor) for tensor in named_tensors(self._model).values() if tensor in self._table}
        return set(self.ran), {path: dict(labels) for path, labels in self.seen.items()}, known

    def forget_all_but(self, met: Met) -> None:
        """Go on as if what came after had not been there."""
        ran, self.seen, known = met
        self.ran.intersection_update(ran)
        self.path.clear()
        for tensor in named_tensors(self._model).values():
            if tensor in self._table and id(tensor) not in known:
                del self._table[tensor]

    def knows(self, tensor: Tensor) -> bool:
        """Whether the trace came across `tensor`."""
        return tensor in self._table

    def taint(self, tensor: Tensor, atoms: Vector, reason: str) -> None:
        """Freeze `atoms` as soon as anything reads `tensor`."""
        self._taints[tensor] = (atoms, reason)

    def check_taint(self, tensor: Tensor) -> None:
        """Something reads `tensor`."""
        found = self._taints.get(tensor)
        if found is not None:
            self.couplings.freeze(*found)

    def labels(self, tensor: Tensor) -> Labels:
        """What is known about `tensor`; parameters and buffers get their atoms at the first question."""
        known: Labels | None = self._table.get(tensor)
        if known is not None:
            return known
        name = self._names.get(id(tensor))
        if name is None:
            return Labels()
        sizes = enumerate(tensor.shape)
        self.put(tensor, {dim: self.couplings.block(name, dim, size) for dim, size in sizes if size > 1}, active=False)
        return self.labels(tensor)

    def put(self, tensor: Tensor, dims: dict[int, Vector], *, active: bool) -> None:
        """Record the labels of `tensor`."""
        self._table[tensor] = Labels(dims, active)

    def runs(self, kind: type[nn.Module]) -> bool:
        """Whether the module that is running is of a kind."""
        return isinstance(self._modules.get(self.module), kind)

    @property
    def module(self) -> str:
        """Name of the module that is running; empty for the model itself."""
        return self.path[-1] if self.path else ""


def _reshapes_in_place(func: Any) -> bool:
    """Whether an operation such as `squeeze_` gives its operand another shape. The rule of `as_strided_` looks at the result."""
    return torch.Tag.inplace_view in getattr(func, "tags", ()) and func.overloadpacket is not torch.ops.aten.as_strided_
