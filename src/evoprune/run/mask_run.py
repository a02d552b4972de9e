"""A run that prunes single weights: step by step evolve masks, retrain with them held, keep what is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from torch import nn

from evoprune.errors import RunError
from evoprune.evaluation.user_training import refuse_with_train_fn
from evoprune.events import Decision, SpaceAnalyzed, broadcast
from evoprune.execution.base import Executor
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.weights import put_weights, read_weights, weights_of
from evoprune.objectives.constraint import SPARSITIES
from evoprune.run.bounds import check_bounds
from evoprune.run.final_report import save_finished
from evoprune.run.mask_allocation import check_network
from evoprune.run.mask_breeding import MaskBreeding
from evoprune.run.mask_context import MaskContext
from evoprune.run.mask_figures import Figures, comparison_of, layer_sparsities
from evoprune.run.mask_population import MaskPopulation
from evoprune.run.mask_schedule import Schedule, Step, StepLimits
from evoprune.run.mask_search import Journey, MaskSearches
from evoprune.run.mask_training import MaskTraining
from evoprune.run.mask_work import MaskWork
from evoprune.run.member_work import MemberWork
from evoprune.run.opened_run import OpenedRun
from evoprune.run.placement import Placement, at_a_time
from evoprune.run.problem import Problem
from evoprune.run.score_watch import ScoreWatch
from evoprune.run.stop_rules import StopRules
from evoprune.run.stopwatch import stage
from evoprune.store.comparison import Comparison, FinishedStep
from evoprune.store.run_directory import ARTIFACT, BASELINE, RunStore
from evoprune.store.solutions import write_solution
from evoprune.store.states import State, StateFolder
from evoprune.store.steps import StepRecord, StepRecords

SOLUTIONS: Final = "solutions"


@dataclass(frozen=True)
class MaskRun:
    """What is particular to a run of weight masks.

    Attributes:
        breeding: Says how masks are searched for.
        schedule: Says which layers are searched when.
        margin: Share of its fitness by which the best candidate must beat the one that a search began with.
        training: Between the searches, and at the end.
        limits: Limits of what a step may cost.
        bounds: On measures, as texts by the setting that they stand in.
        placement: Says where candidates are evaluated.
    """

    breeding: MaskBreeding
    schedule: Schedule
    margin: float
    training: MaskTraining
    limits: StepLimits
    bounds: Mapping[str, Sequence[str]]
    placement: Placement

    def check(self, problem: Problem, store: RunStore) -> None:
        """See that the run can do something with the problem, before there is any work.

        Raises:
            UsageError: It can't.
        """
        refuse_with_train_fn(problem.task, masks=True)
        goals = [goal for goal in self.schedule.goals if goal is not None]
        check_network(self.breeding.target, goals, problem.model, store)
        check_bounds(self.bounds, problem.task.card)

    def search(self, run: OpenedRun) -> Callable[[], Comparison]:
        """All steps; gives what makes the final network of the last state that holds its accuracy, and the comparison."""
        model = run.problem.model
        # In the layout that workers use: kernels may differ in the last bits.
        run.parts.workplace.place(model)
        context = self.breeding.target.of(model, run.problem.example_inputs)
        run.parts.notify(SpaceAnalyzed(context.size, len(context.weights), 0))
        last = _Steps(self, run, context).take_all()
        return lambda: _finish(self, run, context, last)


class _Steps:
    """The steps of a run, from the dense network on."""

    def __init__(self, kind: MaskRun, run: OpenedRun, context: MaskContext) -> None:
        self._kind, self._run, self._context = kind, run, context
        self._folder, self._records = StateFolder(run.parts.store.directory), StepRecords(run.parts.store)
        self._figures = Figures(run)
        self._dense: Mapping[str, float] = {}

    def take_all(self) -> State:
        """Search and retrain step by step; gives the last state that was taken."""
        kind, parts, problem = self._kind, self._run.parts, self._run.problem
        baseline = self._figures.of_candidates(problem.model)
        check_bounds(kind.bounds, problem.task.card, baseline)
        parts.store.update(replace(parts.store.manifest, dense=baseline))
        self._dense = self._figures.of_select(problem.model)
        if kind.limits.min_class_accuracy > 0 and "worst_class_accuracy" not in self._dense:
            parts.notify(
                Decision("masks", "no class is watched: targets are no classes, or the metric is no value per sample")
            )
        state = State(weights_of(problem.model), self._context.everything_alive(), {})
        placement = kind.placement.settled(parts.source, parts.notify)
        work = self._work(baseline)
        rules = StopRules(kind.breeding.ends, parts.store.journal, baseline, parts.time_budget, parts.notify)
        watch = ScoreWatch(
            self._figures.reference(problem.model),
            bred_by_metric="accuracy" in self._run.measures.weights,
            notify=parts.notify,
        )
        watch.begin()
        with (
            stage("search", parts.notify, at_a_time(placement.workers, "jobs")),
            closing(placement.build(work, parts.notify, apart=parts.workplace.works_apart(problem.model))) as executor,
        ):
            return self._from(state, self._searches(state, executor, rules, watch, baseline), rules)

    def _work(self, baseline: Mapping[str, float]) -> MaskWork | MemberWork:
        """What workers do: score masks of the network between two steps, or take members through a step."""
        kind, parts = self._kind, self._run.parts
        directory = parts.store.directory.resolve()
        where = (parts.training, parts.workplace, parts.source, directory, baseline, parts.seeds)
        if kind.schedule.inherits:
            return MemberWork(kind.breeding, kind.training, *where)
        return MaskWork(kind.breeding, *where)

    def _searches(
        self, dense: State, executor: Executor, rules: StopRules, watch: ScoreWatch, baseline: Mapping[str, float]
    ) -> MaskSearches | MaskPopulation:
        kind, parts = self._kind, self._run.parts
        notify = broadcast([rules.watch, parts.notify, watch.watch])
        shared = Journey(
            self._folder,
            executor,
            parts.store.journal,
            rules,
            self._run.measures.scores(baseline),
            parts.seeds,
            notify,
        )
        if kind.schedule.inherits:
            settings = kind.breeding.plan.settings
            return MaskPopulation(self._context, dense, settings, training=kind.training, shared=shared)
        return MaskSearches(kind.breeding, kind.schedule, kind.margin, self._run.problem.model, self._context, shared)

    def _from(self, state: State, searches: MaskSearches | MaskPopulation, rules: StopRules) -> State:
        kind, card = self._kind, self._run.problem.task.card
        for step in kind.schedule.steps(self._context.weights):
            record = self._records.at(step.index)
            if record is not None:
                searches.skip(record.evaluations, record.generations)
            else:
                rules.begin_search(searches.evaluations)
                found = self._found(step, state, searches) if rules(searches.generations) else None
                if found is None:
                    break
                record = replace(found, taken=not kind.limits.verdict(found, self._dense, card))
                self._records.add(record)
                self._drop_starts(searches.states)
            if not record.taken:
                self._refuse(record, kind.limits.verdict(record, self._dense, card))
                break
            state = self._folder.get(record.state)
            self._write_solutions(state, step.names)
            if kind.breeding.sparse_enough(record.sparsity):
                break
        # Once more: an earlier process may have died before it did.
        self._drop_starts(searches.states)
        return state

    def _refuse(self, record: StepRecord, reason: str) -> None:
        """Say why a step isn't taken.

        Raises:
            RunError: It is the first one: nothing would be pruned.
        """
        if record.step == 0:
            raise RunError(
                f"the first step already costs too much: {reason}",
                "start a new run with a lower first goal, more masks.retrain_epochs, or another limit",
            )
        self._run.parts.notify(Decision("masks", f"step {record.step} is not taken and the search ends: {reason}"))

    def _found(self, step: Step, state: State, searches: MaskSearches | MaskPopulation) -> StepRecord | None:
        if isinstance(searches, MaskPopulation):
            return self._round(step, searches)
        return self._take(step, state, searches)

    def _round(self, step: Step, population: MaskPopulation) -> StepRecord:
        """A step of all members; what the best one came to."""
        evaluations = population.evaluations
        best = population.run(step)
        start, end = (self._folder.get(str(best.tags[name])) for name in ("start", "state"))
        model, plan = self._run.problem.model, self._context.plan(end)
        put_weights(model, dict(start.weights), "the member's start")
        before = self._figures.of_select(apply_masks(model, plan))
        put_weights(model, dict(end.weights), "the member's end")
        after, ends = self._figures.of_select(model), (str(best.tags["start"]), str(best.tags["state"]))
        return self._record(step, plan, (before, after), ends, (population.evaluations - evaluations, 1))

    def _take(self, step: Step, state: State, searches: MaskSearches) -> StepRecord | None:
        """Search and retrain; None when the search had no time for a single candidate."""
        run, context, model = self._run, self._context, self._run.problem.model
        put_weights(model, dict(state.weights), "the step's state")
        start = State(state.weights, state.alive, self._kind.training.orders(run, context, step))
        evaluations, generations = searches.evaluations, searches.generations
        bits = searches.run(step, start)
        if bits is None:
            return None
        alive = {**state.alive, **bits}
        put_weights(model, dict(state.weights), "the step's state")
        plan = context.plan(State(state.weights, alive, {}))
        masked = apply_masks(model, plan)
        before = self._figures.of_select(masked)
        self._kind.training.after_step(run, masked, plan, step)
        after = self._figures.of_select(masked)
        digest = self._folder.put(State(weights_of(masked), alive, {}))
        ends = (searches.last_state, digest)
        counts = (searches.evaluations - evaluations, searches.generations - generations)
        return self._record(step, plan, (before, after), ends, counts)

    def _record(
        self,
        step: Step,
        plan: MaskPlan,
        figures: tuple[Mapping[str, float], Mapping[str, float]],
        states: tuple[str, str],
        counts: tuple[int, int],
    ) -> StepRecord:
        """A step's record, of values before and after training, states at its start and end, and evaluations and generations."""
        context, (before, after), (start, end) = self._context, figures, states
        return StepRecord(
            step=step.index,
            pass_number=step.number,
            goal=step.goal,
            between=step.between,
            layers=tuple(dict.fromkeys(weight.layer for weight in context.weights if weight.name in step.names)),
            layer_sparsity=layer_sparsities(plan, context.weights),
            sparsity=plan.sparsity,
            select_accuracy_before=before["accuracy"],
            select_accuracy=after["accuracy"],
            worst_class_accuracy=after.get("worst_class_accuracy"),
            start=start,
            state=end,
            evaluations=counts[0],
            generations=counts[1],
        )

    def _write_solutions(self, state: State, names: Sequence[str]) -> None:
        """`solutions/<layer>.safetensors` of the layers that a step has searched."""
        weights = self._context.weights
        for layer in dict.fromkeys(weight.layer for weight in weights if weight.name in names):
            members = [weight.name for weight in weights if weight.layer == layer]
            plan = self._context.plan(state, members)
            write_solution(self._run.parts.store.directory / SOLUTIONS, layer, plan)

    def _drop_starts(self, needed: set[str]) -> None:
        """What searches began with can be made again; the networks between them are kept, and those that members go on from."""
        self._folder.keep_only({one.state for one in self._records.all} | needed)


def _finish(kind: MaskRun, run: OpenedRun, context: MaskContext, last: State) -> Comparison:
    """Retrain the network of the last state, save it and compare it."""
    parts, model = run.parts, run.problem.model
    plan = context.plan(last)
    put_weights(model, dict(last.weights), "the last step")
    pruned = apply_masks(model, plan)
    with stage("retrain", parts.notify, f"the network at {100 * plan.sparsity:.2f} % sparsity, masks held"):
        kind.training.at_the_end(run, pruned, plan)
    with stage("report", parts.notify):
        put_weights(model, read_weights(parts.store.directory / BASELINE), "the baseline")
        # Sparsities are those of the masks, which every comparison has.
        searched = [one for one in run.measures.searched if one.name not in SPARSITIES]
        models = {"baseline": model, "pruned": pruned}
        timed = run.judge.timed(models, searched)
        reports = run.judge.reports(models, timed, searched)
        steps = [FinishedStep(record, _step_accuracy(run, record)) for record in StepRecords(parts.store).all]
        artifact = parts.store.directory / ARTIFACT
        save_finished(artifact, pruned, plan, run.problem, parts.notify, factory=run.problem.factory)
        compared = comparison_of(reports, plan, context.weights, steps, artifact, run.problem.task.card)
        return replace(compared, timings=timed.timings)


def _step_accuracy(run: OpenedRun, record: StepRecord) -> float:
    """Test accuracy of the network after a step: finished, and looked at only when the search is over."""
    network: nn.Module = clone(run.problem.model)
    put_weights(network, dict(StateFolder(run.parts.store.directory).get(record.state).weights), record.state)
    return run.judge.accuracy(network.eval())
