"""What workers of a channel run do: build, train and score candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.encoding import Encoding, EncodingFactory
from evoprune.channels.latency.objective import predicted
from evoprune.channels.orders import Orders
from evoprune.data.trees import moved
from evoprune.data.used_outputs import EVERYTHING, UsedOutputs
from evoprune.evaluation.base import Bounds, evaluate
from evoprune.evaluation.channels import ChannelEvaluator
from evoprune.evaluation.inheritance import Trained, read_trained, trained_bytes
from evoprune.evaluation.recovery import Fidelity
from evoprune.execution.base import Job, JobFunction, Outcome
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.layouts import arranged
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.objectives.constraint import Constraint
from evoprune.plugins import resolve
from evoprune.results import Status
from evoprune.run.measures import Wanted, choose_measures
from evoprune.run.planned_budget import planned_budget, planned_costs
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.training_plan import TrainingPlan
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.seeding import SeedTree
from evoprune.space.budget import Budget
from evoprune.space.chosen_layers import only_layers
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.states import StateFolder, checked_state

STEP: Final = "round_to"
"""What kept widths are multiples of in a run, under this key in its manifest: a budget may ask for less than the settings say."""


@dataclass(frozen=True)
class ChannelTarget:
    """Which channels a run may prune, and what a genome means.

    Attributes:
        encoding_name: Name of the encoding.
        layers: Names of layers, or patterns; None: all.
        exclude: Names or patterns of what stays as it is.
        layer_types: Layers whose units get a bit; None: all.
        round_to: Kept widths are multiples of this.
        constraints: Bounds on objectives; what can be predicted of them, genomes keep by construction.
        outputs: What is used of the network's outputs; what the task says where that is everything.
    """

    encoding_name: str
    layers: tuple[str, ...] | None
    exclude: tuple[str, ...]
    layer_types: tuple[str, ...] | None
    round_to: int
    constraints: tuple[Constraint, ...] = ()
    outputs: UsedOutputs = EVERYTHING

    def space(self, model: nn.Module, problem: Problem, *, self_check: bool = True) -> PruningSpace:
        """What the run may prune from `model`, the dense network of `problem`: the same at every call.

        Raises:
            UnsupportedModelError: The model can't be analysed.
            UsageError: Layers to prune or to exclude name nothing, or what can't be pruned; what is used of the outputs isn't
                there.
        """
        used = problem.task.outputs if self.outputs.everything else self.outputs
        space = analyze(model, problem.example_inputs, exclude=self.exclude, outputs=used, self_check=self_check)
        return space if self.layers is None else only_layers(space, model, self.layers)

    def budget(
        self, space: PruningSpace, latencies: Mapping[str, LatencyTable], model: nn.Module | None = None
    ) -> Budget:
        """The bounds that genomes keep by construction.

        Args:
            space: Pruning space of the model.
            latencies: Latency tables, by the names of objectives.
            model: The dense network, which bounds on bytes need.
        """
        dense = {name: table.predicted_dense_ms for name, table in latencies.items()}
        return planned_budget(self.constraints, space, planned_costs(space, latencies, model), dense)

    def encoding(
        self,
        space: PruningSpace,
        orders: Orders | None = None,
        latencies: Mapping[str, LatencyTable] | None = None,
        model: nn.Module | None = None,
    ) -> Encoding:
        """The encoding by name, over the layers of its types.

        Args:
            space: Pruning space of the model.
            orders: Order of the units by several criteria; None before the network is trained.
            latencies: Latency tables, by the names of objectives; None before they are measured.
            model: The dense network, which bounds on bytes need.

        Raises:
            UsageError: No choice keeps the bounds.
        """
        factory: EncodingFactory = resolve("encodings", self.encoding_name)
        budget = self.budget(space, latencies or {}, model)
        return factory(space, layer_types=self.layer_types, round_to=self.round_to, budget=budget, orders=orders)


@dataclass(frozen=True)
class CandidateWork:
    """Everything that candidates of a run need: a picklable recipe for an evaluator.

    Attributes:
        encoding: Says what a genome means.
        wanted: Measures of candidates.
        constraints: Bounds on objectives.
        training: Training of candidates, and the data that they are scored on.
        workplace: Device, threads and layout of candidates.
        source: Gives model and task.
        weights: The trained baseline's safetensors file; None where the source's network has them already.
        samples: Samples in the example inputs.
        baseline: The dense network's value of each objective.
        seeds: Root of the run's seeds.
        rungs: Training of candidates by fidelity; the one of `training` when empty.
        states: The run directory, whose states candidates go on from; None where nobody does, and where they come with the jobs.
        inherited: Whether trained weights are given back, for others to go on from.
        latencies: Latency tables, by the names of the objectives that they stand for.
    """

    encoding: Encoding
    wanted: Wanted
    constraints: tuple[Constraint, ...]
    training: TrainingPlan
    workplace: Workplace
    source: ProblemSource
    weights: Path | None
    samples: int
    baseline: Mapping[str, float]
    seeds: SeedTree
    rungs: tuple[Fidelity, ...] = ()
    states: Path | None = None
    inherited: bool = False
    latencies: Mapping[str, LatencyTable] = field(default_factory=dict)

    def __call__(self) -> JobFunction:
        """Set up an evaluator here, and return the function that does jobs with it."""
        return Candidates(self.evaluator(), self.workplace, self.states, self.inherited)

    def evaluator(self) -> ChannelEvaluator:
        """An evaluator around the trained baseline."""
        problem, device = self._trained(), self.workplace.device
        return ChannelEvaluator(
            model=self.workplace.place(problem.model),
            task=problem.task,
            example_inputs=moved(problem.example_inputs, device),
            encoding=self.encoding,
            fidelities=self.rungs or [self.training.fidelity(problem.task.train)],
            objectives=predicted(choose_measures(self.wanted, problem.task.card).measured, self.latencies),
            bounds=Bounds(self.constraints, self.baseline),
            seeds=self.seeds.child("candidate"),
            device=device,
            training_batch=MicroBatch(None, stage="fine-tuning a candidate"),
            scoring_batch=MicroBatch(SCORING_BATCH, stage="scoring a candidate"),
            samples=self.samples,
        )

    def portable(self) -> CandidateWork:
        """The same work with model and data within."""
        return replace(self, source=LiveSource(self._trained()), weights=None, states=None)

    def files(self, job: Job) -> Mapping[str, Path]:
        """The state that the job begins with, by its digest."""
        if self.states is None or job.start is None:
            return {}
        return {job.start.state: StateFolder(self.states).path(job.start.state)}

    def _trained(self) -> Problem:
        problem = self.source.load()
        if self.weights is not None:
            put_weights(problem.model, read_weights(self.weights), str(self.weights))
        return problem


@dataclass(frozen=True)
class Candidates:
    """Does jobs with an evaluator, whose network is in the workplace's layout.

    Attributes:
        evaluator: Builds, trains and scores candidates.
        workplace: Says which layout that is.
        states: The run directory; None where states come with the jobs.
        inherited: Whether trained weights are given back.
    """

    evaluator: ChannelEvaluator
    workplace: Workplace
    states: Path | None = None
    inherited: bool = False

    def __call__(self, job: Job) -> Outcome:
        """The outcome of a job; a careful one's is computed in the plain layout."""
        evaluator = self.evaluator
        if job.careful:
            evaluator = replace(evaluator, model=arranged(clone(evaluator.model), channels_last=False))
        trained: list[nn.Module] = []
        evaluator = replace(evaluator, start=self._start(job), keep=trained.append)
        evaluation, cost = evaluate(evaluator, job.genome, job.rung)
        kept = trained_bytes(trained[-1]) if self.inherited and evaluation.status is Status.OK else None
        return Outcome(job, evaluation, cost, trained=kept)

    def _start(self, job: Job) -> Trained | None:
        if job.start is None:
            return None
        digest = job.start.state
        content = (
            checked_state(job.files[digest], digest, digest)
            if self.states is None
            else StateFolder(self.states).get_bytes(digest)
        )
        return read_trained(content, self.evaluator.encoding.decode(job.start.genome), f"state {digest}")

    def describe(self, job: Job) -> str:
        """Widths and layout."""
        widths = ", ".join(f"{name} {width}" for name, width in self.evaluator.encoding.widths(job.genome).items())
        return f"{widths}; {'plain layout' if job.careful else self.workplace.layout}"
