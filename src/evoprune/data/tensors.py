"""Images in memory, as bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evoprune.data.augmentation import Augmentation
from evoprune.data.base import Source
from evoprune.data.batches import Batch
from evoprune.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """How stored images become network input: `(image / 255 - mean) / std` per channel.

    Attributes:
        mean: One value per channel, in units of 0 to 1.
        std: One positive value per channel, in units of 0 to 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class TensorSource:
    """Images kept in memory as bytes and normalised a batch at a time on the device that needs them.

    Attributes:
        images: [n, c, h, w] uint8.
        labels: [n] int64.
        preprocessing: Normalisation for the network.
        indices: [m] int64 rows that belong to this set, in order; all when None.
        augmentation: Applied to images in shuffled passes; they come as they are in passes without a seed.
    """

    images: Tensor
    labels: Tensor
    preprocessing: Preprocessing
    indices: Tensor | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or len(self.images) != len(self.labels):
            raise DataError(
                f"images must be [n, c, h, w] uint8 with one label each, not {list(self.images.shape)} "
                f"{self.images.dtype} with {len(self.labels)} labels"
            )
        channels, statistics = self.images.shape[1], (self.preprocessing.mean, self.preprocessing.std)
        if any(len(values) != channels for values in statistics) or not all(std > 0 for std in self.preprocessing.std):
            raise DataError(f"preprocessing needs {channels} means and positive deviations, not {self.preprocessing}")

    def __len__(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    def __repr__(self) -> str:
        return f"<{len(self):,} images of {list(self.images.shape[1:])}>"

    @property
    def rows(self) -> Tensor:
        """[m] int64: the rows of `images` in this set."""
        return torch.arange(len(self.labels)) if self.indices is None else self.indices

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """Images [b, c, h, w] float32, normalised; labels [b] int64."""
        rows = self.rows
        drawn: Tensor | None = None
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            rows = rows[torch.randperm(len(rows), generator=generator)]
            # All at once and on the CPU: the same images on any device and with batches of any size.
            drawn = None if self.augmentation is None else self.augmentation.draw(len(rows), generator)
        scale, shift = self._affine(device)
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            images = self.images[chosen].to(device)
            if self.augmentation is not None and drawn is not None:
                images = self.augmentation.apply(images, drawn[start : start + batch_size].to(device))
            inputs = torch.addcmul(shift, images.contiguous().float(), scale)
            yield Batch(inputs, self.labels[chosen].to(device), len(chosen), batch_dim=0)

    def batch_count(self, batch_size: int) -> int:
        """Batches in one pass."""
        return math.ceil(len(self) / batch_size)

    def _affine(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.preprocessing.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.preprocessing.std).view(1, -1, 1, 1)
        return (1 / (255 * std)).to(device), (-mean / std).to(device)

    def joined(self, other: Source) -> TensorSource:
        """This set and another of such images, augmented as this one is; bytes are copied unless both are cut from one tensor."""
        form = (self.images.shape[1:], self.preprocessing)
        if not isinstance(other, TensorSource) or (other.images.shape[1:], other.preprocessing) != form:
            raise DataError("only sets of images of one shape and preprocessing can be joined")
        if other.images is self.images:
            return replace(self, indices=torch.cat([self.rows, other.rows]))
        images = torch.cat([self.images[self.rows], other.images[other.rows]])
        labels = torch.cat([self.labels[self.rows], other.labels[other.rows]])
        return replace(self, images=images, labels=labels, indices=None)

    def head(self, size: int) -> TensorSource:
        """The first `size` samples; the split that made the set has shuffled them already."""
        return replace(self, indices=self.rows[:size])

    def numbered(self) -> tuple[TensorSource, Tensor] | None:
        """This set with each sample's place in it for labels, and the labels by place, [m] int64; None where it is augmented."""
        if self.augmentation is not None:
            return None
        rows = self.rows
        places = torch.zeros(len(self.labels), dtype=torch.int64)
        places[rows] = torch.arange(len(rows))
        return replace(self, labels=places), self.labels[rows]

    def shares_samples_with(self, other: TensorSource) -> bool:
        """Whether a row of the same images is in both sets."""
        same = self.images.data_ptr() == other.images.data_ptr()
        return same and bool(torch.isin(self.rows, other.rows).any())
