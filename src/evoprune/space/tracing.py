"""Run a model once and collect the labels of everything it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.space.calling import named_tensors, run_example, tensors_in, undisturbed
from evoprune.space.dispatching import WatchingMode
from evoprune.space.labels import Couplings, Labels, Vector
from evoprune.space.rules import rule_for
from evoprune.space.rules.call import Call


def trace(model: nn.Module, example_inputs: Any) -> Couplings:
    """The couplings of `model` on the path that `example_inputs` take; the model is untouched.

    Raises:
        UnsupportedModelError: The model can't run on these inputs.
    """
    tracer = Tracer(model)
    for tensor in tensors_in(example_inputs):
        tracer.put(tensor, {}, active=True)
    with undisturbed(model), module_path(model, tracer.path), tracer:
        outputs = run_example(model, example_inputs)
    for tensor in tensors_in(outputs):
        for atoms in tracer.labels(tensor).dims.values():
            tracer.couplings.freeze(atoms, "reaches the model's output")
    return tracer.couplings


class Tracer(WatchingMode):
    """Follows every ATen operation and lets its rule label the results."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.couplings = Couplings()
        self.path: list[str] = []
        self._names = {id(tensor): name for name, tensor in named_tensors(model).items()}
        self._table: Any = WeakTensorKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then label its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operands = list(tensors_in((args, kwargs)))
        labels = [self.labels(tensor) for tensor in operands]
        call = Call(self, func, args, kwargs, result, operands, labels)
        rule: Callable[[Call], None] = rule_for(func)
        if any(label.dims for label in labels):
            rule(call)
        for tensor in tensors_in(result):
            if tensor not in self._table:
                self.put(tensor, {}, active=call.active)
        return result

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

    @property
    def module(self) -> str:
        """Name of the module that is running; empty for the model itself."""
        return self.path[-1] if self.path else ""


@contextmanager
def module_path(model: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep in `path` the names of the modules that are running, through global hooks that leave the model's own alone."""
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        if id(module) in names:
            path.append(names[id(module)])

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        if id(module) in names and path:
            path.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
