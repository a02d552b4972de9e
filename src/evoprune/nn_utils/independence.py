"""A copy must compute with its own tensors: watched while it runs, since code that keeps the original has many forms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import CellType, FrameType, FunctionType
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.data.used_outputs import EVERYTHING, Gather
from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.calling import call_model, in_mode, named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.dispatch import WatchingMode, storage_address
from evoprune.nn_utils.flops import flops_of, is_uncounted
from evoprune.nn_utils.holdings import held_by
from evoprune.nn_utils.keeping import kept_as_it_is

_SHOWN: Final = 3


class Watch(WatchingMode):
    """While active, notes down which tensors and methods of other networks take part, and adds up FLOPs.

    Args:
        originals: Networks that what runs must have nothing to do with.

    Attributes:
        found: Names of what took part of them, in order.
        flops: Sum over all operations.
    """

    def __init__(self, originals: Sequence[nn.Module]) -> None:
        super().__init__()
        self.flops = 0
        self.found: dict[str, None] = {}
        self._tensors: dict[int, str] = {}
        self._modules: dict[int, str] = {}
        for original in originals:
            for address, name in _tensors_of(original):
                self._tensors.setdefault(address, name)
            for module, name in _modules_of(original):
                self._modules.setdefault(id(module), name)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at the operands, run the operation, count its work."""
        kwargs = kwargs or {}
        for tensor in tensors_in((args, kwargs)):
            name = self._tensors.get(storage_address(tensor))
            if name is not None:
                self.found[name] = None
        if is_uncounted(func) and (parts := self.in_parts(func, types, args, kwargs)) is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        self.flops += flops_of(func, args, kwargs, result) or 0
        return result

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Watch calls of methods as well: a layer without tensors computes all the same."""
        before = sys.getprofile()
        if self._modules:
            sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(before)

    def check(self, model: nn.Module) -> None:
        """See that nothing was found.

        Raises:
            UnsupportedModelError: `model`'s copies go on using it; the message names what they use.
        """
        if self.found:
            names = list(self.found)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise UnsupportedModelError(
                f"a copy of the model goes on using {', '.join(names[:_SHOWN])}{more} of the original: {_suspects(model)}",
                "make it a method, or let it find the old forward in a closure or in its module, not by a global name",
            )

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if isinstance(first, nn.Module) and id(first) in self._modules:
                self.found.setdefault(self._modules[id(first)], None)


def check_copies(model: nn.Module, example_inputs: Any) -> None:
    """See that copies of `model` run without it, forward and, where the model can be trained on the inputs, backward.

    Raises:
        UnsupportedModelError: They don't, or the model can't be copied.
    """
    with kept_as_it_is(model):
        check_independent(clone(model), example_inputs, [model])


def check_independent(copied: nn.Module, example_inputs: Any, originals: Sequence[nn.Module]) -> None:
    """See that a copy, of which nobody else has a part, runs without what it was copied from.

    Raises:
        UnsupportedModelError: It doesn't.
    """
    watch = Watch(originals)
    for training in (False, True):
        # A model that can't run is told of where it is needed; here it runs as far as it can.
        with suppress(Exception):
            run_through(copied, example_inputs, watch, training=training)
        watch.check(originals[0])


def run_through(
    model: nn.Module,
    example_inputs: Any,
    watch: Watch | None = None,
    *,
    training: bool = False,
    backward: bool = True,
    gather: Gather = EVERYTHING,
) -> list[Tensor]:
    """Run a copy, in evaluation mode without gradients, or in training with a backward pass.

    Args:
        model: Any module; what it keeps changes.
        example_inputs: Inputs of one forward pass.
        watch: Active meanwhile.
        training: The mode.
        backward: Whether training includes a backward pass.
        gather: Takes the tensors that count from the outputs.

    Returns:
        The output tensors that count, detached.
    """
    backward = backward and training
    if backward:  # inputs made for inference can't be saved for the way back
        example_inputs = map_tensors(example_inputs, Tensor.clone)
    with ExitStack() as stack:
        stack.enter_context(in_mode(model, training=training))
        stack.enter_context(torch.set_grad_enabled(backward))
        # oneDNN's backward passes have ended processes at widths that cuts come to (benchmarks/crashes).
        if backward:
            stack.enter_context(_without_onednn())
        if watch is not None:
            stack.enter_context(watch)
            stack.enter_context(watch.calls())
        outputs = gather(call_model(model, example_inputs))
        totals = [output.abs().sum() for output in outputs if output.requires_grad]
        if backward and totals and not (watch is not None and watch.found):
            torch.autograd.backward(totals)
    return [output.detach() for output in outputs]


@contextmanager
def _without_onednn() -> Iterator[None]:
    # Not torch.backends.mkldnn.flags, which warns of Intel's GPUs in torch 2.13.
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _tensors_of(model: nn.Module) -> Iterator[tuple[int, str]]:
    for name, tensor in named_tensors(model).items():
        yield storage_address(tensor), name
    for value in _copied(model):
        if isinstance(value, Tensor) and storage_address(value):
            yield storage_address(value), "a tensor that the model keeps"


def _modules_of(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for name, module in model.named_modules():
        yield module, name or type(model).__name__
    for value in _copied(model):
        if isinstance(value, nn.Module):
            yield value, type(value).__name__


def _copied(model: nn.Module) -> Iterator[Any]:
    """What a copy has of its own: all that attributes lead to, except by functions, which may share what they close over."""
    stack: list[Any] = [model]
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, (FunctionType, CellType)):
            continue
        seen.add(id(value))
        yield value
        stack.extend(held_by(value))


def _suspects(model: nn.Module) -> str:
    found = [
        f"{path}.forward".lstrip(".") for path, module in model.named_modules() if callable(vars(module).get("forward"))
    ]
    hooked = [path or type(model).__name__ for path, module in model.named_modules() if _has_hooks(module)]
    if found:
        return f"{', '.join(found[:_SHOWN])} was replaced by a function that holds on to it"
    if hooked:
        return f"the hooks of {', '.join(hooked[:_SHOWN])} may hold on to it"
    return "an attribute, or a function by a global name, holds on to it"


def _has_hooks(module: nn.Module) -> bool:
    kinds: tuple[Callable[[nn.Module], Any], ...] = (
        lambda one: one._forward_hooks,
        lambda one: one._forward_pre_hooks,
        lambda one: one._backward_hooks,
        lambda one: one._backward_pre_hooks,
    )
    return any(read(module) for read in kinds)
