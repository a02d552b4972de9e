"""What workers of a mask run do: score a candidate, or evolve the masks of a layer on their own."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch

from evoprune.errors import CandidateError, RunError
from evoprune.evaluation.evaluate_masks import MaskBench, evaluate_masks
from evoprune.events import ignore
from evoprune.execution.base import Found, Job, JobFunction, Outcome
from evoprune.execution.in_process import InProcessExecutor
from evoprune.mask_plan import MaskPlan
from evoprune.objectives.fitness import MaskFitness
from evoprune.pruning.encodings.mask_space import MaskSpace, UnitBits
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.assemble import build_search, place
from evoprune.run.config import Config
from evoprune.run.journal import JournalEntry, MemoryJournal
from evoprune.run.loop import SearchEnd, run_search
from evoprune.run.mask_measures import costs_of
from evoprune.run.mask_stage import (
    POLISH,
    MaskStage,
    build_mask_bench,
    build_mask_encoding,
    build_space,
    first_genomes,
)
from evoprune.run.mask_warm_start import read_warm_start, warm_bits
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.states import State, StateFolder, read_state
from evoprune.run.stop_rules import Progress
from evoprune.run.yardstick import Yardstick, merit
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class MaskWork:
    """Everything that the jobs of a mask run need: a picklable recipe for a worker.

    Attributes:
        config: The run's configuration.
        source: Where model and task come from.
        directory: The run directory, whose states are read; None where they come with the jobs.
        baseline: The dense network's value of each measure.
        device: Name of the device candidates run on.
        warm: What `masks.warm_start` names, where the directory is None.
    """

    config: Config
    source: ProblemSource
    directory: Path | None
    baseline: Mapping[str, float]
    device: str
    warm: MaskPlan | None = None

    def __call__(self) -> JobFunction:
        """Set up a worker here, and return the function that does its jobs."""
        problem = self.source.load()
        place(problem.model, self.config, torch.device(self.device))
        return _Worker(self, problem).do

    def portable(self) -> MaskWork:
        """The same work with network, data and masks to begin with within; states come with the jobs."""
        problem = self.source.load()
        warm = read_warm_start(self.config, problem.model)
        return replace(self, source=LiveSource(problem), directory=None, warm=warm)

    def files(self, job: Job) -> Mapping[str, Path]:
        """The state that the job begins with, by its digest."""
        digest = job.stage.state
        return {} if self.directory is None else {digest: StateFolder(self.directory).path(digest)}


@dataclass
class _Worker:
    work: MaskWork
    problem: Problem
    states: dict[str, State] = field(default_factory=dict)
    benches: dict[MaskStage, MaskBench] = field(default_factory=dict)

    def do(self, job: Job) -> Outcome:
        """Score the job's genome, or search from it."""
        stage: MaskStage = job.stage
        bench = self._bench(job)
        if stage.alone:
            warm = warm_bits(self.work.config, bench.model, self._warm, stage.names)
            return evolve_alone(self.work.config, bench, self._state(job), job, warm)
        evaluation, cost = evaluate_masks(bench, job.genome, job.rung)
        return Outcome(job, evaluation, cost)

    @cached_property
    def _warm(self) -> MaskPlan | None:
        work = self.work
        return work.warm if work.directory is None else read_warm_start(work.config, self.problem.model)

    def _bench(self, job: Job) -> MaskBench:
        stage: MaskStage = job.stage
        if stage not in self.benches:
            self.benches.clear()  # they share one network: only the last one is valid
            work = self.work
            self.benches[stage] = build_mask_bench(
                work.config, self.problem, self._state(job), stage, work.baseline, torch.device(work.device)
            )
        return self.benches[stage]

    def _state(self, job: Job) -> State:
        digest, folder = job.stage.state, self.work.directory
        if digest not in self.states:
            self.states.clear()
            self.states[digest] = (
                read_state(job.files[digest], digest, digest) if folder is None else StateFolder(folder).get(digest)
            )
        return self.states[digest]


def evolve_alone(config: Config, bench: MaskBench, state: State, job: Job, warm: Sequence[UnitBits] = ()) -> Outcome:
    """The whole search of a stage as one job, single bits last where asked; its own candidates are journalled as its history.

    Args:
        config: The run's settings.
        bench: Of the job's stage.
        state: What the search begins with.
        job: Whose genome is not looked at.
        warm: Solutions to begin with.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    stage: MaskStage = job.stage
    space = build_space(config, bench.model, state, stage.names, stage.kept)
    histories: list[_History] = []
    try:
        end = _phase(config, bench, space, stage, config.ga.num_generations, warm, histories)
        if final_encoding(config) != stage.encoding and end.best is not None:
            found = bench.encoding.bits_of(end.best.genome)
            stage = replace(stage, encoding=final_encoding(config))
            bench = replace(bench, encoding=build_mask_encoding(stage.encoding, space))
            end = _phase(config, bench, space, stage, config.masks.polish_generations, [found], histories)
        best, reason = end.best, "no candidate could be scored"
    except (CandidateError, RunError) as error:
        best, reason = None, error.message
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, bench.training_batch.size, os.getpid())
    if best is None:
        return Outcome(job, Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=reason), cost)
    rows = [row for history in histories for row in history.by_generation()]
    history = tuple({**row, "generation": number} for number, row in enumerate(rows))
    return Outcome(job, best.entry.evaluation, cost, Found(best.genome, best.entry.fitness or 0.0, history))


def _phase(
    config: Config,
    bench: MaskBench,
    space: MaskSpace,
    stage: MaskStage,
    generations: int,
    first: Sequence[UnitBits],
    histories: list[_History],
) -> SearchEnd:
    """One search in this process, whose candidates go to a history of its own."""
    # The encoding enters the seed only of a search that follows another one of the same weights.
    place = stage.names if not histories else (*stage.names, stage.encoding)
    seeds = SeedTree(config.run.seed).child("alone", stage.step, *place)
    histories.append(_History(config, bench.baseline))
    return run_search(
        build_search(config, bench.encoding, seeds, first_genomes(bench.encoding, space, first)),
        InProcessExecutor(
            lambda: lambda one: Outcome(one, *evaluate_masks(bench, one.genome, one.rung)),
            workers=1,
            threads=torch.get_num_threads(),
            notify=ignore,
        ),
        histories[-1],
        generations=generations,
        yardstick=mask_yardstick(config),
        may_go_on=histories[-1].may_go_on,
        notify=ignore,
        enough=lambda entry: sparse_enough(config, entry.evaluation.objectives["layer_sparsity"]),
    )


def final_encoding(config: Config) -> str:
    """What the genome stands for that a layer's search of its own ends with: single bits where it is polished."""
    return POLISH if config.masks.polish_generations else config.search.encoding


def mask_yardstick(config: Config) -> Yardstick:
    """What mask candidates are worth."""
    fitness = MaskFitness(config.fitness.w_acc, config.fitness.w_sparsity, config.fitness.w_loss)
    searched = config.search.objectives
    return Yardstick(
        lambda evaluation: fitness(evaluation.objectives),
        lambda evaluation: costs_of(evaluation, searched),
        len(searched),
    )


def sparse_enough(config: Config, sparsity: float) -> bool:
    """Whether the target sparsity is reached, where there is one."""
    target = config.masks.target_sparsity
    return target is not None and sparsity >= target


class _History(MemoryJournal):
    def __init__(self, config: Config, baseline: Mapping[str, float]) -> None:
        super().__init__()
        self._progress = Progress(config, baseline)

    def append(self, entry: JournalEntry) -> None:
        """Keep the entry."""
        super().append(entry)
        self._progress.take([entry])

    def may_go_on(self, generation: int) -> bool:
        """Whether the search has neither stalled nor reached its target."""
        del generation
        return not self._progress.verdict()

    def by_generation(self) -> Sequence[Mapping[str, float]]:
        """The best so far at the end of each generation, with the sparsity of the weights that are searched."""
        best: JournalEntry | None = None
        rows: dict[int, Mapping[str, float]] = {}
        for entry in self.entries:
            if entry.fitness is not None and (best is None or merit(entry) > merit(best)):
                best = entry
            if best is not None:
                measured = best.evaluation.objectives
                rows[entry.generation] = {
                    "generation": entry.generation,
                    "fitness": best.fitness or 0.0,
                    **measured,
                    "sparsity": measured["layer_sparsity"],
                }
        return list(rows.values())
