"""Digests of what a run depends on, so that a resume on other data or another model is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.base import Source
from evoprune.data.task import Task
from evoprune.data.tensors import TensorSource
from evoprune.data.trees import tensors_in
from evoprune.nn_utils.weights import weight_bytes

TRAIN_FN: Final = "train_fn"
"""Key of the training function's name."""
_PLAIN: Final = (bool, int, float, str)
LOSS: Final = "loss"
"""Key of the loss's name in a manifest."""


def digest_of_model(model: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of the weights."""
    return hashlib.sha256(weight_bytes(model)).hexdigest()


def digests_of_data(task: Task) -> dict[str, str]:
    """SHA-256 of each set: all of it when it lies in memory, size and first batch of a loader otherwise."""
    return {name: _digest_of_source(getattr(task, name)) for name in ("train", "select", "test")}


def name_of_loss(loss: Any) -> str:
    """What tells one loss from another in a later process: its name, and a module's numbers and words.

    Nothing else of a function can be compared, so that two of one name are taken for the same.
    """
    if isinstance(loss, partial):
        return name_of_loss(loss.func)
    if isinstance(loss, nn.Module):
        plain = {key: value for key, value in vars(loss).items() if key[0] != "_" and key != "training"}
        settings = ", ".join(f"{key}={value}" for key, value in plain.items() if isinstance(value, _PLAIN))
        return f"{type(loss).__name__}({settings})"
    return str(getattr(loss, "__qualname__", type(loss).__qualname__)).replace("<locals>.", "")


def name_of_train_fn(task: Task) -> str:
    """What tells a training function from another, as for losses; empty where our own training is used."""
    return "" if task.train_fn is None else name_of_loss(task.train_fn)


def _digest_of_source(source: Source) -> str:
    digest = hashlib.sha256()
    digest.update(str(len(source)).encode())
    if isinstance(source, TensorSource):
        for tensor in (source.images, source.labels, source.rows):
            _update(digest, tensor)
        digest.update(repr(source.preprocessing).encode())
        if source.augmentation is not None:
            digest.update(repr(source.augmentation).encode())
    else:
        _update(digest, next(iter(source.batches(1, device=torch.device("cpu"))), None))
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(str(tuple(value.shape)).encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _update(digest, value[key])
    elif isinstance(value, (tuple, list)):
        for item in value:
            _update(digest, item)
    elif next(tensors_in(value), None) is not None:
        # Not its repr, which shortens tensors and may hold an address.
        for tensor in tensors_in(value):
            _update(digest, tensor)
    else:
        digest.update(repr(value).encode())
