"""What workers of a mask run do: score a candidate, or evolve the masks of a layer on their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from evoprune.data.trees import moved
from evoprune.evaluation.base import Bounds, evaluate
from evoprune.evaluation.masks import MaskEvaluator
from evoprune.execution.base import Job, JobFunction, Outcome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import masks_as_tensors
from evoprune.nn_utils.layouts import arranged
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.weights import put_weights
from evoprune.run.mask_alone import SearchAlone
from evoprune.run.mask_breeding import MaskBreeding, MaskStage, build_mask_encoding
from evoprune.run.mask_context import MaskContext
from evoprune.run.measures import choose_measures
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.training_plan import TrainingPlan
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.seeding import SeedTree
from evoprune.store.states import State, StateFolder, read_state


@dataclass(frozen=True)
class MaskWork:
    """Everything that the jobs of a mask run need: a picklable recipe for a worker.

    Attributes:
        breeding: Says how masks are searched for, where a job is a search.
        training: Training of candidates, and the data that they are scored on.
        workplace: Device, threads and layout of candidates.
        source: Gives model and task.
        directory: The run directory, whose states are read; None where they come with the jobs.
        baseline: The dense network's value of each measure.
        seeds: Root of the run's seeds.
        warm: Masks to begin with, where the directory is None.
    """

    breeding: MaskBreeding
    training: TrainingPlan
    workplace: Workplace
    source: ProblemSource
    directory: Path | None
    baseline: Mapping[str, float]
    seeds: SeedTree
    warm: MaskPlan | None = None

    def __call__(self) -> JobFunction:
        """Set up a worker here, and return the function that does its jobs."""
        problem = self.source.load()
        self.workplace.place(problem.model)
        return _Worker(
            self, problem, self.breeding.target.of(problem.model, moved(problem.example_inputs, self.workplace.device))
        )

    def portable(self) -> MaskWork:
        """The same work with network, data and masks to begin with within; states come with the jobs."""
        problem = self.source.load()
        warm = self.breeding.target.read_warm_start(problem.model)
        return replace(self, source=LiveSource(problem), directory=None, warm=warm)

    def files(self, job: Job) -> Mapping[str, Path]:
        """The state that the job begins with, by its digest."""
        digest = job.stage.state
        return {} if self.directory is None else {digest: StateFolder(self.directory).path(digest)}

    def evaluator(self, problem: Problem, context: MaskContext, state: State, stage: MaskStage) -> MaskEvaluator:
        """An evaluator around the network of a state; the problem's network is given its weights, in place."""
        model, task, device = problem.model, problem.task, self.workplace.device
        put_weights(model, dict(state.weights), f"state {stage.state}")
        elsewhere = {name: bits for name, bits in state.alive.items() if name not in stage.names}
        fidelity = self.training.fidelity(task.train)
        held: Mapping[str, torch.Tensor] = {}
        if fidelity.schedule.steps:
            held = masks_as_tensors(model, context.plan(state, list(elsewhere)))
        return MaskEvaluator(
            model=model.eval(),
            task=task,
            example_inputs=moved(problem.example_inputs, device),
            data=self.training.scored(task),
            encoding=build_mask_encoding(stage.encoding, context.space(state, stage.names, stage.kept)),
            weights=context.size,
            kept_elsewhere=context.kept_weights(elsewhere),
            elsewhere=held,
            fidelities=[fidelity],
            objectives=choose_measures(self.breeding.wanted, task.card).known_to(self.baseline),
            bounds=Bounds(self.breeding.constraints, self.baseline),
            seeds=self.seeds.child("candidate", stage.step),
            device=device,
            training_batch=MicroBatch(None, stage="fine-tuning a candidate"),
            scoring_batch=MicroBatch(SCORING_BATCH, stage="scoring a candidate"),
        )


@dataclass
class _Worker:
    work: MaskWork
    problem: Problem
    context: MaskContext
    states: dict[str, State] = field(default_factory=dict)
    evaluators: dict[MaskStage, MaskEvaluator] = field(default_factory=dict)

    def __call__(self, job: Job) -> Outcome:
        """Score the job's genome, or search from it; a careful job's network is in the plain layout."""
        if not job.careful:
            return self._do(job)
        self._arrange(channels_last=False)
        try:
            return self._do(job)
        finally:
            self._arrange(channels_last=self.work.workplace.channels_last is True)

    def describe(self, job: Job) -> str:
        """Weights that are searched, and layout."""
        layout = "plain layout" if job.careful else self.work.workplace.layout
        return f"masks of {', '.join(job.stage.names)}; {layout}"

    def _arrange(self, *, channels_last: bool) -> None:
        self.evaluators.clear()
        arranged(self.problem.model, channels_last=channels_last)

    def _do(self, job: Job) -> Outcome:
        stage: MaskStage = job.stage
        evaluator = self._evaluator(job)
        if stage.alone:
            space = self.context.space(self._state(job), stage.names, stage.kept)
            warm = self.context.warm_bits(self._warm, stage.names)
            return SearchAlone(self.work.breeding, self.work.seeds, evaluator, space).evolve(job, warm)
        return Outcome(job, *evaluate(evaluator, job.genome, job.rung))

    @cached_property
    def _warm(self) -> MaskPlan | None:
        work = self.work
        return work.warm if work.directory is None else work.breeding.target.read_warm_start(self.problem.model)

    def _evaluator(self, job: Job) -> MaskEvaluator:
        stage: MaskStage = job.stage
        if stage not in self.evaluators:
            self.evaluators.clear()  # they share one network: only the last one is valid
            self.evaluators[stage] = self.work.evaluator(self.problem, self.context, self._state(job), stage)
        return self.evaluators[stage]

    def _state(self, job: Job) -> State:
        digest, folder = job.stage.state, self.work.directory
        if digest not in self.states:
            self.states.clear()
            self.states[digest] = (
                read_state(job.files[digest], digest, digest) if folder is None else StateFolder(folder).get(digest)
            )
        return self.states[digest]
