"""Run a model on example inputs without leaving a trace in it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.flex_attention import uncompiled_flex_attention
from evoprune.nn_utils.keeping import Snapshot, kept_as_it_is
from evoprune.rng import preserved_generators

Call = tuple[tuple[Any, ...], dict[str, Any]]


def call_model(model: nn.Module, inputs: Any) -> Any:
    """Call `model` with example inputs, or with the inputs of a batch, as `arguments_of` lays them out."""
    arguments, keywords = arguments_of(model, inputs)
    return model(*arguments, **keywords)


def arguments_of(model: nn.Module, inputs: Any) -> Call:
    """The arguments that inputs stand for.

    A mapping holds keyword arguments, of which `labels` are left out where the model takes none; a tuple or list holds positional
    ones. Where `forward` can't take them so but takes one argument, and for everything else, the inputs are that argument.
    """
    single: Call = ((inputs,), {})
    if isinstance(inputs, Mapping):
        keywords = dict(inputs)
        bare = {name: value for name, value in keywords.items() if name != "labels"}
        return _first_that_fits(model, ((), keywords), ((), bare), single)
    if isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence):
        return _first_that_fits(model, (tuple(inputs), {}), single)
    return single


def _first_that_fits(model: nn.Module, *calls: Call) -> Call:
    """The first call that the model's signature allows; the first of all where none is, for its error says what is missing."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):
        return calls[0]
    return next((call for call in calls if _fits(signature, call)), calls[0])


def _fits(signature: inspect.Signature, call: Call) -> bool:
    try:
        signature.bind(*call[0], **call[1])
    except TypeError:
        return False
    return True


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a shared one once, under its first name."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


@contextmanager
def undisturbed(model: nn.Module, *, training: bool = False) -> Iterator[Snapshot]:
    """Evaluation mode, no gradients, plain attention; afterwards the model and all generators are as before.

    Args:
        model: Any module.
        training: Training mode instead.
    """
    with in_mode(model, training=training), torch.no_grad(), kept_as_it_is(model) as snapshot:
        yield snapshot


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """One mode for all modules, and plain attention; afterwards their modes and all generators are as before."""
    # TorchScript that was frozen has no mode.
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with preserved_generators(), sdpa_kernel(SDPBackend.MATH), uncompiled_flex_attention():
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for module, _ in modes:
                module.training = training
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, mode in modes:
                module.training = mode


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
