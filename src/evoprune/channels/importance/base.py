"""The seam for criteria: one number per unit, higher for what should stay longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from evoprune.space.pruning_space import PruningSpace

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Examinee:
    """What a criterion may look at.

    Attributes:
        model: The dense network, in evaluation mode for as long as the criterion runs.
        space: Pruning space of the model.
        batches: `(inputs, targets)` pairs; None where the caller gave none.
        loss: `loss(model(inputs), targets)` -> scalar, the mean over the batch; None where the caller gave none.
        seed: Seeds everything that is random.
    """

    model: nn.Module
    space: PruningSpace
    batches: Iterable[tuple[Any, Any]] | None
    loss: Callable[[Any, Any], Tensor] | None
    seed: int


class Criterion(Protocol):
    """A function that scores units.

    It leaves weights, gradients and flags of the model alone. The same examinee gives the same scores.
    """

    def __call__(self, examinee: Examinee) -> Scores:
        """[space.size], one finite number per unit."""
