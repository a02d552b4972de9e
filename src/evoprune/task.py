"""What a model is for: the data it learns from, is selected by and is judged by, a loss and a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from evoprune.errors import DataError
from evoprune.sources.base import Batch, Source
from evoprune.sources.loaders import LoaderSource, samples_of
from evoprune.sources.tensors import TensorSource

Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Any, Any], Tensor]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Top-1 correctness of each sample: outputs [n, classes, ...], targets [n, ...] -> [n, ...] bool."""
    return outputs.argmax(dim=1) == targets


@dataclass(frozen=True)
class Task:
    """The job of a model. The three sets must not overlap: evolution looks at `select` only, `test` is read once at the end.

    Attributes:
        train: What fine-tuning and retraining learn from: a `DataLoader`, another re-iterable of batches, or a `Source`.
        select: What candidates are scored on.
        test: What finished models are judged by.
        loss: `loss(outputs, targets)` -> scalar tensor, the mean over the batch.
        metric: `metric(outputs, targets)` -> one value per sample, or their mean as a scalar; higher is better.
        class_names: For reports.

    Raises:
        DataError: A set is empty, can be read only once, shares samples with another, or train and select can't be joined.
    """

    train: Source
    select: Source
    test: Source
    loss: Loss = functional.cross_entropy
    metric: Metric = accuracy
    class_names: Sequence[str] = ()

    def __init__(
        self,
        train: Source | Iterable[Batch],
        select: Source | Iterable[Batch],
        test: Source | Iterable[Batch],
        loss: Loss = functional.cross_entropy,
        metric: Metric = accuracy,
        class_names: Sequence[str] = (),
    ) -> None:
        given = {"train": train, "select": select, "test": test}
        sources = {name: as_source(data, name) for name, data in given.items()}
        _check_disjoint(sources)
        # The final training needs them as one; better to hear now that they can't be than after the search.
        sources["train"].head(1).joined(sources["select"].head(1))
        for name, value in {**sources, "loss": loss, "metric": metric, "class_names": tuple(class_names)}.items():
            object.__setattr__(self, name, value)


def as_source(data: Source | Iterable[Batch], name: str) -> Source:
    """Whatever the user gave as a set, as a `Source`; `name` is for the error message."""
    source = data if isinstance(data, Source) else _loader_source(data, name)
    if len(source) == 0:
        raise DataError(f"the {name} set is empty")
    return source


def _loader_source(data: Iterable[Batch], name: str) -> LoaderSource:
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, Tensor)):
        raise DataError(f"the {name} set must be an iterable of (inputs, targets) batches, not {type(data).__name__}")
    if isinstance(data, Iterator):
        raise DataError(
            f"the {name} set can be read only once", "give a DataLoader or a list of batches, not an iterator"
        )
    return LoaderSource((data,))


def _check_disjoint(sources: dict[str, Source]) -> None:
    names = list(sources)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if _overlap(sources[first], sources[second]):
                raise DataError(
                    f"the {first} and {second} sets share samples", "cut the select set from train, never from test"
                )


def _overlap(first: Source, second: Source) -> bool:
    if isinstance(first, TensorSource) and isinstance(second, TensorSource):
        return first.shares_samples_with(second)
    if isinstance(first, LoaderSource) and isinstance(second, LoaderSource):
        return any(_loaders_overlap(one, other) for one in first.loaders for other in second.loaders)
    return first is second


def _loaders_overlap(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    if first is second:
        return True
    (one, rows), (other, other_rows) = samples_of(first), samples_of(second)
    same = one is not None and one is other
    return same and (rows is None or other_rows is None or not rows.isdisjoint(other_rows))
