"""Image data sets in memory, verified, and the task made of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evoprune.caching import cache_directory
from evoprune.errors import DataError
from evoprune.events import Listener, ignore
from evoprune.recipes.cache import DataCache
from evoprune.recipes.catalogue import CATALOGUE
from evoprune.recipes.fetch import fetch_missing
from evoprune.recipes.idx import Bytes
from evoprune.recipes.user_directory import open_user_file
from evoprune.sources.tensors import Preprocessing, TensorSource
from evoprune.task import Task


@dataclass(frozen=True)
class ImageData:
    """A data set as it is on disk: bytes, mapped copy-on-write where possible.

    Attributes:
        train_images: [n, 1, h, w] uint8.
        train_labels: [n] int64.
        test_images: [m, 1, h, w] uint8.
        test_labels: [m] int64.
        preprocessing: Normalisation for the network.
        class_names: In the order of the labels.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def load_images(name: str, *, directory: Path | None = None, notify: Listener = ignore) -> ImageData:
    """A data set by name, from the user's folder or else from the cache, which is filled first where needed.

    Args:
        name: A key of `CATALOGUE`: `mnist` or `fashion-mnist`.
        directory: The user's own copy, raw or gzipped IDX files; nothing else is tried when given.
        notify: Told about downloads.

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
    train_images, train_labels, test_images, test_labels = arrays
    return ImageData(
        _images(train_images),
        _labels(train_labels),
        _images(test_images),
        _labels(test_labels),
        dataset.preprocessing,
        dataset.class_names,
    )


def image_task(data: ImageData, *, select_size: int, seed: int) -> Task:
    """Train and select cut at random from the training images, test from the test images.

    Args:
        data: The images.
        select_size: Images to select by, at least 1 and fewer than there are training images.
        seed: Decides the split, and nothing else does.

    Raises:
        DataError: `select_size` is out of range.
    """
    train, select = split_rows(len(data.train_labels), select_size=select_size, seed=seed)
    return Task(
        train=TensorSource(data.train_images, data.train_labels, data.preprocessing, train),
        select=TensorSource(data.train_images, data.train_labels, data.preprocessing, select),
        test=TensorSource(data.test_images, data.test_labels, data.preprocessing),
        class_names=data.class_names,
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


def _images(array: Bytes) -> Tensor:
    return torch.from_numpy(array).unsqueeze(1)


def _labels(array: Bytes) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))
