"""Evolutionary pruning for PyTorch: a genetic algorithm learns what can go, surgery makes the network really smaller.

Public names are imported when they are first used, so that `import evoprune` and `evoprune --help` do not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from evoprune.api import (
        ComputeReport,
        Config,
        Finetuned,
        Frozen,
        Group,
        MaskPlan,
        Point,
        PruningPlan,
        PruningSpace,
        Result,
        Task,
        Verification,
        analyze,
        count,
        evolve,
        finetune,
        importance,
        load,
        mask,
        prune,
        resume,
        run_recipe,
        verify,
    )

__all__ = [
    "ComputeReport",
    "Config",
    "Finetuned",
    "Frozen",
    "Group",
    "MaskPlan",
    "Point",
    "PruningPlan",
    "PruningSpace",
    "Result",
    "Task",
    "Verification",
    "__version__",
    "analyze",
    "count",
    "evolve",
    "finetune",
    "importance",
    "load",
    "mask",
    "prune",
    "resume",
    "run_recipe",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'evoprune' has no attribute {name!r}")
    from evoprune import api

    value = getattr(api, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
