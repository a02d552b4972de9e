"""The proof of a pruning space: it is tried, and what fails is mended where it fails, until the whole of it passes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from evoprune.channels.diagnosis import Diagnosis, diagnose, near
from evoprune.channels.journey import Journey
from evoprune.channels.module_case import ModuleCase
from evoprune.channels.passes import PER_FROZEN, Passes
from evoprune.channels.repair import Change, Repairs, extent
from evoprune.channels.self_check import Failure, SelfCheck
from evoprune.channels.traces import Traces, cut_the_same
from evoprune.channels.trial_cuts import Trial
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace

Tell = Callable[[int, int, int], None]
"""Takes the forward passes so far, the groups that are left, and those that were frozen."""


class Proof:
    """Brings a space to where it passes all trials.

    Args:
        traces: Traces of the model.
        checker: Runs trials.
        passes: Counts forward passes; `checker` spends of the same.
        tell: Called before each trial.
    """

    def __init__(self, traces: Traces, checker: SelfCheck, passes: Passes, tell: Tell) -> None:
        self._traces, self._checker, self._passes, self._tell = traces, checker, passes, tell
        self._changes: list[Change] = []
        self._passed: set[Trial] = set()
        self._repairs = Repairs(traces.found.reads)
        self._widths: list[int] = []

    def proven(self) -> PruningSpace:
        """The space that passes.

        Raises:
            UnsupportedModelError: Copies of the model go on using it.
        """
        self._traces.unstick()
        space = self._traces.found.space
        while (trial := self._next(space)) is not None:
            self._tell(self._passes.used, len(space.groups), self._passes.frozen)
            failure = self._checker.failure(space, trial)
            if failure is None:
                self._passed.add(trial)
            else:
                self._passed, before = set(), self._passed
                space = self._mended(space, failure, before)
        return space

    def _next(self, space: PruningSpace) -> Trial | None:
        needed = [trial for trial in self._checker.trials(space, self._widths) if trial not in self._passed]
        if needed:
            return needed[0]
        further = [trial for trial in self._checker.further_trials(space) if trial not in self._passed]
        return further[0] if further and self._passes.left >= self._checker.cost(further[:1]) else None

    def _mended(self, space: PruningSpace, failure: Failure, passed: set[Trial]) -> PruningSpace:
        if failure.trial.training:
            return self._mended_in_training(space, failure, passed)
        return self._mended_by(space, failure, self._diagnosis(space, failure.trial, failure.journey))

    def _mended_in_training(self, space: PruningSpace, failure: Failure, passed: set[Trial]) -> PruningSpace:
        stops = bool(failure.journey.running)
        if stops and (again := self._traced_in_training(space, passed)) is not None:
            return again
        suspects = self._near(space, failure)
        nearest = [group for name in suspects[:1] for group in space.groups if group.name == name]
        if nearest and self._outcome(space, failure, nearest) is None:
            return self._settled(space, failure, nearest, nearest)
        trial = replace(failure.trial, training=False)
        in_evaluation = self._diagnosis(space, trial, self._checker.journey(space, trial))
        if not in_evaluation.agrees:
            return self._mended_by(space, replace(failure, trial=trial), in_evaluation)
        if not stops and (again := self._traced_in_training(space, passed)) is not None:
            return again
        return self._frozen_near(space, failure, suspects)

    def _near(self, space: PruningSpace, failure: Failure) -> Sequence[str]:
        """Suspects of a failure in training: where it stopped, or where a pass shows that activations differ."""
        if failure.journey.running:
            bits = failure.trial.bits(space, space.groups)
            return near(space, self._traces.found, bits, failure.journey)
        return self._diagnosis(space, failure.trial, failure.journey).suspects

    def _mended_by(self, space: PruningSpace, failure: Failure, diagnosis: Diagnosis) -> PruningSpace:
        if not diagnosis.runs and self._checker.go_back():
            return space
        mended = self._mended_in(space, diagnosis.cases, failure.trial)
        return self._frozen_near(space, failure, diagnosis.suspects) if mended is None else mended

    def _diagnosis(self, space: PruningSpace, trial: Trial, journey: Journey) -> Diagnosis:
        self._passes.spend()
        bits, model, inputs = trial.bits(space, space.groups), self._checker.model, self._checker.inputs
        return diagnose(model, inputs, space, self._traces.found, bits, journey, training=trial.training)

    def _traced_in_training(self, space: PruningSpace, passed: set[Trial]) -> PruningSpace | None:
        """The space of a trace in training mode as well; None where that tells nothing new."""
        evaluation = {trial for trial in passed if not trial.training}
        before = self._traces.found
        if self._passes.left < 1 + self._needed(space, evaluation) or not self._traces.go_on_in_training():
            return None
        again = self._again()
        self._passed = evaluation if cut_the_same(space, again, before) else set()
        if again.digest == space.digest or self._passes.left < self._needed(again, self._passed):
            self._passed = set()
            self._traces.found = before
            return None
        return again

    def _mended_in(self, space: PruningSpace, cases: Sequence[ModuleCase], trial: Trial) -> PruningSpace | None:
        """Mend modules, the innermost first; those around them are looked at again if the whole still fails."""
        seen: list[str] = []
        left: list[ModuleCase] = []
        for case in cases:
            if any(path.startswith(f"{case.path}.") for path in seen):
                continue
            failed = _failed_alone(case, space, trial)
            if failed is None:
                continue
            seen.append(case.path)
            change = self._repairs.keeping_all(case, space, failed) or self._by_outer(case, cases, space, failed)
            if change is None:
                left.append(case)
                trial = failed
            else:
                space = self._changed(space, change)
        if not seen:
            return None
        if left and (other := self._read_otherwise(left, trial)) is not None:
            return self._within_bounds(other, left)
        for case in left:
            space = self._changed(space, self._repairs.freezing(case, space, trial))
        return self._within_bounds(space, left)

    def _by_outer(
        self, case: ModuleCase, cases: Sequence[ModuleCase], space: PruningSpace, trial: Trial
    ) -> Change | None:
        """A change that mends the module around `case`, which may hand it a size of its own."""
        outer = next((one for one in cases if case.path.startswith(f"{one.path}.")), None)
        return None if outer is None else self._repairs.keeping_all(outer, space, trial)

    def _read_otherwise(self, left: Sequence[ModuleCase], trial: Trial) -> PruningSpace | None:
        """The space of a trace in which other dimensions of a split may be cut, if that helps the modules that fail."""
        before = self._traces.found
        for reading, again in self._traces.ways([case.path for case in left]):
            if self._passes.left < 2 + self._needed(before.space):
                break
            self._traces.read(dict.fromkeys(again, reading))
            space = self._again()
            changes = [self._mended_again(case, space, trial) for case in left if case.path in again]
            helping = [change for change in changes if change is not None]
            if len(helping) == len(changes):
                for change in helping:
                    space = self._changed(space, change)
                return space
            self._traces.go_back(before)
        return None

    def _mended_again(self, case: ModuleCase, space: PruningSpace, trial: Trial) -> Change | None:
        """What the module of `case` needs in another space; None where nothing helps, or nothing of it is cut any more."""
        calls = self._traces.found.calls.get(case.path, ())
        if not calls:
            return None
        again = ModuleCase(case.path, case.model, self._traces.found, calls[0], case.given)
        return self._repairs.keeping_all(again, space, trial) if again.localised(space).groups else None

    def _frozen_near(self, space: PruningSpace, failure: Failure, suspects: Sequence[str]) -> PruningSpace:
        """Freeze the most suspicious groups, one more at a time until the trial passes; all where nobody knows."""
        known = {group.name: group for group in space.groups}
        order = [known[name] for name in suspects if name in known] or sorted(space.groups, key=extent)
        chosen = order[:1]
        while (found := self._outcome(space, failure, chosen)) is failure and len(chosen) < len(order):
            chosen = order[: 2 * len(chosen)]
        if found is None:
            return self._settled(space, failure, self._without_innocent(space, failure, chosen), order)
        return self._within_bounds(self._changed(space, _freezing(chosen, failure)), order)

    def _settled(
        self, space: PruningSpace, failure: Failure, chosen: Sequence[Group], around: Sequence[Group]
    ) -> PruningSpace:
        """The space without groups that the trial was seen to pass without."""
        self._passed = {failure.trial}
        self._note_widths(chosen)
        return self._within_bounds(self._changed(space, _freezing(chosen, failure)), around)

    def _outcome(self, space: PruningSpace, failure: Failure, chosen: Sequence[Group]) -> Failure | None:
        """What becomes of a trial when groups are frozen: `failure` if it fails as before, another one elsewhere, or None."""
        smaller = _freezing(chosen, failure).made_to(space)
        if self._passes.left + PER_FROZEN * len(chosen) < self._needed(smaller):
            return Failure(failure.trial, failure.problem, Journey())  # no room to find out
        again = self._checker.failure(smaller, failure.trial)
        return failure if again is not None and again.journey.running == failure.journey.running else again

    def _without_innocent(self, space: PruningSpace, failure: Failure, chosen: Sequence[Group]) -> list[Group]:
        """`chosen` without those that the trial passes without, as far as there is room to find out."""
        left = list(chosen)
        for group in chosen if len(chosen) > 1 else ():
            fewer = [one for one in left if one is not group]
            room = self._passes.left + PER_FROZEN * len(fewer) >= self._needed(space) + 2
            if fewer and room and self._outcome(space, failure, fewer) is None:
                left = fewer
        return left

    def _within_bounds(self, space: PruningSpace, around: Sequence[ModuleCase] | Sequence[Group]) -> PruningSpace:
        """Freeze more where too few passes are left to prove the rest: groups of modules that failed, then the smallest."""
        while space.groups and self._passes.left < self._needed(space, self._passed):
            names = {group.name for case in around for group in self._touching(case, space)}
            touched = [group for group in space.groups if group.name in names]
            worst = min(touched or space.groups, key=extent)
            reason = "so much else fails that telling which groups are to blame would take too many forward passes"
            self._passed = set()
            space = self._changed(space, Change(frozen=((worst.name, reason),)))
        return space

    def _touching(self, one: ModuleCase | Group, space: PruningSpace) -> Sequence[Group]:
        return one.localised(space).groups if isinstance(one, ModuleCase) else [one]

    def _needed(self, space: PruningSpace, passed: Collection[Trial] = ()) -> int:
        """Forward passes that the rest of the proof takes."""
        trials = self._checker.trials(space, self._widths)
        return self._checker.cost([trial for trial in trials if trial not in passed])

    def _changed(self, space: PruningSpace, change: Change) -> PruningSpace:
        self._changes.append(change)
        names = {group.name for group in space.groups}
        self._passes.frozen += len({name for name, _ in change.frozen} & names)
        self._note_widths([group for group in space.groups if group.name in change.together])
        return change.made_to(space)

    def _note_widths(self, frozen: Sequence[Group]) -> None:
        """Others will be tried at the width of groups that may have failed only along with them."""
        for group in frozen:
            width = len(group.members[0].index)
            if width not in self._widths:
                self._widths.append(width)

    def _again(self) -> PruningSpace:
        """The space of the present trace with all changes that were found so far."""
        space = self._traces.found.space
        for change in self._changes:
            space = change.made_to(space)
        return space


def _failed_alone(case: ModuleCase, space: PruningSpace, trial: Trial) -> Trial | None:
    """A trial that the module fails on its own."""
    local = case.localised(space)
    several = (trial, Trial(2), Trial(width=1))
    return next((one for one in several if case.problem(local, one.bits(local, local.groups))), None)


def _freezing(groups: Sequence[Group], failure: Failure) -> Change:
    return Change(frozen=tuple((group.name, failure.problem) for group in groups))
