"""A run that prunes single weights: step by step evolve masks, retrain with them held, keep what is found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import nn

from evoprune.artifact import put_weights, read_weights, weights_of
from evoprune.errors import RunError
from evoprune.events import Decision, Listener, RunEnded, RunStarted, SpaceAnalyzed, broadcast
from evoprune.pruning.cloning import clone
from evoprune.pruning.maskable import MaskableWeight
from evoprune.pruning.weight_masks import apply_masks
from evoprune.run.artifacts import save_artifact
from evoprune.run.assemble import place, resolve_workers
from evoprune.run.config import Config
from evoprune.run.judging import Judge, known_factory
from evoprune.run.mask_checks import check_network
from evoprune.run.mask_figures import Figures
from evoprune.run.mask_measures import check_measured
from evoprune.run.mask_records import StepRecord, StepRecords
from evoprune.run.mask_report import comparison_of, layer_sparsities
from evoprune.run.mask_schedule import Step, schedule
from evoprune.run.mask_search import MaskSearches
from evoprune.run.mask_stage import build_space, everything_alive, prunable_weights
from evoprune.run.mask_training import importance_orders, retrain_masked
from evoprune.run.mask_work import MaskWork, sparse_enough
from evoprune.run.opening import open_problem
from evoprune.run.placement import at_a_time, build_executor
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.solutions import write_solution
from evoprune.run.states import State, StateFolder
from evoprune.run.stop_rules import StopRules
from evoprune.run.stopwatch import cpu_seconds, stage
from evoprune.run.store import ARTIFACT, BASELINE, COMPARISON, RunStore
from evoprune.run.time_budget import TimeBudget

SOLUTIONS: Final = "solutions"


@dataclass(frozen=True)
class MaskRun:
    """One run of weight masks.

    Attributes:
        config: Complete configuration.
        source: Model, task and example inputs.
        store: The run directory.
        notify: Told of everything that happens.
        time_budget: Of the whole run.
    """

    config: Config
    source: ProblemSource
    store: RunStore
    notify: Listener
    time_budget: TimeBudget

    def execute(self) -> Mapping[str, Any]:
        """Run to the end, or go on where an earlier process stopped."""
        wall, cpu = time.perf_counter(), cpu_seconds()
        directory = str(self.store.directory)
        self.notify(RunStarted(directory, len(self.store.journal.entries)))
        problem, device = open_problem(
            self.config,
            self.source,
            self.store,
            self.notify,
            lambda problem: check_network(self.config, problem, self.store),
        )
        # In the layout that workers use: kernels may differ in the last bits.
        place(problem.model, self.config, device)
        weights = prunable_weights(self.config, problem.model)
        self.notify(SpaceAnalyzed(sum(weight.size for weight in weights), len(weights), 0))
        last = self._evolve(problem, weights, device)
        comparison = self._finish(problem, weights, last, device)
        self.store.remember("status", "done")
        self.notify(RunEnded(directory, time.perf_counter() - wall, cpu_seconds() - cpu))
        return comparison

    def _evolve(self, problem: Problem, weights: Sequence[MaskableWeight], device: torch.device) -> State:
        """All steps; gives the last state that holds its accuracy."""
        config = self.config
        figures = Figures(config, problem, device)
        baseline = figures.of_candidates(problem.model)
        check_measured(config, baseline)
        self.store.remember("dense", baseline)
        dense = figures.of_select(problem.model)
        folder, records = StateFolder(self.store.directory), StepRecords(self.store)
        state = State(weights_of(problem.model), everything_alive(config, weights), {})
        work = MaskWork(config, self.source, self.store.directory.resolve(), baseline, str(device))
        workers = resolve_workers(config, device)
        rules = StopRules(config, self.store.journal, baseline, self.time_budget, self.notify)
        notify = broadcast([rules.watch, self.notify])
        with (
            stage("search", self.notify, at_a_time(workers, "jobs")),
            closing(build_executor(config, work, workers, self.notify)) as executor,
        ):
            searches = MaskSearches(config, problem, folder, executor, self.store.journal, rules, notify)
            for step in schedule(config, weights):
                known = records.at(step.index)
                if known is not None:
                    searches.skip(known.evaluations, known.generations)
                    record = known
                else:
                    rules.begin_search(searches.evaluations)
                    if not rules(searches.generations):
                        break
                    found = self._take(step, state, problem, weights, searches, figures, folder, device)
                    if found is None:
                        break
                    record = replace(found, taken=not _verdict(config, found, dense))
                    records.add(record)
                    _drop_starts(folder, records)
                if not record.taken:
                    self._refuse(record, _verdict(config, record, dense))
                    break
                state = folder.get(record.state)
                self._write_solutions(problem.model, state, step.names, weights)
                if sparse_enough(config, record.sparsity):
                    break
            # Once more: an earlier process may have died before it did.
            _drop_starts(folder, records)
        return state

    def _refuse(self, record: StepRecord, verdict: str) -> None:
        """Say why a step isn't taken.

        Raises:
            RunError: It is the first one: nothing would be pruned.
        """
        if record.step == 0:
            raise RunError(
                f"the first step already costs too much: {verdict}",
                "start a new run with a lower first goal, more masks.retrain_epochs, or another limit",
            )
        self.notify(Decision("masks", f"step {record.step} is not taken and the search ends: {verdict}"))

    def _take(
        self,
        step: Step,
        state: State,
        problem: Problem,
        weights: Sequence[MaskableWeight],
        searches: MaskSearches,
        figures: Figures,
        folder: StateFolder,
        device: torch.device,
    ) -> StepRecord | None:
        """Search and retrain; None when the search had no time for a single candidate."""
        config, model = self.config, problem.model
        put_weights(model, dict(state.weights), "the step's state")
        orders = importance_orders(config, problem, weights, step.index, device)
        start = State(state.weights, state.alive, orders)
        evaluations, generations = searches.evaluations, searches.generations
        bits = searches.run(step, start)
        if bits is None:
            return None
        alive = {**state.alive, **bits}
        put_weights(model, dict(state.weights), "the step's state")
        plan = build_space(config, model, start, list(alive), None).plan(alive)
        masked = apply_masks(model, plan)
        masked_figures = figures.of_select(masked)
        retrain_masked(config, problem, masked, plan, step, device, self.time_budget, self.notify)
        after = figures.of_select(masked)
        digest = folder.put(State(weights_of(masked), alive, {}))
        return StepRecord(
            step=step.index,
            pass_number=step.number,
            goal=step.goal,
            between=step.between,
            layers=tuple(dict.fromkeys(weight.layer for weight in weights if weight.name in step.names)),
            layer_sparsity=layer_sparsities(plan, weights),
            sparsity=plan.sparsity,
            select_accuracy_before=masked_figures["accuracy"],
            select_accuracy=after["accuracy"],
            worst_class_accuracy=after.get("worst_class_accuracy"),
            start=searches.last_state,
            state=digest,
            evaluations=searches.evaluations - evaluations,
            generations=searches.generations - generations,
        )

    def _write_solutions(
        self, model: nn.Module, state: State, names: Sequence[str], weights: Sequence[MaskableWeight]
    ) -> None:
        """`solutions/<layer>.safetensors` of the layers that a step has searched."""
        for layer in dict.fromkeys(weight.layer for weight in weights if weight.name in names):
            members = [weight.name for weight in weights if weight.layer == layer]
            plan = build_space(self.config, model, state, members, None).plan(
                {name: state.alive[name] for name in members}
            )
            write_solution(self.store.directory / SOLUTIONS, layer, plan)

    def _finish(
        self, problem: Problem, weights: Sequence[MaskableWeight], last: State, device: torch.device
    ) -> Mapping[str, Any]:
        config, store = self.config, self.store
        model = problem.model
        plan = build_space(config, model, last, list(last.alive), None).plan(last.alive)
        put_weights(model, dict(last.weights), "the last step")
        pruned = apply_masks(model, plan)
        with stage("retrain", self.notify, f"the network at {100 * plan.sparsity:.2f} % sparsity, masks held"):
            retrain_masked(config, problem, pruned, plan, None, device, self.time_budget, self.notify)
        with stage("report", self.notify):
            put_weights(model, read_weights(store.directory / BASELINE), "the baseline")
            judge = Judge(config, store)
            reports = judge.reports({"baseline": model, "pruned": pruned}, problem, device)
            steps = StepRecords(store).documents(lambda record: self._step_accuracy(record, judge, problem, device))
            save_artifact(
                store.directory / ARTIFACT,
                pruned,
                plan,
                factory=known_factory(problem, self.notify),
                task=problem.task,
            )
            comparison = comparison_of(reports, plan, weights, steps, store.directory / ARTIFACT)
            store.write_json(COMPARISON, comparison)
        return comparison

    def _step_accuracy(self, record: StepRecord, judge: Judge, problem: Problem, device: torch.device) -> float:
        """Test accuracy of the network after a step: finished, and looked at only when the search is over."""
        network = clone(problem.model)
        put_weights(network, dict(StateFolder(self.store.directory).get(record.state).weights), record.state)
        return judge.accuracy(network.eval(), problem, device)


def _drop_starts(folder: StateFolder, records: StepRecords) -> None:
    """What searches began with can be made again; the networks between them are kept."""
    folder.keep_only({one.state for one in records.all})


def _verdict(config: Config, record: StepRecord, dense: Mapping[str, float]) -> str:
    """Why a step can't be taken; empty when it can."""
    worst, floor = record.worst_class_accuracy, config.masks.min_class_accuracy
    before = dense.get("worst_class_accuracy", 1.0)
    # A class that the dense network itself is worse at has not collapsed before it has lost half of that.
    if worst is not None and worst < (floor if before >= floor else before / 2):
        return (
            f"a class has fallen to {100 * worst:.1f} % on select, from {100 * before:.1f} % for the dense network's worst; "
            f"masks.min_class_accuracy is {100 * floor:.1f} %"
        )
    allowed = config.masks.max_accuracy_drop
    if allowed is not None and record.select_accuracy < dense["accuracy"] - allowed:
        return (
            f"accuracy on select has fallen to {100 * record.select_accuracy:.2f} %, "
            f"from {100 * dense['accuracy']:.2f} %; masks.max_accuracy_drop is {100 * allowed:.2f} %"
        )
    return ""
