"""Random crops and flips, a whole batch at a time on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from evoprune.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """What training images go through: a window of the image padded with black, perhaps mirrored.

    Attributes:
        padding: Pixels added on each side before a window of the old size is cut at a random place; 0 for no crop.
        flip: Whether half of the images are mirrored left to right.
    """

    padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"augmentation padding is {self.padding}, 0 or more pixels accepted")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Fate of `count` images, [count, 3] int64: row and column of the window's corner, 1 where mirrored."""
        corners = torch.randint(0, 2 * self.padding + 1, (count, 2), generator=generator)
        mirrored = torch.randint(0, 2, (count, 1), generator=generator) * int(self.flip)
        return torch.cat([corners, mirrored], dim=1)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Crop and mirror each image as drawn.

        Args:
            images: [b, c, h, w] uint8.
            drawn: [b, 3] int64 on the same device, of `draw`.

        Returns:
            [b, c, h, w] uint8, channels last.
        """
        count, _, height, width = images.shape
        padded = functional.pad(images, [self.padding] * 4).permute(0, 2, 3, 1)
        top, left, mirrored = drawn.unbind(1)
        rows = torch.arange(height, device=images.device) + top[:, None]
        columns = torch.arange(width, device=images.device).expand(count, -1)
        columns = torch.where(mirrored[:, None] == 1, columns.flip(1), columns) + left[:, None]
        each = torch.arange(count, device=images.device)[:, None, None]
        # One gather does both, and pixels that lie together are copied together.
        return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
