"""Masks found before, as the first genomes of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from evoprune.errors import DataError, StoreCorruptedError, UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.pruning.encodings.mask_space import UnitBits
from evoprune.pruning.structure_names import parse_structure
from evoprune.run.config import Config
from evoprune.run.mask_import import ACCEPTED, read_masks
from evoprune.run.mask_stage import prunable_weights


def read_warm_start(config: Config, model: nn.Module) -> MaskPlan | None:
    """The masks that `masks.warm_start` names; None where it names none.

    Raises:
        UsageError: They can't be read, don't fit the network, or are of no layer that is searched.
    """
    path = config.masks.warm_start
    if path is None:
        return None
    if not path.exists():
        raise DataError(f"masks.warm_start {path} does not exist", f"accepted: a run directory, {ACCEPTED}")
    try:
        plan = read_masks(path / "solutions" if (path / "solutions").is_dir() else path, model)
    except StoreCorruptedError as error:
        raise DataError(f"masks.warm_start: {error.message}", "restore the file, or leave the setting out") from error
    if not any(weight.name in plan.masks for weight in prunable_weights(config, model)):
        raise UsageError(
            f"masks.warm_start {path} has no masks for the layers that are to be pruned",
            f"it has masks of {', '.join(sorted(plan.masks)[:12])}",
        )
    return plan


def warm_bits(config: Config, model: nn.Module, plan: MaskPlan | None, names: Sequence[str]) -> list[UnitBits]:
    """`plan` in units of the structure for the weights `names`, as one first solution; weights without a mask stay whole.

    A unit stays when at least half of its weights do.
    """
    if plan is None or not any(name in plan.masks for name in names):
        return []
    structure = parse_structure(config.masks.structure)
    bits: dict[str, np.ndarray] = {}
    for weight in prunable_weights(config, model):
        if weight.name not in names:
            continue
        mask = plan.masks.get(weight.name)
        bools = np.ones(weight.shape, dtype=np.bool_) if mask is None else mask.bools
        shape = weight.shape
        if weight.output_dim:
            bools, shape = np.swapaxes(bools, 0, 1), (shape[1], shape[0], *shape[2:])
        bits[weight.name] = structure.reduce(bools.astype(np.float32), shape) >= 0.5
    return [bits]
