"""The whole search of some weights as one job; its candidates are journalled as the job's history."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from evoprune.errors import CandidateError, RunError
from evoprune.evaluation.base import evaluate
from evoprune.evaluation.masks import MaskEvaluator
from evoprune.events import ignore
from evoprune.execution.base import Found, Job, Outcome
from evoprune.execution.in_process import InProcessExecutor
from evoprune.masks.space import MaskSpace, UnitBits
from evoprune.results import Cost, Evaluation, Status
from evoprune.run.candidate_scores import merit
from evoprune.run.loop import SearchDrive, SearchEnd, run_search
from evoprune.run.mask_breeding import MaskBreeding, MaskStage, build_mask_encoding, first_genomes
from evoprune.run.measures import choose_measures
from evoprune.run.stop_rules import Ends, Progress
from evoprune.seeding import SeedTree
from evoprune.store.journal import JournalEntry, MemoryJournal


@dataclass
class SearchAlone:
    """Searches from one state, in this process.

    Attributes:
        breeding: Says how masks are searched for.
        seeds: Root of the run's seeds.
        evaluator: Evaluator of the job's stage.
        space: Mask space of the job's stage.
    """

    breeding: MaskBreeding
    seeds: SeedTree
    evaluator: MaskEvaluator
    space: MaskSpace
    _histories: list[_History] = field(default_factory=list)

    def evolve(self, job: Job, warm: Sequence[UnitBits] = ()) -> Outcome:
        """Search, on single bits last where asked.

        Args:
            job: The job, whose genome is not looked at.
            warm: Solutions to begin with.
        """
        wall, cpu = time.perf_counter(), time.process_time()
        breeding, stage = self.breeding, job.stage
        try:
            end = self._phase(self.evaluator, stage, breeding.plan.generations, warm)
            if breeding.final_encoding != stage.encoding and end.best is not None:
                found = self.evaluator.encoding.bits_of(end.best.genome)
                stage = replace(stage, encoding=breeding.final_encoding)
                evaluator = replace(self.evaluator, encoding=build_mask_encoding(stage.encoding, self.space))
                end = self._phase(evaluator, stage, breeding.polish_generations, [found])
            best, reason = end.best, "no candidate could be scored"
        except (CandidateError, RunError) as error:
            best, reason = None, error.message
        micro_batch = self.evaluator.micro_batch
        cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, micro_batch, os.getpid())
        if best is None:
            return Outcome(job, Evaluation(job.genome.digest, job.rung, Status.FAILED, {}, reason=reason), cost)
        rows = [row for history in self._histories for row in history.by_generation()]
        history = tuple({**row, "generation": number} for number, row in enumerate(rows))
        return Outcome(job, best.entry.evaluation, cost, Found(best.genome, best.entry.fitness or 0.0, history))

    def _phase(
        self, evaluator: MaskEvaluator, stage: MaskStage, generations: int, first: Sequence[UnitBits]
    ) -> SearchEnd:
        """One search, whose candidates go to a history of its own."""
        # The encoding enters the seed only of a search that follows another one of the same weights.
        place = (*stage.names, stage.encoding) if self._histories else stage.names
        seeds = self.seeds.child("alone", stage.step, *place)
        history = _History(self.breeding.ends, evaluator.bounds.baseline)
        self._histories.append(history)
        return run_search(
            SearchDrive(
                self.breeding.plan.build(
                    evaluator.encoding, seeds, first_genomes(evaluator.encoding, self.space, first)
                ),
                InProcessExecutor(
                    lambda: lambda one: Outcome(one, *evaluate(evaluator, one.genome, one.rung)),
                    workers=1,
                    threads=torch.get_num_threads(),
                    notify=ignore,
                ),
                history,
                generations,
                choose_measures(self.breeding.wanted, evaluator.task.card).scores(evaluator.bounds.baseline),
                may_go_on=history.may_go_on,
                notify=ignore,
                enough=self.breeding.enough,
            )
        )


class _History(MemoryJournal):
    def __init__(self, ends: Ends, baseline: Mapping[str, float]) -> None:
        super().__init__()
        self._progress = Progress(ends, baseline)

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
