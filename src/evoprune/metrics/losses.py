"""The one place where losses are called: what they may return, and what is said when they can't be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.metrics.outputs import class_out_of_range, ignored_by, kind_of, logits_of

Loss = Callable[[Any, Any], Tensor]
"""`loss(outputs, targets)` -> the mean over the batch, a scalar tensor."""


def loss_value(loss: Loss, outputs: Any, targets: Any) -> Tensor:
    """The loss of a batch as a scalar.

    Torch's cross entropy, the default, is given the `logits` of outputs that have some. A loss without reduction counts as its
    mean over all values that it gives.

    Raises:
        DataError: It gives something else than a tensor, or a class index is out of range.
    """
    if loss is functional.cross_entropy:
        outputs = logits_of(outputs)
    try:
        value: Any = loss(outputs, targets)
    except (IndexError, RuntimeError) as error:
        told = _explanation(error, loss, outputs, targets)
        if told is None:
            raise
        raise told from error
    if not isinstance(value, Tensor):
        raise DataError(
            f"the loss gave {kind_of(value)}",
            "it must give a scalar tensor; add up the parts of a loss that has several",
        )
    return value if value.dim() == 0 else value.mean()


def as_given(loss: Loss) -> Loss:
    """A copy of a loss that is a module, so that what it counts in buffers and attributes begins anew; any other as it is.

    Parameters, such as a teacher's, are shared: nothing trains them.
    """
    if not isinstance(loss, nn.Module):
        return loss
    shared: dict[int, Any] = {id(parameter): parameter for parameter in loss.parameters()}
    try:
        return copy.deepcopy(loss, shared)
    except Exception:  # it holds an open file, a lock, a tensor inside a graph
        return loss


def _explanation(error: Exception, loss: Loss, outputs: Any, targets: Any) -> DataError | None:
    """What the targets explain of an error from inside a loss; None when they don't."""
    if "device-side assert" in str(error):
        return DataError(
            "the loss failed on the device, most often because a class index among the targets is out of range",
            "look at the targets; execution.device: cpu names the index",
        )
    wrong = class_out_of_range(logits_of(outputs), targets, ignored_by(loss))
    if not wrong and isinstance(error, IndexError):
        wrong = f"the loss failed on a batch: {error}"
    return DataError(wrong, "correct the targets or the network's last layer") if wrong else None
