"""Run a model once and collect the labels of everything it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.space.attributes import HEAD_COUNTS, HEAD_SIZES
from evoprune.space.calling import named_tensors, run_example, tensors_in, undisturbed
from evoprune.space.dispatching import WatchingMode
from evoprune.space.eager import freeze_scripted, require_eager
from evoprune.space.idle import list_idle
from evoprune.space.labels import Couplings, Labels, Vector
from evoprune.space.recording import Recorder
from evoprune.space.rules import rule_for
from evoprune.space.rules.call import Call
from evoprune.space.rules.modules import ModuleRule, module_rule


def trace(model: nn.Module, example_inputs: Any, readings: Mapping[str, int]) -> Couplings:
    """The couplings of `model` on the path that `example_inputs` take; the model is untouched.

    Args:
        model: Any eager module.
        example_inputs: A tensor, a tuple or list of arguments, or a dict of keyword arguments.
        readings: `{module: which dimension of a split may be cut}`, from the end; -1 where nothing is said.

    Raises:
        UnsupportedModelError: The model is not eager, or can't run on these inputs.
    """
    require_eager(model)
    tracer = Tracer(model, readings)
    for tensor in tensors_in(example_inputs):
        tracer.put(tensor, {}, active=True)
    with undisturbed(model), module_path(model, tracer.path, tracer.ran), whole_modules(model, tracer), tracer:
        outputs = run_example(model, example_inputs)
    list_idle(model, tracer.ran, tracer.knows, tracer.couplings)
    freeze_scripted(model, tracer.couplings)
    for tensor in tensors_in(outputs):
        tracer.check_taint(tensor)
        for atoms in tracer.labels(tensor).dims.values():
            tracer.couplings.freeze(atoms, "reaches the model's output")
    return tracer.couplings


class Tracer(WatchingMode):
    """Follows every ATen operation and lets its rule label the results."""

    def __init__(self, model: nn.Module, readings: Mapping[str, int]) -> None:
        super().__init__()
        self.couplings = Couplings()
        self.readings = readings
        self.path: list[str] = []
        self.ran: set[str] = set()
        self._modules = dict(model.named_modules())
        self._names = {id(tensor): name for name, tensor in named_tensors(model).items()}
        self._table: Any = WeakTensorKeyDictionary()
        self._taints: Any = WeakTensorKeyDictionary()
        self._paused = False
        self.recorder = Recorder(self)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then label its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.recorder.see(func, args, kwargs, result, paused=self._paused)
        if not self._paused:
            self.follow(func, rule_for(func), args, kwargs, result)
        return result

    def follow(
        self, func: Any, rule: Callable[[Call], None], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Let `rule` label the results of a call if any operand has a label."""
        operands = list(tensors_in((args, kwargs)))
        labels = [self.labels(tensor) for tensor in operands]
        for tensor in operands:
            self.check_taint(tensor)
        call = Call(self, func, args, kwargs, result, operands, labels)
        if isinstance(func, str) or any(label.dims for label in labels):
            rule(call)
        for tensor in tensors_in(result):
            if tensor not in self._table:
                self.put(tensor, {}, active=call.active)

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
        values = vars(self._modules[self.module]) if self.module in self._modules else {}
        heads = any(values.get(name) == sizes[-2] for name in HEAD_COUNTS)
        return -2 if heads or any(values.get(name) == sizes[-1] for name in HEAD_SIZES) else -1

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

    @property
    def module(self) -> str:
        """Name of the module that is running; empty for the model itself."""
        return self.path[-1] if self.path else ""


@contextmanager
def whole_modules(model: nn.Module, tracer: Tracer) -> Iterator[None]:
    """Have the modules with a rule of their own run as one operation, for as long as this lasts."""
    changed: list[tuple[nn.Module, bool, Any]] = []
    try:
        for module in model.modules():
            rule = module_rule(module)
            if rule is not None:
                changed.append((module, "forward" in vars(module), module.forward))
                vars(module)["forward"] = _whole(tracer, module, rule)
        yield
    finally:
        for module, own, forward in changed:
            if own:
                vars(module)["forward"] = forward
            else:
                vars(module).pop("forward", None)


def _whole(tracer: Tracer, module: nn.Module, rule: ModuleRule) -> Callable[..., Any]:
    forward = module.forward
    return lambda *args, **kwargs: tracer.run_whole(module, rule, forward, args, kwargs)


@contextmanager
def module_path(model: nn.Module, path: list[str], ran: set[str]) -> Iterator[None]:
    """Keep in `path` the names of the modules that are running, and in `ran` those that have run.

    Global hooks do it, so that the model's own hooks are left alone.
    """
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        if id(module) in names:
            path.append(names[id(module)])
            ran.add(names[id(module)])

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        if id(module) in names and path:
            path.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
