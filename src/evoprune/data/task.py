"""What a model is for: the data it learns from, is selected by and is judged by, a loss and a metric."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset

from evoprune.data.base import Pair, Source
from evoprune.data.loaders import LoaderSource
from evoprune.data.overlap import overlap
from evoprune.data.own_training import TrainFn
from evoprune.data.used_outputs import EVERYTHING, Outputs, UsedOutputs
from evoprune.errors import DataError
from evoprune.metrics import accuracy
from evoprune.metrics.base import Metric, SetMetric, card_of
from evoprune.metrics.losses import Loss
from evoprune.metrics.outputs import kind_of
from evoprune.plugins import resolve
from evoprune.results import MetricCard


@dataclass(frozen=True, repr=False)
class Task:
    """The job of a model. The three sets must not overlap: evolution looks at `val` only, `test` is read once at the end.

    Attributes:
        train: Data that fine-tuning and retraining learn from: a `DataLoader`, a `Dataset`, other batches, or a `Source`.
            Batches are pairs (inputs, targets), or dicts with `labels`, which are all of the inputs and the targets as well.
        val: Data that candidates are scored on: the validation set, which evolution selects by. In tables and settings it goes by
            the name of select.
        test: Data that finished models are judged by.
        loss: `loss(outputs, targets)` -> scalar tensor, the mean over the batch; of one without reduction the mean is taken.
        metric: `metric(outputs, targets)` -> one value per sample, or their mean as a scalar, higher is better; the name of a
            ready-made one of `evoprune.metrics`, or one with a name, unit and direction of its own; or an object with `update`,
            `compute` and `reset`, such as torchmetrics' metrics. Top-1 accuracy when left out, for integer targets.
        class_names: Names of the classes, for reports.
        outputs: What loss and metric read of the outputs, as for `evoprune.analyze`; everything when None. The rest may change.
        data_licence: Licence of the data, for the model card; empty where nobody says.
        train_fn: `train_fn(model, budget)`, a training of your own (a Trainer, a loop) that is used instead of ours, see
            `TrainingBudget`. It trains the model in place, or returns the trained one. For channels, not for weight masks.

    Args:
        batch_dim: Dimension of the samples in the inputs, such as 1 for [time, batch, features]. Needed only for sets that are no
            `DataLoader` with a batch size, and where the shapes of inputs and targets don't tell.
        select: The old name of `val`, accepted until 1.0.

    Raises:
        DataError: A set is empty or drops all it has, can be read only once, shares samples with another, or train and val
            can't be joined; or it can't be told which way the metric is better.
        ConfigError: There is no metric of that name.
        UsageError: `outputs` says nothing that could be a part of them.
    """

    train: Source
    val: Source
    test: Source
    loss: Loss = functional.cross_entropy
    metric: Metric = accuracy
    class_names: Sequence[str] = ()
    outputs: UsedOutputs = EVERYTHING
    data_licence: str = ""
    train_fn: TrainFn | None = None

    def __init__(
        self,
        train: Source | Iterable[Pair] | Dataset[Any],
        val: Source | Iterable[Pair] | Dataset[Any] | None = None,
        test: Source | Iterable[Pair] | Dataset[Any] | None = None,
        loss: Loss = functional.cross_entropy,
        metric: Metric | str = accuracy,
        class_names: Sequence[str] = (),
        batch_dim: int | None = None,
        *,
        select: Source | Iterable[Pair] | Dataset[Any] | None = None,
        outputs: Outputs = None,
        data_licence: str = "",
        train_fn: TrainFn | None = None,
    ) -> None:
        given = {"train": train, "val": _one_of(val, select), "test": test}
        sources = {name: as_source(data, name, batch_dim) for name, data in given.items()}
        _check_trainable(sources["train"])
        _check_disjoint(sources)
        # The final training needs them as one; better to hear now that they can't be than after the search.
        sources["train"].head(1).joined(sources["val"].head(1))
        judged_by = _metric(metric, loss)
        own = {
            "loss": loss,
            "metric": judged_by,
            "class_names": tuple(class_names),
            "outputs": UsedOutputs.of(outputs),
            "data_licence": data_licence,
            "train_fn": _callable(train_fn),
        }
        for name, value in {**sources, **own}.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(getattr(self, name)):,}" for name in ("train", "val", "test"))
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        own = "" if self.train_fn is None else "; a training of its own"
        return f"<task: {sizes} samples; loss {loss}; metric {self.card.name}{own}>"

    def close(self) -> None:
        """Stop the worker processes that loaders keep between passes; they start again when needed."""
        for source in (self.train, self.val, self.test):
            if isinstance(source, LoaderSource):
                source.close()

    def with_outputs(self, outputs: Outputs) -> Task:
        """The same task, with other outputs that its loss and metric read."""
        twin = copy.copy(self)
        object.__setattr__(twin, "outputs", UsedOutputs.of(outputs))
        return twin

    @property
    def select(self) -> Source:
        """The old name of `val`."""
        return self.val

    @property
    def card(self) -> MetricCard:
        """What the metric is called, and which way it is better."""
        return card_of(self.metric)


def _callable(train_fn: Any) -> Any:
    """The training function, if it is one.

    Raises:
        DataError: It can't be called.
    """
    if train_fn is not None and not callable(train_fn):
        raise DataError(f"train_fn is {kind_of(train_fn)}", "pass a function train_fn(model, budget)")
    return train_fn


def _one_of(val: Any, select: Any) -> Any:
    """The validation set, by whichever of its names it was given.

    Raises:
        DataError: It was given by both.
    """
    if select is None:
        return val
    if val is not None:
        raise DataError("val and select are two names of one set", "pass val alone")
    warnings.warn("Task(select=...) is the old name of Task(val=...)", FutureWarning, stacklevel=3)
    return select


def _metric(metric: Metric | str, loss: Loss) -> Metric:
    """The metric, by name where it is one, fitted to the loss where it can be."""
    found: Any = resolve("metrics", metric) if isinstance(metric, str) else metric
    if isinstance(found, type):
        raise DataError(
            f"the metric {found.__name__} is a class", f"pass an object of it: metric={found.__name__}(...)"
        )
    if not callable(found) and not isinstance(found, SetMetric):
        raise DataError(
            f"metric is {kind_of(found)}",
            "pass a function of outputs and targets, an object with update, compute and reset, or a name such as 'mean_iou'",
        )
    card_of(found)
    fitted: Metric = found.for_loss(loss) if hasattr(found, "for_loss") else found
    return fitted


def as_source(data: Any, name: str, batch_dim: int | None = None) -> Source:
    """Whatever the user gave as a set, as a `Source`; `name` is for the error message."""
    source = data if isinstance(data, Source) else _loader_source(data, name, batch_dim)
    if len(source) == 0:
        raise DataError(f"the {name} set is empty")
    return source


def _loader_source(data: Any, name: str, batch_dim: int | None) -> LoaderSource:
    if isinstance(data, IterableDataset):
        raise DataError(
            f"the {name} set is an IterableDataset without a loader, which doesn't say whether it yields samples or batches",
            "give DataLoader(data, batch_size=...), or batch_size=None for batches",
        )
    if isinstance(data, Dataset) and not isinstance(data, Sized):
        raise DataError(f"the {name} set, a {type(data).__name__}, has no length", "give its class a __len__")
    if not isinstance(data, (Iterable, Dataset)) or isinstance(data, (str, bytes, Tensor)):
        raise DataError(
            f"the {name} set must be an iterable of (inputs, targets) batches or a Dataset, not {type(data).__name__}"
        )
    if isinstance(data, Iterator):
        raise DataError(
            f"the {name} set can be read only once", "give a DataLoader or a list of batches, not an iterator"
        )
    return LoaderSource((data,), batch_dim=batch_dim)


def _check_disjoint(sources: dict[str, Source]) -> None:
    for (first, one), (second, other) in combinations(sources.items(), 2):
        if overlap(one, other):
            raise DataError(
                f"the {first} and {second} sets share samples", "cut the val set from train, never from test"
            )


def _check_trainable(train: Source) -> None:
    if train.batch_count(1) == 0:
        raise DataError(
            f"the train loader drops all of its {len(train)} samples: they make no whole batch",
            "give it a smaller batch_size, or drop_last=False",
        )
