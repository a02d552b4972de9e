"""A whole run: data, baseline, space, search, final model, comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evoprune.errors import StoreCorruptedError
from evoprune.events import (
    BatchHalved,
    CandidateEvaluated,
    Event,
    Listener,
    RunEnded,
    RunStarted,
    SpaceAnalyzed,
    broadcast,
)
from evoprune.execution.threads import torch_threads
from evoprune.objectives.base import Subject
from evoprune.objectives.fitness import WeightedFitness
from evoprune.pruning.checked import analyze
from evoprune.run.artifacts import save_artifact
from evoprune.run.assemble import (
    SCORING_BATCH,
    CandidateWork,
    build_encoding,
    build_objectives,
    build_search,
    check_names,
    resolve_workers,
    searched_objectives,
)
from evoprune.run.config import Config
from evoprune.run.event_log import EventLog
from evoprune.run.files import read_json, telling_of_full_disk
from evoprune.run.finish import retrain
from evoprune.run.front import best_of, costs_of, front_document, front_of
from evoprune.run.judging import Judge, known_factory
from evoprune.run.mask_run import MaskRun
from evoprune.run.opening import open_problem, pin_problem
from evoprune.run.placement import at_a_time, build_executor
from evoprune.run.presets import is_mask_run
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.search_loop import check_loop, search_loop
from evoprune.run.stop_rules import StopRules
from evoprune.run.stopwatch import cpu_seconds, stage
from evoprune.run.store import ARTIFACT, BASELINE, COMPARISON, EVENTS, RunStore
from evoprune.run.time_budget import TimeBudget
from evoprune.run.yardstick import Yardstick
from evoprune.seeding import SeedTree
from evoprune.space.base import Encoding
from evoprune.space.pruning_space import PruningSpace


def execute(
    config: Config, source: ProblemSource, directory: Path, listeners: tuple[Listener, ...] = ()
) -> Mapping[str, Any]:
    """Run to the end, or go on where an earlier process stopped; a finished run is left as it is.

    Args:
        config: Complete configuration.
        source: Model, task and example inputs.
        directory: The run directory.
        listeners: Told of everything that happens.

    Returns:
        The document of `comparison.json`.

    Raises:
        UsageError: Something the user gave can't be used; nothing of an earlier run was changed.
        RunError: The run stopped and can be resumed.
    """
    check_names(config)
    check_loop(config)
    with telling_of_full_disk(directory), RunStore(directory, config.identity(), config.to_yaml()) as store:
        if store.done:
            if isinstance(source, LiveSource):
                # A recipe is named in the settings; a live problem is known by its digests alone.
                pin_problem(store, source.load())
            return read_json(directory / COMPARISON)
        with EventLog(directory / EVENTS) as log:
            notify = broadcast([log, *listeners])
            budget = TimeBudget(config.run.time_budget, time.perf_counter(), store, notify)
            kind = MaskRun if is_mask_run(config) else _Run
            return kind(config, source, store, broadcast([budget.watch, notify]), budget).execute()


@dataclass(frozen=True)
class _Prepared:
    """What the search and the final model start from.

    Attributes:
        problem: With the trained network, in eval mode on the device.
        space: What may be pruned.
        encoding: From genomes to plans.
        baseline: The dense network's value of each objective, on select where it depends on data.
        device: Where the work is done.
    """

    problem: Problem
    space: PruningSpace
    encoding: Encoding
    baseline: Mapping[str, float]
    device: torch.device


@dataclass(frozen=True)
class _Run:
    config: Config
    source: ProblemSource
    store: RunStore
    notify: Listener
    time_budget: TimeBudget

    def execute(self) -> Mapping[str, Any]:
        wall, cpu = time.perf_counter(), cpu_seconds()
        directory = str(self.store.directory)
        self.notify(RunStarted(directory, len(self.store.journal.entries)))
        prepared = self._prepare()
        self._search(prepared)
        comparison = self._finish(prepared)
        self.store.remember("status", "done")
        self.notify(RunEnded(directory, time.perf_counter() - wall, cpu_seconds() - cpu))
        return comparison

    def _prepare(self) -> _Prepared:
        config, store = self.config, self.store
        problem, device = open_problem(config, self.source, store, self.notify)
        with stage("analysis", self.notify):
            space = analyze(problem.model, problem.example_inputs)
            store.pin("space", space.fingerprint)
            encoding = build_encoding(config, space)
            self.notify(SpaceAnalyzed(encoding.length, len(encoding.segments), len(space.frozen)))
            baseline = self._dense_figures(problem, device)
            store.remember("dense", baseline)
        return _Prepared(problem, space, encoding, baseline, device)

    def _dense_figures(self, problem: Problem, device: torch.device) -> dict[str, float]:
        """The dense network's value of each objective, on the samples and with the threads that candidates are scored with."""
        select, samples = problem.task.select, self.config.fidelity.select_samples
        data = select if samples is None else select.head(samples)
        subject = Subject(problem.model, problem.example_inputs, data, problem.task.metric, device, SCORING_BATCH)
        with torch_threads(self.config.execution.candidate_threads):
            return {one.name: one.measure(subject) for one in build_objectives(self.config)}

    def _search(self, prepared: _Prepared) -> None:
        config = self.config
        workers = resolve_workers(config, prepared.device)
        work = CandidateWork(
            config,
            self.source,
            (self.store.directory / BASELINE).resolve(),
            prepared.space,
            prepared.baseline,
            str(prepared.device),
        )
        objectives = searched_objectives(config)
        fitness = WeightedFitness(config.fitness.w_acc, config.fitness.w_macs, prepared.baseline["macs"])
        rules = StopRules(config, self.store.journal, prepared.baseline, self.time_budget, self.notify)
        notify = _noticing_small_batches(
            config.training.finetune_batch_size or config.training.batch_size, broadcast([rules.watch, self.notify])
        )
        # The stage ends after the executor is closed, so that the CPU time of worker processes counts.
        with (
            stage("search", self.notify, at_a_time(workers, "candidates")),
            closing(build_executor(config, work, workers, notify)) as executor,
        ):
            search_loop(config)(
                build_search(config, prepared.encoding, SeedTree(config.run.seed)),
                executor,
                self.store.journal,
                generations=config.ga.num_generations,
                yardstick=Yardstick(
                    lambda evaluation: fitness(evaluation.objectives),
                    lambda evaluation: costs_of(evaluation, objectives),
                    len(objectives),
                ),
                may_go_on=rules,
                notify=notify,
                most=config.run.max_candidates,
            )

    def _finish(self, prepared: _Prepared) -> Mapping[str, Any]:
        config, problem, device = self.config, prepared.problem, prepared.device
        entries = self.store.journal.entries
        best = best_of(entries)
        if best.genome is None:
            raise StoreCorruptedError(
                f"evaluation {best.index} of the journal has no bits", "restore the file from a copy"
            )
        plan = prepared.encoding.decode(best.genome)
        with stage("retrain", self.notify, f"candidate {best.index} at {best.evaluation.objectives['macs']:,.0f} MACs"):
            model = retrain(problem, plan, best.evaluation.genome, config, device, self.time_budget, self.notify)
        with stage("report", self.notify):
            finished = Judge(config, self.store).reports({"baseline": problem.model, "pruned": model}, problem, device)
            save_artifact(
                self.store.directory / ARTIFACT,
                model,
                plan,
                factory=known_factory(problem, self.notify),
                task=problem.task,
            )
            comparison = {
                "baseline": finished["baseline"].to_json(),
                "pruned": {"genome": best.evaluation.genome, **finished["pruned"].to_json()},
                "front": front_document(front_of(entries, searched_objectives(config))),
            }
            self.store.write_json(COMPARISON, comparison)
        return comparison


def _noticing_small_batches(batch_size: int, notify: Listener) -> Listener:
    """Say once when a worker, wherever it is, had to train with smaller batches."""
    smallest = batch_size

    def watch(event: Event) -> None:
        nonlocal smallest
        if isinstance(event, CandidateEvaluated) and event.cost is not None and 0 < event.cost.micro_batch < smallest:
            smallest = event.cost.micro_batch
            notify(BatchHalved("fine-tuning candidates", smallest))
        notify(event)

    return watch
