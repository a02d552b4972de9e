"""What `model.json` says of a network for whoever uses it: inputs, preprocessing, classes, the licence of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.data.trees import tensors_in
from evoprune.errors import EvopruneError
from evoprune.nn_utils.calling import arguments_of, run_example, undisturbed
from evoprune.nn_utils.flat import input_names

_MOST_ELEMENTS: Final = 100_000_000
"""Of an example; a description may come from anyone."""


def described(model: nn.Module, task: Task, example_inputs: Any) -> dict[str, Any]:
    """The entries, as JSON values; those of which nothing is known are null or empty."""
    return {
        "network": type(model).__name__,
        "inputs": [] if example_inputs is None else _inputs(model, example_inputs),
        "preprocessing": _preprocessing(task),
        "class_names": list(task.class_names),
        "data_licence": task.data_licence or None,
    }


def described_inputs(model: nn.Module, document: Mapping[str, Any]) -> Any:
    """Inputs of one forward pass as `model.json` describes them, noise for floats; None where that makes none that run.

    Args:
        model: The network of the artifact.
        document: What is in `model.json`.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        inputs = {str(one["name"]): _example(one, generator) for one in document["inputs"]}
        with undisturbed(model):
            run_example(model, inputs)
    except (EvopruneError, LookupError, TypeError, ValueError, AttributeError, RuntimeError):
        return None
    return inputs


def _example(entry: Mapping[str, Any], generator: torch.Generator) -> Tensor:
    dtype, shape = getattr(torch, entry["dtype"]), entry["shape"]
    if not isinstance(dtype, torch.dtype) or math.prod(shape) > _MOST_ELEMENTS:
        raise ValueError(f"there is no example of {entry!r:.80}")
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=generator).to(dtype)


def _inputs(model: nn.Module, example_inputs: Any) -> list[dict[str, Any]]:
    call = arguments_of(model, example_inputs)
    pairs = zip(input_names(model, call), tensors_in(call), strict=True)
    return [
        {"name": name, "shape": list(one.shape), "dtype": str(one.dtype).removeprefix("torch.")} for name, one in pairs
    ]


def _preprocessing(task: Task) -> dict[str, list[float]] | None:
    known = getattr(task.train, "preprocessing", None)
    return None if known is None else {"mean": list(known.mean), "std": list(known.std)}
