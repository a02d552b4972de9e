"""What a network returns, as losses and metrics of classes need it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

IGNORED: Final = -100
"""Targets that count neither in torch's cross entropy nor here, unless the loss says otherwise."""


def logits_of(outputs: Any) -> Any:
    """The `logits` of outputs that are a mapping or an object with some, as Hugging Face's models return; else the outputs."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        return outputs.get("logits", outputs)
    return getattr(outputs, "logits", outputs)


def ignored_by(loss: Any) -> int:
    """The target that a loss leaves out: its `ignore_index`, or torch's own default."""
    index = getattr(loss, "ignore_index", None)
    while index is None and isinstance(loss, functools.partial):
        index, loss = loss.keywords.get("ignore_index"), loss.func
    return index if isinstance(index, int) else IGNORED


def kind_of(value: Any) -> str:
    """A value in a few words, for messages: its kind, and its shape or keys."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(str, value))}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


def are_classes(targets: Any) -> bool:
    """Whether targets are integers."""
    return isinstance(targets, Tensor) and not targets.is_floating_point() and not targets.is_complex()


def class_out_of_range(outputs: Any, targets: Any, ignored: int = IGNORED) -> str:
    """What is wrong with class indices [n, ...] for logits [n, classes, ...]; empty when nothing is, or when they are none."""
    if not isinstance(outputs, Tensor) or outputs.dim() < 2 or not are_classes(targets) or targets.numel() == 0:
        return ""
    if targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        return ""
    indices, classes = targets.long(), outputs.shape[1]
    wrong = ((indices < 0) | (indices >= classes)) & (indices != ignored)
    if not bool(wrong.any()):
        return ""
    return f"class index {int(indices[wrong][0])} among the targets; the network has {classes} outputs, for 0 to {classes - 1}"
