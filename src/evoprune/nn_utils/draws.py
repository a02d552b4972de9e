"""Random draws that networks of different widths have in common, so that what they compute in training can be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.dispatch import WatchingMode
from evoprune.rng import isolated_rng

_GOLDEN = 0.618034


class CommonDraws(WatchingMode):
    """While active, every draw of floats gives one number throughout, which only its place among the draws decides.

    Dropout keeps everything. Integers, such as a permutation of the batch, are drawn with a seed of their place, so that draws of
    equal shape are equal.

    Attributes:
        integers: Operation and shape of every draw of integers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.integers: list[tuple[str, tuple[int, ...]]] = []
        self._draws = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation; if it draws, replace what it drew."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            return func(*args, **kwargs)
        self._draws += 1
        with isolated_rng(self._draws):
            result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in _DROPS:
            result[0].copy_(args[0])
            result[1].fill_(1)
            return result
        for tensor in tensors_in(result):
            if tensor.is_floating_point():
                _fill(tensor, 1.0 if "bernoulli" in name else 0.25 + (self._draws * _GOLDEN) % 0.5)
            else:
                self.integers.append((name, tuple(tensor.shape)))
        return result


_DROPS = {"native_dropout"}


def _fill(tensor: Tensor, value: float) -> None:
    with torch.no_grad():
        tensor.fill_(value)
