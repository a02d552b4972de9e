"""Finished models: judged on the test set, which is read here alone, and saved."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from evoprune.errors import DataError, MeasurementError
from evoprune.events import Decision, Listener
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.accuracy import Accuracy
from evoprune.objectives.base import Objective, Subject, value_of
from evoprune.objectives.compute import count
from evoprune.objectives.latency import LatencyMs
from evoprune.objectives.latency_names import LATENCY
from evoprune.pruning import AnyPlan, prune
from evoprune.results import ModelReport
from evoprune.rng import isolated_rng
from evoprune.run.problem import Problem
from evoprune.run.timing.model_timing import ModelTiming, TimingPlan
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.store.artifact import save_artifact
from evoprune.store.manifest import ManifestKeeper
from evoprune.store.timings import Timings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timed:
    """What a clock said of finished models.

    Attributes:
        latencies: Milliseconds of each model, by the latency's name.
        timings: The dense and the finished network side by side.
    """

    latencies: Mapping[str, Mapping[str, float]]
    timings: Timings


@dataclass(frozen=True)
class Judge:
    """Judges finished models, and counts how often the test set was read.

    Attributes:
        problem: Gives the task and the example inputs, which are on the device.
        workplace: Device, threads and layout of the models.
        keeper: Keeps the count.
        timing: Says what is timed.
    """

    problem: Problem
    workplace: Workplace
    keeper: ManifestKeeper
    timing: TimingPlan = field(default_factory=TimingPlan)

    def reports(
        self, models: Mapping[str, nn.Module], timed: Timed, objectives: Sequence[Objective] = ()
    ) -> Mapping[str, ModelReport]:
        """All figures of each model.

        Args:
            models: By name.
            timed: Their times.
            objectives: Other objectives to measure, on the test set.
        """
        others = untimed(objectives)
        return {name: self.report(model, timed.latencies[name], others) for name, model in models.items()}

    def timed(self, models: Mapping[str, nn.Module], objectives: Sequence[Objective] = ()) -> Timed:
        """Times of the models, by turns; no sample is read for it.

        Args:
            models: `baseline`, `pruned` and others by name.
            objectives: Of these, latencies are measured as well.
        """
        place = self.workplace
        kinds = [one for one in objectives if isinstance(one, LatencyMs) and one.name != LATENCY]
        latencies = self._latency_ms(models, kinds)
        # Copies: networks that keep something from a pass would keep that of a batch that is not the run's.
        copies = {name: clone(model) for name, model in models.items()}
        timing = ModelTiming(copies, self.problem.example_inputs, place.device, place.candidate_threads, self.timing)
        timings, of_example = timing.measured()
        return Timed({name: {LATENCY: of_example[name], **latencies[name]} for name in models}, timings)

    def report(
        self, model: nn.Module, latency: Mapping[str, float] | None = None, objectives: Sequence[Objective] = ()
    ) -> ModelReport:
        """All figures of one model.

        Args:
            model: The network, in eval mode.
            latency: Latencies in milliseconds by name, where they were measured.
            objectives: Other objectives to measure; those that every report has are measured once.
        """
        latencies = dict(latency or {})
        others = [one for one in objectives if one.name not in ModelReport.__dataclass_fields__]
        (values, each), compute = self._judged(model, others), count(model, self.problem.example_inputs)
        return ModelReport(
            accuracy=values.pop("accuracy"),
            params=compute.params,
            macs=compute.macs,
            size_bytes=compute.size_bytes,
            peak_activation_bytes=compute.peak_activation_bytes,
            latency_ms=latencies.pop(LATENCY, None),
            uncounted=compute.uncounted,
            others=values | latencies,
            each=None if each is None else each.cpu().numpy(),
        )

    def accuracy(self, model: nn.Module) -> float:
        """The metric of one finished model on the test set, with the threads of training.

        Raises:
            DataError: It is no finite number.
        """
        return self._judged(model, ())[0]["accuracy"]

    def _judged(
        self, model: nn.Module, objectives: Sequence[Objective]
    ) -> tuple[dict[str, float], torch.Tensor | None]:
        """`accuracy` and those of the objectives that have a value on the test set, which is read once for all of them.

        The other result is the metric of each sample, where it has such values.
        """
        # Before it is read: a count that is too high says more than one that is too low.
        manifest = self.keeper.manifest
        self.keeper.update(replace(manifest, test_set_reads=(manifest.test_set_reads or 0) + 1))
        task, batches = self.problem.task, MicroBatch(SCORING_BATCH, stage="judging a finished model")
        device, example_inputs = self.workplace.device, self.problem.example_inputs

        def subject(size: int) -> Subject:
            return Subject(model, example_inputs, task.test, task.metric, device, size, loss=task.loss)

        def figures(size: int) -> tuple[dict[str, float], torch.Tensor | None]:
            one = subject(size)
            values = {"accuracy": value_of(Accuracy(), one), **_what_can_be_measured(objectives, one)}
            return values, one.scores.each

        with torch_threads(self.workplace.training_threads), isolated_rng(0):
            values, each = batches.attempt(figures)
        if not math.isfinite(values["accuracy"]):
            raise DataError(
                f"{task.card.name} of a finished model on test is {values['accuracy']}",
                "look at the samples and the metric: one called batch by batch may have nothing to count in some; an object with "
                "update and compute sees the whole set",
            )
        return {name: value for name, value in values.items() if math.isfinite(value)}, each

    def _latency_ms(self, models: Mapping[str, nn.Module], kinds: Sequence[LatencyMs]) -> dict[str, dict[str, float]]:
        """Median milliseconds of one forward pass of each model, by the latency's name, the models by turns."""
        found: dict[str, dict[str, float]] = {name: {} for name in models}
        for model in models.values():
            model.eval()
        with torch_threads(self.workplace.candidate_threads):
            for kind in kinds:
                for name, milliseconds in self._by_turns(models, kind).items():
                    found[name][kind.name] = milliseconds
        return found

    def _by_turns(self, models: Mapping[str, nn.Module], kind: LatencyMs) -> dict[str, float]:
        """Nothing where a runtime can't run the networks: a whole search is not lost for a figure."""
        try:
            return kind.measure_by_turns(models, self.problem.example_inputs)
        except MeasurementError as error:
            logger.warning("%s of the finished models is left out: %s", kind.name, error.message)
            return {}


def untimed(objectives: Sequence[Objective]) -> list[Objective]:
    """Those that are no latencies."""
    return [one for one in objectives if not isinstance(one, LatencyMs)]


def _what_can_be_measured(objectives: Sequence[Objective], subject: Subject) -> dict[str, float]:
    """The values that there are: a whole search is not lost for a figure that the test set has none of."""
    values = {}
    for one in objectives:
        try:
            values[one.name] = value_of(one, subject)
        except MeasurementError as error:
            logger.warning("%s of a finished model on test is left out: %s", one.name, error.message)
    return values


@torch.inference_mode(False)
def save_finished(
    directory: Path, model: nn.Module, plan: AnyPlan, problem: Problem, notify: Listener, *, factory: str | None
) -> None:
    """Save a run's finished model, and say so where `evoprune.load` can't rebuild it by itself.

    Args:
        directory: Folder of the artifact.
        model: The finished network, in eval mode.
        plan: Says what it keeps of the dense one.
        problem: Problem of the run.
        notify: Called with what the user has to know.
        factory: Import path of what builds the dense network without arguments, where known.
    """
    given = None if problem.given is None else prune(problem.given, plan)
    notice = save_artifact(
        directory,
        model,
        plan,
        factory=factory,
        task=problem.task,
        example_inputs=problem.example_inputs,
        given=given,
    )
    if notice:
        logger.warning("the artifact in %s: %s", directory, notice)
        notify(Decision("artifact", notice))
