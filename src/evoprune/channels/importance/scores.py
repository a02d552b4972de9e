"""`importance`: a score for every unit of a space, by the criterion of one's choice."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from torch import Tensor, nn

from evoprune.channels.importance.base import Criterion, Examinee, Scores
from evoprune.errors import UsageError
from evoprune.nn_utils.calling import undisturbed
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.plugins import resolve
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.space.pruning_space import PruningSpace

WEIGHTS_ALONE: Final = frozenset({"l1", "l2", "group_magnitude", "bn_scale", "lamp", "fpgm", "random"})
"""Criteria that need no data; one's own may look at whatever it is given."""


def importance(
    model: nn.Module,
    space: PruningSpace,
    name: str,
    batches: Iterable[tuple[Any, Any]] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    seed: int = 0,
) -> Scores:
    """Score every unit of `space`; what scores higher should stay longer.

    Scores of one criterion compare with each other, never with those of another. The model is untouched: weights, gradients,
    `requires_grad`, mode, buffers and all random generators are as before. Criteria run in evaluation mode.

    Args:
        model: The dense network that was analysed.
        space: Pruning space that `analyze` returned for the model.
        name: `l1`, `l2`, `group_magnitude`, `bn_scale`, `lamp`, `fpgm`, `taylor`, `hessian`, `random`, or one's own as
            `package.module:function`, which takes an `Examinee`.
        batches: `(inputs, targets)` pairs, such as a `DataLoader`, for `taylor` and `hessian`; a warning says so where a
            criterion looks at weights alone.
        loss: `loss(model(inputs), targets)` -> scalar, the mean over the batch, for the same.
        seed: Seeds everything that is random, the order of a shuffling loader included.

    Returns:
        [space.size] float64.

    Raises:
        UsageError: The criterion is unknown, or lacks what it needs; the space is of another model; the scores are no numbers.
    """
    if space.fingerprint != fingerprint(model):
        raise UsageError(f"the space was made for another structure than this {type(model).__name__}")
    known = name if ":" in name else name.replace("-", "_")
    criterion: Criterion = resolve("criteria", known)
    if known in WEIGHTS_ALONE and not (batches is None and loss is None):
        warnings.warn(f"{known} looks at weights alone: batches= and loss= make no difference to it", stacklevel=2)
    with undisturbed(model), isolated_rng(SeedTree(seed).child("importance").seed):
        scores = np.asarray(criterion(Examinee(model, space, batches, loss, seed)), dtype=np.float64)
    if scores.shape != (space.size,) or not np.isfinite(scores).all():
        what = f"shape {list(scores.shape)}" if scores.shape != (space.size,) else "values that are not finite"
        raise UsageError(f"criterion {name!r} must give {space.size} finite numbers, one per unit, not {what}")
    return scores
