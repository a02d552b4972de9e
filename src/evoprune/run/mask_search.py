"""The searches of a mask run's steps, one journal for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from evoprune.errors import ReplayMismatchError, RunError, StoreCorruptedError
from evoprune.events import CandidateEvaluated, Decision, GenerationStarted, Listener
from evoprune.execution.base import Executor, Job, Outcome
from evoprune.genome import BitGenome, Bits
from evoprune.pruning.encodings.mask_space import UnitBits
from evoprune.results import Status
from evoprune.run.assemble import build_search
from evoprune.run.asynchronous import ASK
from evoprune.run.config import Config
from evoprune.run.journal import Journal, JournalEntry
from evoprune.run.loop import Place
from evoprune.run.mask_allocation import share_out
from evoprune.run.mask_schedule import Step, layer_groups
from evoprune.run.mask_stage import (
    POLISH,
    MaskStage,
    build_mask_encoding,
    build_space,
    first_genomes,
    prunable_weights,
)
from evoprune.run.mask_warm_start import read_warm_start, warm_bits
from evoprune.run.mask_work import final_encoding, mask_yardstick, sparse_enough
from evoprune.run.problem import Problem
from evoprune.run.search_loop import search_loop
from evoprune.run.states import State, StateFolder
from evoprune.run.stop_rules import StopRules
from evoprune.seeding import SeedTree


class MaskSearches:
    """Runs the searches of steps, one step after the other, answering from the journal what it holds.

    Args:
        config: The run's settings.
        problem: With a network of the run's structure, whatever its weights.
        folder: Where the states that searches begin with are kept for the workers.
        executor: Does the jobs.
        journal: Read from its start, then appended to.
        rules: Asked before each generation, by its number within the run.
        notify: Told of every candidate and generation.

    Attributes:
        evaluations: Journal lines used so far.
        generations: Generations begun so far.
        last_state: Digest of the state that the last search began with.
    """

    def __init__(
        self,
        config: Config,
        problem: Problem,
        folder: StateFolder,
        executor: Executor,
        journal: Journal,
        rules: StopRules,
        notify: Listener,
    ) -> None:
        self._config, self._problem, self._folder = config, problem, folder
        self._executor, self._journal, self._rules, self._notify = executor, journal, rules, notify
        self._warm = read_warm_start(config, problem.model)
        self.evaluations = 0
        self.generations = 0
        self.last_state = ""

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
        shares = None
        if step.goal is not None:
            shares = share_out(self._config, self._problem.model, state, step.goal, step.ahead)
        if self._config.masks.mode == "independent":
            return self._independent(step, state, shares)
        return self._phases(self._stage(step, step.names, shares), state)

    def _stage(self, step: Step, names: tuple[str, ...], shares: Mapping[str, int] | None) -> MaskStage:
        """The search of some weights in a step; as many of them stay as their shares of the pass's goal."""
        kept = None if shares is None else sum(shares[name] for name in names)
        alone = self._config.masks.mode == "independent"
        return MaskStage(step.index, self.last_state, names, kept, self._config.search.encoding, alone)

    def _phases(self, stage: MaskStage, state: State) -> dict[str, Bits] | None:
        """The search by the configured encoding, then where asked for the one on single bits that begins with its best."""
        ga, polish = self._config.ga, self._config.masks.polish_generations
        warm = warm_bits(self._config, self._problem.model, self._warm, stage.names)
        bits = self._search(stage, state, ga.num_generations, warm)
        if bits is not None and polish and stage.encoding != POLISH:
            better = self._search(replace(stage, encoding=POLISH), state, polish, [bits])
            bits = better or bits
        return bits

    def _search(
        self, stage: MaskStage, state: State, generations: int, first: Sequence[UnitBits]
    ) -> dict[str, Bits] | None:
        config = self._config
        space = build_space(config, self._problem.model, state, stage.names, stage.kept)
        encoding = build_mask_encoding(stage.encoding, space)
        seeds = SeedTree(config.run.seed).child("masks", stage.step, stage.encoding)
        initial = first_genomes(encoding, space, first)
        asked, begun = self.evaluations, self.generations
        self._rules.begin_search(self.evaluations)
        most = config.run.max_candidates
        end = search_loop(config)(
            build_search(config, encoding, seeds, initial),
            self._executor,
            self._journal,
            generations=generations,
            yardstick=mask_yardstick(config),
            may_go_on=lambda generation: self._may_begin(begun + generation),
            notify=self._notify,
            place=Place(self.evaluations, stage, {"step": stage.step, "encoding": stage.encoding}),
            enough=lambda entry: sparse_enough(config, entry.evaluation.objectives["layer_sparsity"]),
            most=None if most is None else most - asked,
        )
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
        return best.fitness > begun.fitness + self._config.masks.margin * abs(begun.fitness)

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
        weights = prunable_weights(self._config, self._problem.model)
        groups = layer_groups(weights, step.names)
        self._notify(GenerationStarted(step.number, self._passes, len(groups)))
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
            space = build_space(self._config, self._problem.model, state, names, job.stage.kept)
            genome = entry.genome or self._folder.genome(entry.evaluation.genome)
            encoding = build_mask_encoding(final_encoding(self._config), space)
            if genome.length != encoding.length:
                raise StoreCorruptedError(
                    f"evaluation {entry.index} of the journal has {genome.length} bits, layer {layer} {encoding.length}",
                    "restore evaluations.jsonl from a copy, or start a new run with another --out",
                )
            found |= encoding.bits_of(genome)
            self._say_if_infeasible(entry, f"layer {layer} in step {step.index}")
        self.evaluations += len(jobs)
        return found

    @property
    def _passes(self) -> int:
        masks = self._config.masks
        return len(masks.goals) * (1 + masks.between) - masks.between if masks.goals is not None else masks.passes

    def _job(self, stage: MaskStage, state: State, index: int) -> Job:
        """The whole search of a stage; its genome only has the length that candidates have."""
        space = build_space(self._config, self._problem.model, state, stage.names, stage.kept)
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
            "encoding": final_encoding(self._config),
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
