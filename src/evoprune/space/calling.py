"""Run a model on example inputs without leaving a trace in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from evoprune.errors import UnsupportedModelError


def call_model(model: nn.Module, example_inputs: Any) -> Any:
    """Call `model` with a tensor, a tuple or list of positional arguments, or a dict of keyword arguments."""
    if isinstance(example_inputs, Mapping):
        return model(**example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return model(*example_inputs)
    return model(example_inputs)


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, dataclasses and plain objects, in a stable order, repeats included."""
    seen: set[int] = set()

    def walk(node: Any) -> Iterator[Tensor]:
        if isinstance(node, Tensor):
            yield node
        elif node is not None and not isinstance(node, (str, bytes, int, float, nn.Module)) and id(node) not in seen:
            seen.add(id(node))
            for child in _children(node):
                yield from walk(child)

    yield from walk(tree)


def map_tensors(tree: Any, change: Callable[[Tensor], Any]) -> Any:
    """`tree` with every tensor in its dicts, lists and tuples changed; other values as they are."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, change) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(value, change) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tensors(value, change) for value in tree)
    return tree


def batch_size(example_inputs: Any) -> int:
    """Size of the first dimension of the first input tensor that has one; 1 without any."""
    for tensor in tensors_in(example_inputs):
        if tensor.dim() > 0:
            return max(1, tensor.shape[0])
    return 1


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a shared one once, under its first name."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, plain attention; afterwards the model and all generators are as before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, _version(buffer), buffer.detach().clone()) for buffer in model.buffers()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(preserved_generators())
        stack.enter_context(torch.no_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, mode in modes:
                module.training = mode
            for buffer, version, saved in buffers:
                if not torch.equal(buffer, saved) if version is None else _version(buffer) != version:
                    buffer.copy_(saved)


def _version(tensor: Tensor) -> int | None:
    """How often `tensor` was written to; None for one made under `torch.inference_mode`, which doesn't count."""
    return None if tensor.is_inference() else tensor._version


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put the states of all global random generators back on leaving."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


def run_example(model: nn.Module, example_inputs: Any) -> Any:
    """`call_model` that turns the model's own failure into a user's error.

    Raises:
        UnsupportedModelError: The model can't run on these inputs.
    """
    try:
        return call_model(model, example_inputs)
    except Exception as error:
        raise UnsupportedModelError(
            f"{type(model).__name__} can't run on the example inputs: {type(error).__name__}: {error}",
            "give the inputs as the model takes them: a tensor, a tuple of arguments, or a dict of keyword arguments",
        ) from error


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        yield from node.values()
    elif isinstance(node, (list, tuple, set, frozenset)):
        yield from node
    elif is_dataclass(node) and not isinstance(node, type):
        yield from (getattr(node, field.name) for field in fields(node))
    elif hasattr(node, "__dict__") and not isinstance(node, type):
        yield from vars(node).values()
