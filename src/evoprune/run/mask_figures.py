"""How good the networks of a mask run are: on the validation set on the way, and in its comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from evoprune.data.base import Source
from evoprune.errors import MeasurementError
from evoprune.evaluation.reference import Reference, reference_of
from evoprune.mask_plan import MaskPlan
from evoprune.masks.maskable import MaskableWeight
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.base import Subject, Zeros
from evoprune.results import MetricCard, ModelReport
from evoprune.run.opened_run import OpenedRun
from evoprune.run.workplace import SCORING_BATCH
from evoprune.store.artifact import WEIGHTS
from evoprune.store.comparison import Comparison, FinishedStep, LayerFigures, ModelFigures


@dataclass(frozen=True)
class Figures:
    """Values of whole networks.

    Attributes:
        run: The run, whose validation set judges.
    """

    run: OpenedRun

    def of_candidates(self, model: nn.Module) -> Mapping[str, float]:
        """The dense network's value of each measure, on the samples, and with the threads, that candidates are scored with.

        Raises:
            ConfigError: The task has no value of a measure that is searched for or bounded.
            DataError: A value is no finite number.
        """
        subject = self._subject(model, self._scored, SCORING_BATCH)
        return self.run.measures.of_dense(subject, threads=self.run.parts.workplace.candidate_threads)

    def reference(self, model: nn.Module) -> Reference:
        """What candidates' scores are read against; `model` is the dense network."""
        task, workplace = self.run.problem.task, self.run.parts.workplace
        with torch_threads(workplace.candidate_threads):
            return reference_of(model, task, self._scored, device=workplace.device, batch_size=SCORING_BATCH)

    def of_select(self, model: nn.Module) -> Mapping[str, float]:
        """`accuracy` and, for classes, `worst_class_accuracy` on the whole set, with the threads of training."""
        batches, data = MicroBatch(SCORING_BATCH, stage="scoring a network"), self.run.problem.task.val
        with torch_threads(self.run.parts.workplace.training_threads):
            return batches.attempt(lambda size: _accuracies(self._subject(model, data, size)))

    @property
    def _scored(self) -> Source:
        return self.run.parts.training.scored(self.run.problem.task)

    def _subject(self, model: nn.Module, data: Source, size: int) -> Subject:
        problem, task = self.run.problem, self.run.problem.task
        return Subject(
            model,
            problem.example_inputs,
            data,
            task.metric,
            self.run.parts.workplace.device,
            size,
            loss=task.loss,
            zeros=Zeros(0.0, 0.0),
        )


def _accuracies(subject: Subject) -> dict[str, float]:
    values = {"accuracy": subject.scores.value}
    try:
        return {**values, "worst_class_accuracy": subject.worst_class}
    except MeasurementError:
        return values


def layer_figures(plan: MaskPlan, weights: Sequence[MaskableWeight]) -> tuple[LayerFigures, ...]:
    """What stays of each weight tensor."""
    kept = {weight.name: plan.masks[weight.name].kept for weight in weights}
    return tuple(
        LayerFigures(one.layer, one.name, one.size, kept[one.name], (one.size - kept[one.name]) / one.size)
        for one in weights
    )


def layer_sparsities(plan: MaskPlan, weights: Sequence[MaskableWeight]) -> dict[str, float]:
    """`{layer: sparsity}` of all its weight tensors together."""
    counts: dict[str, list[int]] = {}
    for row in layer_figures(plan, weights):
        of_layer = counts.setdefault(row.layer, [0, 0])
        of_layer[0] += row.weights - row.kept
        of_layer[1] += row.weights
    return {layer: pruned / size for layer, (pruned, size) in counts.items()}


def masked_figures(report: ModelReport, plan: MaskPlan, artifact: Path) -> ModelFigures:
    """The figures of a network with masked weights.

    Args:
        report: Figures of the network.
        plan: Says which weights stay.
        artifact: Folder that the sparse network was saved to: its size is that of the file.
    """
    return ModelFigures(
        {
            **report.to_json(),
            "size_bytes": (artifact / WEIGHTS).stat().st_size,
            "sparsity": plan.sparsity,
            "nonzero_params": report.params - (plan.size - plan.kept),
        }
    )


def comparison_of(
    reports: Mapping[str, ModelReport],
    plan: MaskPlan,
    weights: Sequence[MaskableWeight],
    steps: Sequence[FinishedStep],
    artifact: Path,
    metric: MetricCard,
) -> Comparison:
    """The comparison of a run.

    Args:
        reports: Figures of `baseline` and `pruned`.
        plan: Says which weights stay.
        weights: All that could be pruned.
        steps: Results of the steps.
        artifact: Folder that the sparse network was saved to.
        metric: Describes the values under the name `accuracy`.
    """
    baseline = reports["baseline"]
    return Comparison(
        baseline=ModelFigures({**baseline.to_json(), "sparsity": 0.0, "nonzero_params": baseline.params}),
        pruned=masked_figures(reports["pruned"], plan, artifact),
        metric=metric,
        layers=layer_figures(plan, weights),
        steps=tuple(steps),
        uncounted=baseline.uncounted,
    )
