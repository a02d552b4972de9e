"""Image data sets in memory, verified, and the task made of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evoprune.caching import cache_directory
from evoprune.data.augmentation import Augmentation
from evoprune.data.task import Task
from evoprune.data.tensors import Preprocessing, TensorSource
from evoprune.datasets.cache import DataCache
from evoprune.datasets.catalogue import CATALOGUE
from evoprune.datasets.fetch import fetch_missing
from evoprune.datasets.idx import Bytes
from evoprune.datasets.records import IMAGE_SHAPE
from evoprune.datasets.user_directory import open_user_file
from evoprune.errors import DataError
from evoprune.events import Listener, ignore


@dataclass(frozen=True)
class ImageData:
    """A data set as it is on disk: bytes, mapped copy-on-write where possible.

    Attributes:
        train_images: [n, c, h, w] uint8.
        train_labels: [n] int64.
        test_images: [m, c, h, w] uint8.
        test_labels: [m] int64.
        preprocessing: Normalisation for the network.
        class_names: Names of the classes, in the order of the labels.
        licence: Licence of the data; empty where nobody says.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    licence: str = ""


def load_images(name: str, *, directory: Path | None = None, notify: Listener = ignore) -> ImageData:
    """A data set by name, from the user's folder or else from the cache, which is filled first where needed.

    Args:
        name: A key of `CATALOGUE`: `mnist`, `fashion-mnist` or `cifar-10`.
        directory: The user's own copy, raw or gzipped files; nothing else is tried when given.
        notify: Called with each event of a download.

    Raises:
        DataError: The name is unknown, the folder lacks a file, a file is damaged, or no source has the data.
    """
    if name not in CATALOGUE:
        raise DataError(f"unknown data set {name!r}", f"known: {', '.join(CATALOGUE)}")
    dataset = CATALOGUE[name]
    cache = DataCache(cache_directory() / name)
    if directory is None:
        fetch_missing(dataset, cache, notify)
        arrays = [file.open(cache.folder / file.name) for file in dataset.files]
    else:
        arrays = [open_user_file(Path(directory), file, cache) for file in dataset.files]
    tensors = _from_records(arrays) if dataset.files[0].layout == "records" else _from_idx(arrays)
    return ImageData(*tensors, dataset.preprocessing, dataset.class_names, dataset.licence)


def image_task(data: ImageData, *, select_size: int, seed: int, augmentation: Augmentation | None = None) -> Task:
    """Train and select cut at random from the training images, test from the test images.

    Args:
        data: The images.
        select_size: Images to select by, at least 1 and fewer than there are training images.
        seed: Alone decides the split.
        augmentation: Applied to training images.

    Raises:
        DataError: `select_size` is out of range.
    """
    train, select = split_rows(len(data.train_labels), select_size=select_size, seed=seed)
    return Task(
        train=TensorSource(data.train_images, data.train_labels, data.preprocessing, train, augmentation),
        val=TensorSource(data.train_images, data.train_labels, data.preprocessing, select),
        test=TensorSource(data.test_images, data.test_labels, data.preprocessing),
        class_names=data.class_names,
        data_licence=data.licence,
    )


def split_rows(rows: int, *, select_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """The rows of the train and the select set, [rows - select_size] and [select_size] int64, both shuffled.

    Raises:
        DataError: `select_size` is out of range.
    """
    if not 1 <= select_size < rows:
        raise DataError(f"select_size is {select_size}, 1 to {rows - 1:,} accepted")
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(rows))
    return shuffled[select_size:].clone(), shuffled[:select_size].clone()


def _from_idx(arrays: Sequence[Bytes]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    train_images, train_labels, test_images, test_labels = arrays
    return _images(train_images), _labels(train_labels), _images(test_images), _labels(test_labels)


def _from_records(arrays: Sequence[Bytes]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # The train images are one tensor in several files, so they are copied; the test images stay a view of theirs.
    train, test = np.concatenate(arrays[:-1]), arrays[-1]
    images = [torch.from_numpy(records[:, 1:]).unflatten(1, IMAGE_SHAPE) for records in (train, test)]
    return images[0], _labels(train[:, 0]), images[1], _labels(test[:, 0])


def _images(array: Bytes) -> Tensor:
    return torch.from_numpy(array).unsqueeze(1)


def _labels(array: Bytes) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))
