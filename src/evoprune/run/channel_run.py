"""A run that prunes channels: one search, and the best candidate built, retrained and compared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from evoprune.channels.encoding import Encoding
from evoprune.channels.first_generation import Seeded
from evoprune.evaluation.reference import reference_of
from evoprune.events import (
    BatchHalved,
    CandidateEvaluated,
    Caution,
    Decision,
    Event,
    Listener,
    SpaceAnalyzed,
    WorkPlanned,
    broadcast,
    ignore,
)
from evoprune.genome import BitGenome
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.base import Subject
from evoprune.objectives.constraint import Constraint
from evoprune.run.begun import NOTHING, Begun
from evoprune.run.bounds import check_bounds
from evoprune.run.channel_finish import ChannelFinish
from evoprune.run.channel_work import STEP, CandidateWork, ChannelTarget
from evoprune.run.earlier_run import EarlierRun
from evoprune.run.inherited_weights import InheritedWeights
from evoprune.run.latency_tables import LatencySource
from evoprune.run.loop import SearchDrive
from evoprune.run.opened_run import OpenedRun, RunParts
from evoprune.run.placement import Placement, at_a_time
from evoprune.run.problem import Problem
from evoprune.run.rungs import Rung
from evoprune.run.score_watch import ScoreWatch
from evoprune.run.search_plan import SearchPlan
from evoprune.run.seeding_criteria import Seeding
from evoprune.run.stop_rules import Ends, StopRules
from evoprune.run.stopwatch import stage
from evoprune.run.workplace import SCORING_BATCH
from evoprune.search.base import Search
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.comparison import Comparison
from evoprune.store.run_directory import BASELINE, RunStore
from evoprune.store.states import StateFolder

EXCESS: Final = 1.1
"""Times its share that a search may take before that is said."""


@dataclass(frozen=True)
class ChannelRun:
    """What is particular to a run of channels.

    Attributes:
        target: Says which channels may go, and what a genome means.
        constraints: Bounds on objectives.
        plan: Says how genomes are searched for.
        ends: When the search is over early.
        placement: Says where candidates are evaluated.
        bounds: On objectives, as texts by the setting that they stand in.
        seeding: Criteria that order the units and begin the search.
        compares: Whether the best criterion's network is finished as well.
        latency: Where latency tables come from.
        start: An earlier run, whose networks are in the first generation.
    """

    target: ChannelTarget
    constraints: tuple[Constraint, ...]
    plan: SearchPlan
    ends: Ends
    placement: Placement
    bounds: Mapping[str, Sequence[str]]
    seeding: Seeding
    compares: bool
    latency: LatencySource
    start: EarlierRun | None = None

    def check(self, problem: Problem, store: RunStore) -> None:
        """See that the run can do something with the problem, before there is any work.

        The self-check, which may still freeze more, comes after the training.

        Raises:
            UsageError: It can't.
        """
        if self.start is not None:
            self.start.check(store)
        space = self.target.space(problem.model, problem, self_check=False)
        self.target.encoding(space, model=problem.model)
        check_bounds(self.bounds, problem.task.card)

    def search(self, run: OpenedRun) -> Callable[[], Comparison]:
        """The search; gives what makes the final network of its best candidate, and the comparison."""
        prepared = _prepare(self, run)
        _search(prepared)
        return ChannelFinish(
            run, prepared.space, prepared.encoding, prepared.first, prepared.compares, prepared.latencies
        ).comparison


@dataclass(frozen=True)
class _Prepared:
    """What the search and the final model start from.

    Attributes:
        kind: The run's settings.
        run: The opened run, with the trained network.
        space: The pruning space.
        encoding: Turns genomes into plans.
        first: Genomes that the search begins with, by the names of criteria.
        begun: Networks of an earlier run that it begins with before these.
        baseline: The dense network's value of each objective, on select where it depends on data.
        latencies: Latency tables, by the names of objectives.
        compares: Whether the best criterion's network is finished as well.
    """

    kind: ChannelRun
    run: OpenedRun
    space: PruningSpace
    encoding: Encoding
    first: Mapping[str, BitGenome]
    begun: Begun
    baseline: Mapping[str, float]
    latencies: Mapping[str, LatencyTable]
    compares: bool


def _prepare(kind: ChannelRun, run: OpenedRun) -> _Prepared:
    problem, parts = run.problem, run.parts
    with stage("analysis", parts.notify):
        space = parts.guard().train("analysis", problem.model, lambda _: kind.target.space(problem.model, problem))
        parts.store.pin("space", space.fingerprint)
        orders = kind.seeding.orders(run, space)
        figures = _dense_figures(run)
    latencies = kind.latency.tables(run, space)
    encoding = kind.target.encoding(space, orders, latencies, problem.model)
    if isinstance(encoding, Seeded):
        _pin_step(parts, encoding.prunable.widths.round_to, kind.target.round_to)
    begun = kind.start.begun(run, encoding, space, kind.plan.settings.pop_size) if kind.start else NOTHING
    first = kind.seeding.genomes(encoding, space, kind.plan.settings.pop_size, begun.widths)
    parts.notify(SpaceAnalyzed(space.size, len(space.groups), len(space.frozen)))
    baseline = {**figures, **{name: table.predicted_dense_ms for name, table in latencies.items()}}
    check_bounds(kind.bounds, problem.task.card, baseline)
    parts.store.update(replace(parts.store.manifest, dense=baseline))
    compares = kind.compares and bool(kind.target.budget(space, latencies, problem.model))
    return _Prepared(kind, run, space, encoding, first, begun, baseline, latencies, compares)


def _pin_step(parts: RunParts, step: int, wished: int) -> None:
    """Keep what kept widths are multiples of, and say where the bounds ask for less than the settings."""
    parts.store.pin(STEP, step)
    if step != wished:
        parts.notify(
            Decision("round_to", f"the bounds can't be kept in steps of {wished}: kept widths are multiples of {step}")
        )


def _rungs(prepared: _Prepared) -> tuple[Rung, ...]:
    """The generations of a ladder; none for other searches."""
    shape, run = prepared.kind.plan.ladder, prepared.run
    if shape is None:
        return ()
    parts, task = run.parts, run.problem.task
    rungs = parts.training.rungs(shape, task)
    taken = parts.training.share_of(rungs, task)
    if shape.steps is None and taken > EXCESS * shape.share:
        parts.notify(
            Caution(
                "search.share",
                f"the search takes {100 * taken:.0f} % of the compute, more than {100 * shape.share:.0f} %: there is too little "
                "retraining to take a share of; set training.retrain_epochs higher, or ga.pop_size and ga.num_generations lower",
            )
        )
    trainings = 2 if prepared.compares else 1
    share = parts.training.share_of(rungs, task, trainings=trainings)
    candidates = sum(rung.candidates for rung in rungs)
    parts.notify(WorkPlanned(candidates, len(rungs), share, trainings, parts.training.retrain_epochs))
    return rungs


def _dense_figures(run: OpenedRun) -> dict[str, float]:
    """The dense network's values, but for latencies, on the samples and with the threads that candidates are scored with."""
    problem, task, parts = run.problem, run.problem.task, run.parts
    data, device = parts.training.scored(task), parts.workplace.device
    subject = Subject(problem.model, problem.example_inputs, data, task.metric, device, SCORING_BATCH, loss=task.loss)
    return run.measures.without_latencies().of_dense(subject, threads=parts.workplace.candidate_threads)


def _watch(prepared: _Prepared) -> Listener:
    """What says when scores of candidates mean little; where the metric isn't measured there is nothing to say."""
    run, parts = prepared.run, prepared.run.parts
    if "accuracy" not in run.measures.names:
        return ignore
    with torch_threads(parts.workplace.candidate_threads):
        reference = reference_of(
            run.problem.model,
            run.problem.task,
            parts.training.scored(run.problem.task),
            device=parts.workplace.device,
            batch_size=SCORING_BATCH,
        )
    watch = ScoreWatch(reference, bred_by_metric=run.measures.bred_by_metric, notify=parts.notify)
    watch.begin()
    return watch.watch


def _search(prepared: _Prepared) -> None:
    kind, parts, problem = prepared.kind, prepared.run.parts, prepared.run.problem
    placement = kind.placement.settled(parts.source, parts.notify)
    rungs = _rungs(prepared)
    plan = kind.plan.on(rungs) if rungs else kind.plan
    inherited = bool(rungs) and plan.settings.inherit
    work = CandidateWork(
        prepared.encoding,
        parts.wanted,
        kind.constraints,
        parts.training,
        parts.workplace,
        parts.source,
        (parts.store.directory / BASELINE).resolve(),
        prepared.space.workload.samples,
        prepared.baseline,
        parts.seeds,
        tuple(map(parts.training.fidelity_of, rungs)),
        parts.store.directory.resolve() if inherited else None,
        inherited,
        prepared.latencies,
    )
    rules = StopRules(kind.ends, parts.store.journal, prepared.baseline, parts.time_budget, parts.notify)
    notify = _noticing_small_batches(broadcast([rules.watch, parts.notify, _watch(prepared)]))
    # The stage ends after the executor is closed, so that the CPU time of worker processes counts.
    with (
        stage("search", parts.notify, at_a_time(placement.workers, "candidates")),
        closing(placement.build(work, notify, apart=parts.workplace.works_apart(problem.model))) as executor,
    ):
        drive = SearchDrive(
            _built(prepared, plan),
            executor,
            parts.store.journal,
            plan.generations,
            prepared.run.measures.scores(prepared.baseline),
            may_go_on=rules,
            notify=notify,
            most=plan.max_candidates,
            weights=_weights(prepared) if inherited else None,
            criteria={genome.digest: name for name, genome in reversed(list(prepared.first.items()))},
        )
        plan.run(drive)


def _built(prepared: _Prepared, plan: SearchPlan) -> Search:
    """The search, with the genomes of its first generation."""
    criteria = list(prepared.first.values())
    control = criteria if prepared.compares else ()
    return plan.build(prepared.encoding, prepared.run.parts.seeds, [*prepared.begun.genomes, *criteria], control)


def _weights(prepared: _Prepared) -> InheritedWeights:
    begun = prepared.begun
    return InheritedWeights(StateFolder(prepared.run.parts.store.directory), begun.weights, begun.otherwise)


def _noticing_small_batches(notify: Listener) -> Listener:
    """Say once when a worker, wherever it is, had to train with smaller batches."""
    smallest = sys.maxsize

    def watch(event: Event) -> None:
        nonlocal smallest
        if isinstance(event, CandidateEvaluated) and event.cost is not None and 0 < event.cost.micro_batch < smallest:
            smallest = event.cost.micro_batch
            notify(BatchHalved("fine-tuning candidates", smallest))
        notify(event)

    return watch
