"""What workers of an inheriting population do: take a member one step further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from torch import nn

from evoprune.data.trees import moved
from evoprune.evaluation.base import Bounds, evaluate
from evoprune.evaluation.members import MemberEvaluator
from evoprune.evaluation.teacher import Teacher
from evoprune.evaluation.training import Schedule
from evoprune.execution.base import Job, JobFunction, Outcome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.member_genes import MemberGenes, MemberSpace
from evoprune.masks.member_keys import member_keys
from evoprune.masks.regrowth import choose_with_regrowth
from evoprune.masks.weight_scores import fisher_diagonal
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.layouts import arranged
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.prune_hooks import effective_parameters
from evoprune.nn_utils.weights import put_weights, weights_of
from evoprune.run.mask_breeding import MaskBreeding
from evoprune.run.mask_context import MaskContext
from evoprune.run.mask_training import FISHER_BATCH, MaskTraining
from evoprune.run.measures import choose_measures
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.training_plan import TrainingPlan
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.seeding import SeedTree
from evoprune.store.states import State, StateFolder, read_state


@dataclass(frozen=True)
class MemberStage:
    """What one step of a member is about.

    Attributes:
        step: Position in the run's schedule.
        state: Digest of the state that the member goes on from.
        dense: Digest of the state of the dense network, from which it may learn.
        names: Weights that may be pruned.
        kept: Number of them that stay.
        between: Whether the step's goal is one between two of the configured ones.
    """

    step: int
    state: str
    dense: str
    names: tuple[str, ...]
    kept: int
    between: bool


@dataclass(frozen=True)
class MemberWork:
    """Everything that the jobs of a population need: a picklable recipe for a worker.

    Attributes:
        breeding: Says which weights may go, and what is measured.
        retraining: Says how long and from whom members learn.
        training: Way of learning, and the data that members are scored on.
        workplace: Device, threads and layout.
        source: Gives model and task.
        directory: The run directory, whose states are read; None where they come with the jobs.
        baseline: The dense network's value of each measure.
        seeds: Root of the run's seeds.
    """

    breeding: MaskBreeding
    retraining: MaskTraining
    training: TrainingPlan
    workplace: Workplace
    source: ProblemSource
    directory: Path | None
    baseline: Mapping[str, float]
    seeds: SeedTree

    def __call__(self) -> JobFunction:
        """Set up a worker here, and return the function that does its jobs."""
        problem = self.source.load()
        self.workplace.place(problem.model)
        return _Worker(self, problem, self.breeding.target.of(problem.model))

    def portable(self) -> MemberWork:
        """The same work with network and data within; states come with the jobs."""
        return replace(self, source=LiveSource(self.source.load()), directory=None)

    def files(self, job: Job) -> Mapping[str, Path]:
        """The states that the job needs, by digest."""
        if self.directory is None:
            return {}
        folder, stage = StateFolder(self.directory), job.stage
        return {digest: folder.path(digest) for digest in (stage.state, stage.dense)}


@dataclass
class _Worker:
    work: MemberWork
    problem: Problem
    context: MaskContext

    def __call__(self, job: Job) -> Outcome:
        """Train and score a member; a careful job's network is in the plain layout."""
        channels_last = self.work.workplace.channels_last is True
        arranged(self.problem.model, channels_last=channels_last and not job.careful)
        try:
            return self._do(job)
        finally:
            arranged(self.problem.model, channels_last=channels_last)

    def describe(self, job: Job) -> str:
        """The step, and the layout."""
        layout = "plain layout" if job.careful else self.work.workplace.layout
        return f"a member in step {job.stage.step}; {layout}"

    def _do(self, job: Job) -> Outcome:
        evaluator = self._evaluator(job)
        evaluation, cost = evaluate(evaluator, job.genome, job.rung)
        state = None
        if evaluation.objectives and evaluator.trained is not None:
            network, plan = evaluator.trained
            (alive,) = self.context.warm_bits(plan, job.stage.names)
            state = State(weights_of(network), alive, {}).to_bytes()
        return Outcome(job, evaluation, cost, trained=state)

    def _evaluator(self, job: Job) -> MemberEvaluator:
        work, task, stage, device = self.work, self.problem.task, job.stage, self.work.workplace.device
        start = self._state(job, stage.state)
        model = self._network(start, stage.state)
        teacher = None
        if work.retraining.distill:
            dense = self._network(self._state(job, stage.dense), stage.dense)
            teacher = Teacher(dense, work.retraining.distill, work.retraining.distill_temperature)
        return MemberEvaluator(
            model=model,
            task=task,
            example_inputs=moved(self.problem.example_inputs, device),
            data=work.training.scored(task),
            genes=MemberSpace(stage.names, work.retraining.distill > 0, work.retraining.regrow > 0),
            plan_of=lambda genes: self._plan(model, start, stage, genes),
            schedule_of=lambda genes: self._schedule(stage, genes),
            teacher=teacher,
            objectives=choose_measures(work.breeding.wanted, task.card).known_to(work.baseline),
            bounds=Bounds(work.breeding.constraints, work.baseline),
            seeds=work.seeds.child("retrain", "masks", stage.step),
            device=device,
            training_batch=MicroBatch(None, stage="training a member"),
            scoring_batch=MicroBatch(SCORING_BATCH, stage="scoring a member"),
        )

    def _plan(self, model: nn.Module, start: State, stage: MemberStage, genes: MemberGenes) -> MaskPlan:
        """Masks of the highest keys of what is alive, by the gradients of the network that the member goes on from."""
        task, named = self.problem.task, effective_parameters(model)
        seed = self.work.seeds.child("fisher", stage.step).seed
        batches = task.train.batches(FISHER_BATCH, device=self.work.workplace.device, seed=seed)
        count = -(-self.work.retraining.fisher_samples // FISHER_BATCH)
        fisher = fisher_diagonal(model, stage.names, islice(batches, count), task.loss)
        keys = member_keys({name: named[name] for name in stage.names}, fisher, genes)
        space = self.context.space(start, stage.names, stage.kept)
        units = self.context.units_of(keys)
        if not genes.regrows:
            return space.plan(space.choose(units))
        growth = self.context.units_of({name: values.float().cpu().numpy() for name, values in fisher.items()})
        bits = choose_with_regrowth(space, units, growth, self.work.retraining.regrow)
        return replace(space, alive=bits).plan(bits)

    def _schedule(self, stage: MemberStage, genes: MemberGenes) -> Schedule:
        learning, retraining = self.work.training.retraining, self.work.retraining
        epochs = retraining.between_epochs if stage.between else retraining.retrain_epochs
        return replace(learning, lr=learning.lr * genes.rate).over(self.problem.task.train, epochs)

    def _network(self, state: State, digest: str) -> nn.Module:
        """A copy of the network with the weights of a state."""
        network: nn.Module = clone(self.problem.model)
        put_weights(network, dict(state.weights), f"state {digest}")
        return network.eval()

    def _state(self, job: Job, digest: str) -> State:
        if self.work.directory is not None:
            return StateFolder(self.work.directory).get(digest)
        return read_state(job.files[digest], digest, digest)
