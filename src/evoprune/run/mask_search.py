"""The searches of a mask run's steps, one journal for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from evoprune.errors import ReplayMismatchError, RunError, StoreCorruptedError
from evoprune.events import CandidateEvaluated, Decision, GenerationStarted, Listener
from evoprune.execution.base import Executor, Job, Outcome
from evoprune.genome import BitGenome, Bits
from evoprune.masks.space import UnitBits
from evoprune.results import Status
from evoprune.run.async_loop import ASK
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.loop import Place, SearchDrive
from evoprune.run.mask_allocation import share_out
from evoprune.run.mask_breeding import POLISH, MaskBreeding, MaskStage, build_mask_encoding, first_genomes
from evoprune.run.mask_context import MaskContext
from evoprune.run.mask_schedule import Schedule, Step, layer_groups
from evoprune.run.stop_rules import StopRules
from evoprune.seeding import SeedTree
from evoprune.store.journal import Journal, JournalEntry
from evoprune.store.states import State, StateFolder


@dataclass(frozen=True)
class Journey:
    """What the searches of a run share besides how they search.

    Attributes:
        folder: Folder of the states that searches begin with, kept for the workers.
        executor: Does the jobs.
        journal: Read from its start, then appended to.
        rules: Called before each generation, with its number within the run.
        scores: Says what evaluations are worth.
        seeds: Root of the run's seeds.
        notify: Called with each candidate and generation.
    """

    folder: StateFolder
    executor: Executor
    journal: Journal
    rules: StopRules
    scores: CandidateScores
    seeds: SeedTree
    notify: Listener


class MaskSearches:
    """Runs the searches of steps, one step after the other, answering from the journal what it holds.

    Args:
        breeding: Says how masks are searched for.
        schedule: Says which weights each step searches.
        margin: Share of its fitness by which the best candidate must beat the one that the search began with.
        model: Network of the run's structure, whatever its weights.
        context: Mask context of the run.
        shared: Parts that all searches share.

    Attributes:
        evaluations: Journal lines used so far.
        generations: Generations begun so far.
        last_state: Digest of the state that the last search began with.
    """

    def __init__(
        self,
        breeding: MaskBreeding,
        schedule: Schedule,
        margin: float,
        model: nn.Module,
        context: MaskContext,
        shared: Journey,
    ) -> None:
        self._breeding, self._schedule, self._margin, self._seeds = breeding, schedule, margin, shared.seeds
        self._folder, self._executor, self._journal = shared.folder, shared.executor, shared.journal
        self._rules, self._scores, self._notify = shared.rules, shared.scores, shared.notify
        self._context = context
        self._warm = breeding.target.read_warm_start(model)
        self.evaluations = 0
        self.generations = 0
        self.last_state = ""

    @property
    def states(self) -> set[str]:
        """States that the next step may begin with besides the last one taken; none."""
        return set()

    def skip(self, evaluations: int, generations: int) -> None:
        """Pass over the lines of a step that is over.

        Raises:
            StoreCorruptedError: The journal has fewer of them.
        """
        self.evaluations += evaluations
        self.generations += generations
        if self.evaluations > len(self._journal.entries):
            raise StoreCorruptedError(
                f"the journal has {len(self._journal.entries)} lines, steps that are over took {self.evaluations}",
                "restore evaluations.jsonl from a copy, or start a new run with another --out",
            )

    def run(self, step: Step, state: State) -> dict[str, Bits] | None:
        """The best masks of a step: the units of the searched weights that stay; None when there was no time to search."""
        self.last_state = self._folder.put(state)
        shares = None if step.goal is None else share_out(self._context, state, step.goal, step.ahead)
        if self._schedule.alone:
            return self._independent(step, state, shares)
        return self._phases(self._stage(step, step.names, shares), state)

    def _stage(self, step: Step, names: tuple[str, ...], shares: Mapping[str, int] | None) -> MaskStage:
        """The search of some weights in a step; as many of them stay as their shares of the pass's goal."""
        kept = None if shares is None else sum(shares[name] for name in names)
        return MaskStage(step.index, self.last_state, names, kept, self._breeding.encoding, self._schedule.alone)

    def _phases(self, stage: MaskStage, state: State) -> dict[str, Bits] | None:
        """The search by the configured encoding, then where asked for the one on single bits that begins with its best."""
        polish = self._breeding.polish_generations
        warm = self._context.warm_bits(self._warm, stage.names)
        bits = self._search(stage, state, self._breeding.plan.generations, warm)
        if bits is not None and polish and stage.encoding != POLISH:
            better = self._search(replace(stage, encoding=POLISH), state, polish, [bits])
            bits = better or bits
        return bits

    def _search(
        self, stage: MaskStage, state: State, generations: int, first: Sequence[UnitBits]
    ) -> dict[str, Bits] | None:
        plan = self._breeding.plan
        space = self._context.space(state, stage.names, stage.kept)
        encoding = build_mask_encoding(stage.encoding, space)
        seeds = self._seeds.child("masks", stage.step, stage.encoding)
        initial = first_genomes(encoding, space, first)
        asked, begun = self.evaluations, self.generations
        self._rules.begin_search(self.evaluations)
        most = plan.max_candidates
        drive = SearchDrive(
            plan.build(encoding, seeds, initial),
            self._executor,
            self._journal,
            generations,
            self._scores,
            may_go_on=lambda generation: self._may_begin(begun + generation),
            notify=self._notify,
            place=Place(self.evaluations, stage, {"step": stage.step, "encoding": stage.encoding}),
            enough=self._breeding.enough,
            most=None if most is None else most - asked,
        )
        end = plan.run(drive)
        self.evaluations += end.evaluations
        if end.best is None:
            return None
        self._say_if_infeasible(end.best.entry, f"step {stage.step}")
        mine = self._journal.entries[asked : self.evaluations]
        begun_with = next(entry for entry in mine if entry.tags.get(ASK, 0) == 0)
        if initial and not self._clearly_better(end.best.entry, begun_with):
            return encoding.bits_of(initial[0])
        return encoding.bits_of(end.best.genome)

    def _clearly_better(self, best: JournalEntry, begun: JournalEntry) -> bool:
        """Whether the best candidate beats the one that the search began with by the margin; that one is asked first."""
        if begun.evaluation.status is not Status.OK or begun.fitness is None or best.fitness is None:
            return True
        return best.fitness > begun.fitness + self._margin * abs(begun.fitness)

    def _say_if_infeasible(self, best: JournalEntry, where: str) -> None:
        if best.evaluation.status is Status.INFEASIBLE:
            self._notify(Decision("masks", f"no candidate of {where} keeps the constraints; the nearest one goes on"))

    def _may_begin(self, generation: int) -> bool:
        self.generations = max(self.generations, generation)
        if not self._rules(generation):
            return False
        self.generations = generation + 1
        return True

    def _independent(self, step: Step, state: State, shares: Mapping[str, int] | None) -> dict[str, Bits] | None:
        """Every layer's whole search as a job of its own, from the same state."""
        if not self._may_begin(self.generations):
            return None
        groups = layer_groups(self._context.weights, step.names)
        self._notify(GenerationStarted(step.number, self._schedule.passes, len(groups)))
        stages = [self._stage(step, names, shares) for _, names in groups]
        jobs = [self._job(stage, state, self.evaluations + position) for position, stage in enumerate(stages)]
        waiting = [job for job in jobs if job.index >= len(self._journal.entries)]
        for job in waiting:
            self._executor.submit(job)
        early: dict[int, Outcome] = {}
        found: dict[str, Bits] = {}
        for job, (layer, names) in zip(jobs, groups, strict=True):
            if job.index < len(self._journal.entries):
                entry = self._replayed(job, layer)
            else:
                while job.index not in early:
                    outcome = self._executor.wait()
                    early[outcome.job.index] = outcome
                entry = self._journalled(step, layer, early.pop(job.index))
            space = self._context.space(state, names, job.stage.kept)
            genome = entry.genome or self._folder.genome(entry.evaluation.genome)
            encoding = build_mask_encoding(self._breeding.final_encoding, space)
            if genome.length != encoding.length:
                raise StoreCorruptedError(
                    f"evaluation {entry.index} of the journal has {genome.length} bits, layer {layer} {encoding.length}",
                    "restore evaluations.jsonl from a copy, or start a new run with another --out",
                )
            found |= encoding.bits_of(genome)
            self._say_if_infeasible(entry, f"layer {layer} in step {step.index}")
        self.evaluations += len(jobs)
        return found

    def _job(self, stage: MaskStage, state: State, index: int) -> Job:
        """The whole search of a stage; its genome only has the length that candidates have."""
        space = self._context.space(state, stage.names, stage.kept)
        everything = BitGenome.from_bits(np.ones(build_mask_encoding(stage.encoding, space).length, dtype=np.bool_))
        return Job(index, everything, rung=0, stage=stage)

    def _replayed(self, job: Job, layer: str) -> JournalEntry:
        entry = self._journal.entries[job.index]
        if entry.tags.get("layer") != layer:
            raise ReplayMismatchError(
                f"evaluation {entry.index} of the journal is of layer {entry.tags.get('layer')}, {layer} comes next",
                "the journal was edited, or written by other code; start a new run",
            )
        self._notify(CandidateEvaluated(entry.index, 0, entry.evaluation, entry.fitness, None, replayed=True))
        return entry

    def _journalled(self, step: Step, layer: str, outcome: Outcome) -> JournalEntry:
        if outcome.found is None:
            raise RunError(
                f"the search of layer {layer} failed: {outcome.evaluation.reason}",
                "resume it; if it fails again, correct the cause and start a new run with another --out",
            )
        tags = {
            "step": step.index,
            "encoding": self._breeding.final_encoding,
            "layer": layer,
            "history": [dict(row) for row in outcome.found.history],
        }
        entry = JournalEntry(
            outcome.job.index, 0, outcome.found.genome, outcome.evaluation, outcome.found.fitness, tags
        )
        if not entry.is_inline:
            self._folder.put_genome(outcome.found.genome)
        self._journal.append(entry)
        self._notify(CandidateEvaluated(entry.index, 0, entry.evaluation, entry.fitness, outcome.cost, replayed=False))
        return entry
