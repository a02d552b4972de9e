"""Right or wrong: classes, yes or no, and several labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.metrics.outputs import IGNORED, are_classes, class_out_of_range, ignored_by, kind_of, logits_of

_ON_PROBABILITIES: Final = (functional.binary_cross_entropy,)


class _Share:
    """A share of right answers, 0 to 1."""

    unit: ClassVar[str] = "%"
    maximize: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)


@dataclass(frozen=True)
class Accuracy(_Share):
    """Top-1: argmax over dimension 1 against class indices.

    Attributes:
        ignore_index: Targets that don't count. In a `Task` with a loss that has an `ignore_index`, that one.
    """

    ignore_index: int | None = None
    name: ClassVar[str] = "accuracy"

    def for_loss(self, loss: Any) -> Accuracy:
        """The metric that leaves out what the loss leaves out."""
        own = self.ignore_index is not None or ignored_by(loss) == IGNORED
        return self if own else replace(self, ignore_index=ignored_by(loss))

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Correctness of each sample or position that counts.

        Args:
            outputs: Logits [n, classes, ...], or something that has them as `logits`.
            targets: [n, ...] integers.

        Returns:
            [n, ...] bool; flat, without them, where some positions don't count.

        Raises:
            DataError: Outputs or targets are of another kind or shape, or a class is out of range.
        """
        logits, ignored = class_logits(outputs, targets, self.name, self.ignore_index)
        indices = targets.long()
        right: Tensor
        right, counts = logits.argmax(dim=1) == indices, indices != ignored
        return right if bool(counts.all()) else right[counts]


def class_logits(outputs: Any, targets: Any, name: str, ignore_index: int | None) -> tuple[Tensor, int]:
    """The logits [n, classes, ...] that class indices [n, ...] belong to, and the index that doesn't count.

    Raises:
        DataError: They don't belong together; the hint says which metric would fit.
    """
    logits, ignored = logits_of(outputs), IGNORED if ignore_index is None else ignore_index
    fits = (
        isinstance(logits, Tensor)
        and logits.dim() > 1
        and logits.shape[1] > 1
        and are_classes(targets)
        and targets.shape == logits.shape[:1] + logits.shape[2:]
    )
    if not fits:
        raise DataError(
            f"the metric {name} compares argmax over dimension 1 with class indices, and does not fit outputs, "
            f"{kind_of(logits)}, with targets, {kind_of(targets)}",
            suggestion(logits, targets),
        )
    wrong = class_out_of_range(logits, targets, ignored)
    if wrong:
        raise DataError(wrong, "correct the targets or the network's last layer; leave out targets with ignore_index")
    return logits, ignored


def suggestion(outputs: Any, targets: Any) -> str:
    """Which metric may fit outputs and targets, for a message."""
    own = "pass metric= a function of your own: metric(outputs, targets) -> a value per sample"
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or targets.numel() == 0:
        return own
    if _alike(outputs, targets):
        if bool(((targets == 0) | (targets == 1)).all()):
            several = targets.dim() > 1 and targets.shape[1] > 1
            return f"pass metric={'multilabel_accuracy' if several else 'binary_accuracy'!r}, or one of your own"
        if targets.is_floating_point():
            return "pass metric='r2' or 'mean_squared_error' where these are numbers to be met, or one of your own"
    elif targets.is_floating_point() and targets.shape == outputs.shape[:1] + outputs.shape[2:]:
        return "turn class indices into integers with .long(), or pass metric= one of your own"
    return own


def _alike(outputs: Tensor, targets: Tensor) -> bool:
    return _flat(outputs.shape) == _flat(targets.shape)


def _flat(shape: torch.Size) -> tuple[int, ...]:
    """A shape in which [n, 1] is [n]."""
    return tuple(shape[:1]) if len(shape) == 2 and shape[1] == 1 else tuple(shape)


def paired(outputs: Any, targets: Any, name: str) -> tuple[Tensor, Tensor]:
    """Outputs and targets of one shape, in which [n, 1] is [n]; never broadcast.

    Raises:
        DataError: They are of other shapes, or no tensors.
    """
    outputs = logits_of(outputs)
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or not _alike(outputs, targets):
        raise DataError(
            f"the metric {name} takes outputs and targets of one shape, not {kind_of(outputs)} and {kind_of(targets)}",
            suggestion(outputs, targets)
            if not are_classes(targets)
            else "pass metric='accuracy' for class indices, or one of your own",
        )
    shape = _flat(outputs.shape)
    return outputs.reshape(shape), targets.reshape(shape)


@dataclass(frozen=True)
class BinaryAccuracy(_Share):
    """Yes or no, for each output on its own.

    Attributes:
        threshold: Outputs above it say yes; 0 for logits, 0.5 for probabilities. None: 0.5 in a `Task` whose loss is torch's
            binary cross entropy of probabilities, else 0.
    """

    threshold: float | None = None
    name: ClassVar[str] = "binary accuracy"

    def for_loss(self, loss: Any) -> BinaryAccuracy:
        """The metric for the outputs that the loss takes."""
        probabilities = loss in _ON_PROBABILITIES or isinstance(loss, nn.BCELoss)
        return replace(self, threshold=0.5) if self.threshold is None and probabilities else self

    def check(self, outputs: Any, targets: Any) -> None:
        """See that the threshold suits the outputs.

        Raises:
            DataError: They look like probabilities and are taken for logits.
        """
        values, _ = paired(outputs, targets, self.name)
        if self.threshold is None and values.numel() > 1 and bool(((values >= 0) & (values <= 1)).all()):
            raise DataError(
                f"the metric {self.name} takes logits, and all outputs are between 0 and 1, as probabilities are",
                f"pass metric=evoprune.metrics.{type(self).__name__}(threshold=0.5), or 0.0 if they are logits",
            )

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Correctness of each answer.

        Args:
            outputs: [n], [n, 1] or [n, ...], or something that has them as `logits`.
            targets: One target for each output, 0 or 1; above 0.5 is yes where they are softened.

        Returns:
            [n] or [n, ...] bool.

        Raises:
            DataError: The shapes differ, or a target is below 0 or above 1.
        """
        values, wanted = paired(outputs, targets, self.name)
        if not bool(((wanted >= 0) & (wanted <= 1)).all()):
            raise DataError(f"the metric {self.name} takes targets of 0 and 1", "pass a metric that fits the targets")
        return (values > (self.threshold or 0.0)) == (wanted > 0.5)


@dataclass(frozen=True)
class MultilabelAccuracy(BinaryAccuracy):
    """Share of right labels in each sample, every label a yes or no of its own."""

    name: ClassVar[str] = "multilabel accuracy"

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """[n] shares of 0 to 1, from outputs and targets [n, labels, ...]."""
        right = super().__call__(outputs, targets)
        return right.double().flatten(1).mean(dim=1) if right.dim() > 1 else right
