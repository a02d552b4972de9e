"""Train a finished model further: the pruned network of a run, masks held, as an artifact of its own beside the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import masks_as_tensors
from evoprune.masks.maskable import maskable_weights
from evoprune.pruning import AnyPlan
from evoprune.results import ModelReport
from evoprune.run.addition import FINETUNED as WEIGHTS
from evoprune.run.addition import Addition, OpenedAddition, finished_manifest
from evoprune.run.final_report import save_finished
from evoprune.run.mask_figures import layer_figures, masked_figures
from evoprune.run.retraining import Retraining
from evoprune.run.stopwatch import stage
from evoprune.store.artifact import MODEL, load_artifact, read_artifact_plan
from evoprune.store.atomic import read_json
from evoprune.store.comparison import Comparison, LayerFigures, ModelFigures
from evoprune.store.run_directory import ARTIFACT

FINETUNED: Final = "finetuned"
"""Folder in the run directory, unless another is named."""


def finetune(addition: Addition, before: Comparison) -> Comparison:
    """Train the finished model of a run, of masks or of channels, further; save it and compare it.

    It learns from train and select together, as the run's last retraining does: nothing is left to choose by select, and what
    a model has learnt from judges nothing. Pruned weights stay exactly zero.

    Args:
        addition: The run, how the model learns, and where the result goes.
        before: The run's comparison.

    Returns:
        The run's `baseline` and `pruned`, and `finetuned`, with `layers` where it has masks.

    Raises:
        UsageError: There is no finished run, `out` holds something or another process is at work there, or the problem is not
            the run's.
        StoreCorruptedError: A file of the run is damaged.
        RunError: There was no room on the disk.
    """
    finished_manifest(addition.directory)
    card = read_json(addition.directory / ARTIFACT / MODEL)
    with addition.opened({WEIGHTS: card.get("weights_sha256")}) as opened:
        return _Finetuning(opened, card).finish(before)


@dataclass(frozen=True)
class _Finetuning:
    opened: OpenedAddition
    card: Mapping[str, Any]

    def finish(self, before: Comparison) -> Comparison:
        opened, notify = self.opened, self.opened.what.notify
        artifact = opened.what.directory / ARTIFACT
        plan = read_artifact_plan(artifact)
        model = opened.workplace.place(load_artifact(artifact, factory=opened.problem.model))
        with stage("finetune", notify, "the pruned network, on train and select"):
            self._train(model, plan)
        with stage("report", notify):
            out = opened.claim.directory
            save_finished(out, model, plan, opened.problem, notify, factory=self.card.get("factory"))
            return opened.finish(self._comparison(before, opened.judge.report(model), plan))

    def _train(self, model: nn.Module, plan: AnyPlan) -> None:
        what, task = self.opened.what, self.opened.problem.task
        training = Retraining(
            "fine-tuning",
            task.train.joined(task.select),
            what.epochs,
            what.seeds.child("finetune", str(self.card.get("weights_sha256"))),
            masks_as_tensors(model, plan) if isinstance(plan, MaskPlan) else None,
            stage="finetune",
            teacher=None if what.learning.distillation is None else what.learning.distillation.by(self.opened.dense()),
        )
        self.opened.train(model, training)

    def _comparison(self, before: Comparison, report: ModelReport, plan: AnyPlan) -> Comparison:
        problem, figures = self.opened.problem, ModelFigures(report.to_json())
        layers: tuple[LayerFigures, ...] = ()
        if isinstance(plan, MaskPlan):
            figures = masked_figures(report, plan, self.opened.claim.directory)
            every = maskable_weights(problem.model, include_norm_scales=True)
            layers = layer_figures(plan, [weight for weight in every if weight.name in plan.masks])
        return Comparison(before.baseline, before.pruned, problem.task.card, finetuned=figures, layers=layers)
