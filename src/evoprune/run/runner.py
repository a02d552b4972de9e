"""A whole run, whatever it prunes: data and baseline, search, final model, comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from evoprune.events import Caution, Listener, RunEnded, RunStarted, broadcast
from evoprune.run.opened_run import OpenedRun, RunParts, open_run, pin_problem
from evoprune.run.problem import LiveSource, Problem, ProblemSource
from evoprune.run.stopwatch import cpu_seconds
from evoprune.run.time_budget import RESERVE, TimeBudget
from evoprune.store.atomic import telling_of_full_disk
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.event_log import EventLog
from evoprune.store.manifest import DONE
from evoprune.store.run_directory import COMPARISON, EVENTS, RunStore


class RunKind(Protocol):
    """What is particular to runs that prune one kind of thing."""

    def check(self, problem: Problem, store: RunStore) -> None:
        """See that the run can do something with the problem, before there is any work.

        Raises:
            UsageError: It can't.
        """

    def search(self, run: OpenedRun) -> Callable[[], Comparison]:
        """Search; gives what makes the final network and compares it."""


@dataclass(frozen=True)
class Run:
    """A run that can be begun or resumed.

    Attributes:
        source: Gives model, task and example inputs.
        kind: Does what is particular to channels or to masks.
        identity: Values that decide its result, for a resume to compare.
        settings: The configuration as YAML.
        cautions: Cautions about the settings, said before anything is done.
        time_budget: Seconds for the whole run; None: no limit.
        parts: Makes the parts of a store, a listener and a time budget.
        reserve: Share of the time that is kept back from the search.
    """

    source: ProblemSource
    kind: RunKind
    identity: Mapping[str, Any]
    settings: str
    cautions: list[str]
    time_budget: float | None
    parts: Callable[[RunStore, Listener, TimeBudget], RunParts]
    reserve: float = RESERVE

    def execute(self, directory: Path, listeners: tuple[Listener, ...] = ()) -> Comparison:
        """Run to the end, or go on where an earlier process stopped; a finished run is left as it is.

        Args:
            directory: The run directory.
            listeners: Called with each event.

        Returns:
            What its models came to.

        Raises:
            UsageError: Something the user gave can't be used; nothing of an earlier run was changed.
            RunError: The run stopped and can be resumed.
        """
        live = isinstance(self.source, LiveSource)
        with telling_of_full_disk(directory), RunStore(directory, self.identity, self.settings) as store:
            if store.manifest.done:
                if live:
                    # A recipe is named in the settings; a live problem is known by its digests alone.
                    pin_problem(store, self.source.load())
                return read_comparison(directory)
            with EventLog(directory / EVENTS) as log:
                try:
                    return self._execute(store, broadcast([log, *listeners]))
                finally:
                    if isinstance(self.source, LiveSource):
                        self.source.problem.task.close()

    def _execute(self, store: RunStore, told: Listener) -> Comparison:
        wall, cpu = time.perf_counter(), cpu_seconds()
        for line in self.cautions:
            told(Caution("settings", line))
        budget = TimeBudget(self.time_budget, time.perf_counter(), store, told, reserve=self.reserve)
        notify = broadcast([budget.watch, told])
        notify(RunStarted(str(store.directory), len(store.journal.entries)))
        opened = open_run(self.parts(store, notify, budget), lambda problem: self.kind.check(problem, store))
        finish = self.kind.search(opened)
        comparison = finish()
        store.write_json(COMPARISON, comparison.to_json())
        store.update(replace(store.manifest, status=DONE))
        notify(RunEnded(str(store.directory), time.perf_counter() - wall, cpu_seconds() - cpu))
        return comparison
