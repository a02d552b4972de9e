"""What `model.json` says of a network for whoever uses it: inputs, preprocessing, classes, the licence of the data."""

from __future__ import annotations

from typing import Any

from torch import nn

from evoprune.data.task import Task
from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.flat import input_names


def described(model: nn.Module, task: Task, example_inputs: Any) -> dict[str, Any]:
    """The entries, as JSON values; those of which nothing is known are null or empty."""
    return {
        "network": type(model).__name__,
        "inputs": [] if example_inputs is None else _inputs(model, example_inputs),
        "preprocessing": _preprocessing(task),
        "class_names": list(task.class_names),
        "data_licence": task.data_licence or None,
    }


def _inputs(model: nn.Module, example_inputs: Any) -> list[dict[str, Any]]:
    call = arguments_of(model, example_inputs)
    pairs = zip(input_names(model, call), tensors_in(call), strict=True)
    return [
        {"name": name, "shape": list(one.shape), "dtype": str(one.dtype).removeprefix("torch.")} for name, one in pairs
    ]


def _preprocessing(task: Task) -> dict[str, list[float]] | None:
    known = getattr(task.train, "preprocessing", None)
    return None if known is None else {"mean": list(known.mean), "std": list(known.std)}
