"""What workers of a mask run do: score a candidate, or evolve the masks of a layer on their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from evoprune.errors import CandidateError
from evoprune.evaluation.evaluate_masks import MaskBench, evaluate_masks
from evoprune.events import ignore
from evoprune.execution.base import Found, Job, JobFunction, Outcome
from evoprune.execution.in_process import InProcessExecutor
from evoprune.objectives.fitness import MaskFitness
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.assemble import build_search, place
from evoprune.run.config import Config
from evoprune.run.journal import JournalEntry, MemoryJournal
from evoprune.run.loop import run_search
from evoprune.run.mask_measures import costs_of
from evoprune.run.mask_stage import MaskStage, build_mask_bench, build_space, first_genomes
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.states import State, StateFolder
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class MaskWork:
    """Everything that the jobs of a mask run need: a picklable recipe for a worker.

    Attributes:
        config: The run's configuration.
        source: Where model and task come from.
        directory: The run directory, whose states are read.
        baseline: The dense network's value of each measure.
        device: Name of the device candidates run on.
    """

    config: Config
    source: ProblemSource
    directory: Path
    baseline: Mapping[str, float]
    device: str

    def __call__(self) -> JobFunction:
        """Set up a worker here, and return the function that does its jobs."""
        problem = self.source.load()
        place(problem.model, self.config, torch.device(self.device))
        return _Worker(self, problem).do


@dataclass
class _Worker:
    work: MaskWork
    problem: Problem
    states: dict[str, State] = field(default_factory=dict)
    benches: dict[MaskStage, MaskBench] = field(default_factory=dict)

    def do(self, job: Job) -> Outcome:
        """Score the job's genome, or search from it."""
        stage: MaskStage = job.stage
        bench = self._bench(stage)
        if stage.alone:
            return evolve_alone(self.work.config, bench, self._state(stage.state), job)
        evaluation, cost = evaluate_masks(bench, job.genome, job.rung)
        return Outcome(job, evaluation, cost)

    def _bench(self, stage: MaskStage) -> MaskBench:
        if stage not in self.benches:
            self.benches.clear()  # they share one network: only the last one is valid
            work = self.work
            self.benches[stage] = build_mask_bench(
                work.config, self.problem, self._state(stage.state), stage, work.baseline, torch.device(work.device)
            )
        return self.benches[stage]

    def _state(self, digest: str) -> State:
        if digest not in self.states:
            self.states.clear()
            self.states[digest] = StateFolder(self.work.directory).get(digest)
        return self.states[digest]


def evolve_alone(config: Config, bench: MaskBench, state: State, job: Job) -> Outcome:
    """The whole search of a stage as one job; its own candidates are journalled as its history."""
    wall, cpu = time.perf_counter(), time.process_time()
    stage: MaskStage = job.stage
    space = build_space(config, bench.model, state, stage.names, stage.kept)
    seeds = SeedTree(config.run.seed).child("alone", stage.step, *stage.names)
    fitness = mask_fitness(config)
    history = _History()
    executor = InProcessExecutor(
        lambda: lambda one: Outcome(one, *evaluate_masks(bench, one.genome, one.rung)),
        workers=1,
        threads=torch.get_num_threads(),
        notify=ignore,
    )
    try:
        end = run_search(
            build_search(config, bench.encoding, seeds, first_genomes(bench.encoding, space)),
            executor,
            history,
            generations=config.ga.num_generations,
            fitness_of=lambda evaluation: fitness(evaluation.objectives),
            costs_of=lambda evaluation: costs_of(evaluation, config.search.objectives),
            objectives=len(config.search.objectives),
            may_go_on=lambda _: True,
            notify=ignore,
            enough=lambda entry: sparse_enough(config, entry.evaluation.objectives["layer_sparsity"]),
        )
    except CandidateError as error:
        end = None
        reason = str(error)
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, bench.training_batch.size, os.getpid())
    if end is None or end.best is None:
        reason = reason if end is None else "no candidate could be scored"
        return Outcome(job, Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=reason), cost)
    best = end.best
    found = Found(best.genome, best.entry.fitness or 0.0, tuple(history.by_generation()))
    return Outcome(job, best.entry.evaluation, cost, found)


def mask_fitness(config: Config) -> MaskFitness:
    """The one number of a mask candidate."""
    return MaskFitness(config.fitness.w_acc, config.fitness.w_sparsity, config.fitness.w_loss)


def sparse_enough(config: Config, sparsity: float) -> bool:
    """Whether the target sparsity is reached, where there is one."""
    target = config.masks.target_sparsity
    return target is not None and sparsity >= target


class _History(MemoryJournal):
    def by_generation(self) -> Sequence[Mapping[str, float]]:
        """The best so far at the end of each generation."""
        best: JournalEntry | None = None
        rows: dict[int, Mapping[str, float]] = {}
        for entry in self.entries:
            if entry.fitness is not None and (best is None or best.fitness is None or entry.fitness > best.fitness):
                best = entry
            if best is not None:
                rows[entry.generation] = {
                    "generation": entry.generation,
                    "fitness": best.fitness or 0.0,
                    **best.evaluation.objectives,
                }
        return list(rows.values())
