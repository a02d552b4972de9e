"""Record one pass of a network as a tape of ATen operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.evaluation.replay.tape import Operation, Tape, Value
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.dispatch import WatchingMode
from evoprune.nn_utils.memory import is_out_of_memory
from evoprune.rng import preserved_generators


class NotCapturedError(Exception):
    """The network can't be replayed from a recording; the message says why, in words for the user."""


def capture(model: nn.Module, names: Sequence[str], inputs: Any) -> tuple[Tape, Any]:
    """Record a pass of `model`, in the mode it is in.

    Args:
        model: Network on the device of `inputs`.
        names: Parameters that candidates will replace.
        inputs: One batch, as `call_model` takes it.

    Returns:
        The tape, and the pass's output.

    Raises:
        NotCapturedError: Something in the pass can't be recorded, or is not the same from batch to batch.
    """
    recorder = _Recorder(model, names, inputs)
    versions = {name: version_of(parameter) for name, parameter in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with torch.no_grad(), preserved_generators(), recorder:
            output = call_model(model, inputs)
    except Exception as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise NotCapturedError(f"it does not run under observation: {type(error).__name__}: {error}") from error
    written = [name for name, parameter in model.named_parameters() if version_of(parameter) != versions.get(name)]
    for name, buffer in model.named_buffers():
        if not torch.equal(buffer, buffers[name]):  # kernels of BatchNorm write without counting it as a new version
            written.append(name)
            buffer.data.copy_(buffers[name])
    if written:
        recorder.refuse(f"its pass writes to {written[0]}")
    return recorder.finish(output), output


class _Recorder(WatchingMode):
    """Writes every operation on a tape while it runs, and the first reason why the tape is no good."""

    def __init__(self, model: nn.Module, names: Sequence[str], inputs: Any) -> None:
        super().__init__()
        self._tape = Tape()
        self._reason: str | None = None
        self._values: Any = WeakTensorKeyDictionary()
        self._count = 0
        self._held = {id(tensor): tensor for tensor in _held_by(model)}
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self._tape.chosen = [self._new(parameters[name]) for name in names]
        self._chosen_memory = {_memory(parameters[name]) for name in names}
        leaves = list(tensors_in(inputs))
        self._tape.inputs = [self._new(tensor) for tensor in leaves]
        if len({id(tensor) for tensor in leaves}) < len(leaves):
            self.refuse("one tensor is given as several inputs")
        self._untouchable = {value.storage for value in (*self._tape.chosen, *self._tape.inputs)}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and write it down."""
        kwargs = kwargs or {}
        operands = self._written_as(args), self._written_as(kwargs)
        result = func(*args, **kwargs)
        if self._reason is None:
            self._record(func, args, kwargs, operands, result)
        return result

    def refuse(self, reason: str) -> None:
        """Note why the tape is no good, unless there is a reason already."""
        self._reason = self._reason or reason

    def finish(self, output: Any) -> Tape:
        """The tape with its output.

        Raises:
            NotCapturedError: The tape is no good.
        """
        self._tape.output = map_tensors(output, self._value)
        odd = unfollowed(output)
        if odd is not None:
            self.refuse(f"it returns a {odd.__name__}, where tensors, tuples, lists and dicts are followed")
        if self._reason is not None:
            raise NotCapturedError(self._reason)
        return self._tape

    def _record(self, func: Any, args: Any, kwargs: Any, operands: tuple[Any, Any], result: Any) -> None:
        if not isinstance(func, torch._ops.OpOverload):
            return self.refuse(f"{func} is not an ATen operation")
        given = _given(func, args, kwargs)
        if _DATA_DEPENDENT & set(func.tags):
            return self.refuse(f"{func} gives results, or sizes, that depend on data")
        if torch.Tag.nondeterministic_seeded in func.tags and not _drops_nothing(given):
            return self.refuse(f"{func} gives results that depend on chance")
        written = _written_operands(func, given)
        changed = frozenset(self._value(tensor).storage for tensor in written)
        if changed & self._untouchable:
            return self.refuse(f"{func} writes to an input or to a parameter, a buffer or an attribute of a module")
        sources = {_memory(tensor): self._value(tensor).storage for tensor in tensors_in((args, kwargs))}
        made = self._results(result, sources)
        self._tape.operations.append(Operation(func, operands[0], operands[1], made, changed))
        return None

    def _results(self, result: Any, sources: dict[int, int]) -> Any:
        if isinstance(result, Tensor):
            memory = _memory(result)
            value = self._new(result, sources.get(memory))
            sources[memory] = value.storage
            return value
        if isinstance(result, (tuple, list)):
            return tuple(self._results(item, sources) for item in result)
        return None

    def _written_as(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self._value(tree)
        if isinstance(tree, Mapping):
            return {key: self._written_as(value) for key, value in tree.items()}
        return type(tree)(self._written_as(item) for item in tree) if isinstance(tree, (tuple, list)) else tree

    def _value(self, tensor: Tensor) -> Value:
        known: Value | None = self._values.get(tensor)
        if known is not None:
            return known
        if id(tensor) not in self._held:
            self.refuse("a tensor appears that comes neither from the model nor from an operation on its inputs")
        if _memory(tensor) in self._chosen_memory:
            self.refuse("another tensor shares its memory with the chosen weights")
        value = self._new(tensor)
        self._tape.constants[value] = tensor
        self._untouchable.add(value.storage)
        return value

    def _new(self, tensor: Tensor, storage: int | None = None) -> Value:
        self._count += 1
        form = (tuple(tensor.shape), _strides(tensor), tensor.dtype)
        value = Value(self._count, self._count if storage is None else storage, form)
        self._values[tensor] = value
        return value


_DATA_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def _held_by(model: nn.Module) -> list[Tensor]:
    attributes = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return [*model.parameters(), *model.buffers(), *attributes]


def unfollowed(tree: Any) -> type | None:
    """The type of a part of inputs or outputs that may hold tensors and is not rebuilt as it is."""
    if isinstance(tree, (Tensor, str, int, float, complex, type(None))):
        return None
    if type(tree) is dict:
        return unfollowed(list(tree.values()))
    if type(tree) in {list, tuple} or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return next((odd for odd in map(unfollowed, tree) if odd is not None), None)
    return type(tree)


def _given(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Every argument of a call by name, defaults included."""
    arguments = func._schema.arguments
    defaults = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
    return defaults | dict(zip((argument.name for argument in arguments), args, strict=False)) | kwargs


def _drops_nothing(given: Mapping[str, Any]) -> bool:
    """Whether the one thing about an operation that is random, a dropout on the way, is off."""
    return given.get("train") is False or any(given.get(name) == 0 for name in ("dropout_p", "dropout"))


def _written_operands(func: Any, given: Mapping[str, Any]) -> list[Tensor]:
    marked = [one.name for one in func._schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    return [tensor for name in marked for tensor in tensors_in(given.get(name))]


def _memory(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse and other tensors that have no memory of their own
        return -id(tensor)


def _strides(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.stride()) if tensor.layout == torch.strided else ()


def version_of(tensor: Tensor) -> int | None:
    """How often `tensor` was written to; None for one made in inference mode, which doesn't count."""
    return None if tensor.is_inference() else tensor._version
