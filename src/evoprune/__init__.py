"""Evolutionary pruning for PyTorch: a genetic algorithm learns what can go, surgery makes the network really smaller.

Public names are imported when they are first used, so that `import evoprune` and `evoprune --help` do not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from evoprune.version import __version__

if TYPE_CHECKING:
    from evoprune import metrics
    from evoprune.api import (
        ComputeReport,
        Config,
        Exported,
        Finetuned,
        Finished,
        Frozen,
        Group,
        MaskPlan,
        Point,
        PruningPlan,
        PruningSpace,
        Result,
        Task,
        TrainingBudget,
        Verification,
        analyze,
        count,
        evolve,
        export,
        finetune,
        finish,
        fold,
        importance,
        load,
        mask,
        prune,
        resume,
        run_recipe,
        verify,
    )
    from evoprune.channels.encoding import Encoding
    from evoprune.channels.importance.base import Criterion, Examinee
    from evoprune.evaluation.base import Bounds, Evaluator, evaluate
    from evoprune.execution.base import Executor, Job, Outcome
    from evoprune.exporters.base import Exportable, Exporter
    from evoprune.genome import BitGenome, Segment
    from evoprune.objectives.base import Objective, Subject
    from evoprune.search.base import AsynchronousSearch, Proposal, Scored, Search, SearchSettings

SEAMS: Final = {
    "AsynchronousSearch": "evoprune.search.base",
    "BitGenome": "evoprune.genome",
    "Bounds": "evoprune.evaluation.base",
    "Criterion": "evoprune.channels.importance.base",
    "Encoding": "evoprune.channels.encoding",
    "Evaluator": "evoprune.evaluation.base",
    "Examinee": "evoprune.channels.importance.base",
    "Executor": "evoprune.execution.base",
    "Exportable": "evoprune.exporters.base",
    "Exporter": "evoprune.exporters.base",
    "Job": "evoprune.execution.base",
    "Objective": "evoprune.objectives.base",
    "Outcome": "evoprune.execution.base",
    "Proposal": "evoprune.search.base",
    "Scored": "evoprune.search.base",
    "Search": "evoprune.search.base",
    "SearchSettings": "evoprune.search.base",
    "Segment": "evoprune.genome",
    "Subject": "evoprune.objectives.base",
    "evaluate": "evoprune.evaluation.base",
}
"""What extensions are written against, and the modules that define it; those of the search do without torch."""

__all__ = [
    "AsynchronousSearch",
    "BitGenome",
    "Bounds",
    "ComputeReport",
    "Config",
    "Criterion",
    "Encoding",
    "Evaluator",
    "Examinee",
    "Executor",
    "Exportable",
    "Exported",
    "Exporter",
    "Finetuned",
    "Finished",
    "Frozen",
    "Group",
    "Job",
    "MaskPlan",
    "Objective",
    "Outcome",
    "Point",
    "Proposal",
    "PruningPlan",
    "PruningSpace",
    "Result",
    "Scored",
    "Search",
    "SearchSettings",
    "Segment",
    "Subject",
    "Task",
    "TrainingBudget",
    "Verification",
    "__version__",
    "analyze",
    "count",
    "evaluate",
    "evolve",
    "export",
    "finetune",
    "finish",
    "fold",
    "importance",
    "load",
    "mask",
    "metrics",
    "prune",
    "resume",
    "run_recipe",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'evoprune' has no attribute {name!r}")
    value = getattr(importlib.import_module(SEAMS.get(name, "evoprune.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
