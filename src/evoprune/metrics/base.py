"""What a metric is, and what tables and searches have to know of it."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.metrics.outputs import kind_of
from evoprune.results import MetricCard

SampleMetric = Callable[[Any, Any], Any]
"""`metric(outputs, targets)` -> one value per sample (or position), or their mean."""

_LOWER: Final = re.compile(
    r"(?:^|_)(?:r?mse|r?msle|mae|mape|wer|cer|fid|nll|[a-z]*loss|errors?|distance|perplexity|entropy)(?:$|_)"
)
_TURNED: Final = re.compile(r"(?:^|_)(?:neg|negative|negated|minus|inverse)(?:$|_)")


@runtime_checkable
class SetMetric(Protocol):
    """A number about a whole set that is no mean over its samples: macro F1, mean IoU, AUC, mAP, R².

    It is torchmetrics' protocol, and its metrics work unchanged. Every scoring works on a deep copy that was `reset`, so it must
    be possible to copy the object by `copy.deepcopy`, and to pickle it where candidates go to other processes. The copy is moved
    by its `to`, if it has one, to where the outputs are.
    """

    def update(self, outputs: Any, targets: Any) -> None:
        """Take in a batch of any size; how a set is cut into batches must not matter."""

    def compute(self) -> Any:
        """One number about all that was taken in: a float, or a tensor of one value."""

    def reset(self) -> None:
        """Forget everything."""


class OfOneBatch:
    """What a `SetMetric` may inherit from: called, it is the metric of a single batch, as torchmetrics' are."""

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """The metric of these outputs and targets alone; what was taken in before stays as it is."""
        own: Any = copy.deepcopy(self)
        own.reset()
        own.update(outputs, targets)
        return own.compute()


Metric = SampleMetric | SetMetric


@dataclass(frozen=True)
class PerSample:
    """A function of outputs and targets with a name, a unit and a direction.

    Attributes:
        function: Returns one value per sample, or their mean. It has to stand at the top level of a module
            where candidates go to other processes.
        name: Name in tables and plots.
        unit: Unit of the values, as in `MetricCard`.
        maximize: Whether higher is better.
        bounds: Lowest and highest value that there can be.
    """

    function: SampleMetric
    name: str
    unit: str = ""
    maximize: bool = True
    bounds: tuple[float, float] = (-inf, inf)

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """What the function gives."""
        return self.function(outputs, targets)


def card_of(metric: Metric) -> MetricCard:
    """What is known of a metric: from its attributes `name`, `unit`, `maximize` (or `higher_is_better`) and `bounds`.

    Without them the name is that of the function or class, there is no unit, and higher is better.

    Raises:
        DataError: It can't be told whether higher is better.
    """
    name = getattr(metric, "name", None)
    return MetricCard(
        name=name if isinstance(name, str) and name else _name(metric),
        unit=str(getattr(metric, "unit", "")),
        maximize=_maximize(metric),
        bounds=getattr(metric, "bounds", (-inf, inf)),
    )


def _name(metric: Any) -> str:
    while isinstance(metric, functools.partial):
        metric = metric.func
    name = getattr(metric, "__name__", type(metric).__name__)
    return "metric" if name in ("<lambda>", "function") else str(name)


def _maximize(metric: Any) -> bool:
    for attribute in ("maximize", "higher_is_better"):
        value = getattr(metric, attribute, None)
        if isinstance(value, bool):
            return value
    if hasattr(metric, "higher_is_better"):
        raise direction_unknown(_name(metric))
    return not is_torch_loss(metric)


def direction_unknown(name: str) -> DataError:
    """What to raise where it can't be told which way a metric is better."""
    return DataError(
        f"metric {name}: it can't be told whether higher is better",
        "set its attribute maximize to True or False before it goes into the Task",
    )


def seems_lower_is_better(metric: Metric, value: float) -> bool:
    """Whether a function that doesn't say which way it is better is called like an error or a loss, and gives positive values."""
    if isinstance(getattr(metric, "maximize", None), bool) or isinstance(
        getattr(metric, "higher_is_better", None), bool
    ):
        return False
    name = _name(metric).lower()
    return value > 0 and not is_torch_loss(metric) and bool(_LOWER.search(name)) and not _TURNED.search(name)


def is_torch_loss(metric: Any) -> bool:
    """Whether a loss of torch's own is used as a metric, bound arguments or not."""
    while isinstance(metric, functools.partial):
        metric = metric.func
    if isinstance(metric, nn.modules.loss._Loss):
        return True
    name = getattr(metric, "__name__", "")
    return ("loss" in name or "entropy" in name) and getattr(functional, name, None) is metric


def number_of(value: Any, what: str) -> float:
    """One number.

    Args:
        value: Value that a metric returned.
        what: Describes the metric in the message.

    Raises:
        DataError: It is something else.
    """
    try:
        if isinstance(value, Tensor) and value.numel() != 1:
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{what} gave {kind_of(value)}", "it must give one number: choose one of several, or average them"
        ) from None
