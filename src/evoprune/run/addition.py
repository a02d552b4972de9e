"""What is made of a finished run later on, in a directory of its own: a model that is trained further, another point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from evoprune.data.trees import moved
from evoprune.errors import ConfigError, DivergedError, ReplayMismatchError, UsageError
from evoprune.evaluation.task_check import Uses
from evoprune.events import Listener, TaskOpened
from evoprune.nn_utils.weights import put_weights
from evoprune.results import MetricCard
from evoprune.run.baseline import stored_baseline
from evoprune.run.final_report import Judge
from evoprune.run.fingerprints import LOSS, TRAIN_FN, digests_of_data, name_of_loss, name_of_train_fn
from evoprune.run.guarded import TrainingGuard
from evoprune.run.layout import settle_layout
from evoprune.run.opened_run import try_a_batch
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.retraining import Retrainer, Retraining
from evoprune.run.stopwatch import stage
from evoprune.run.timing.model_timing import TimingPlan
from evoprune.run.training_plan import Learning
from evoprune.run.workplace import Workplace
from evoprune.seeding import SeedTree
from evoprune.store.artifact import ARTIFACT_FILES
from evoprune.store.atomic import telling_of_full_disk, write_json
from evoprune.store.claim import MANIFEST, Claim
from evoprune.store.comparison import Comparison, read_comparison
from evoprune.store.manifest import DONE, Manifest, read_manifest
from evoprune.store.run_directory import ARTIFACT, BASELINE, COMPARISON

FINETUNED, POINT = "from_weights_sha256", "of_point"
_MADE: Final = {FINETUNED: "a finished fine-tuning", POINT: "a finished point"}
"""Keys that the identity of an addition has one of, and that of a run none."""


def finished_manifest(directory: Path) -> Manifest:
    """The manifest of a finished run.

    Raises:
        UsageError: There is no run in the directory, it isn't over, or what is there was made of one.
    """
    manifest = read_manifest(directory / MANIFEST)
    if manifest is None:
        raise UsageError(f"{directory} is not a run directory: it has no {MANIFEST}", "name one that evoprune run made")
    made = _made(manifest)
    if made is not None:
        raise UsageError(f"{directory} holds {made}, not a run", "name the directory of the run that it was made of")
    if not manifest.done or not (directory / ARTIFACT).is_dir():
        raise UsageError(
            f"the run in {directory} is not over: there is no finished model yet", f"first: evoprune resume {directory}"
        )
    return manifest


@dataclass(frozen=True)
class Addition:
    """Something that is made of a finished run. The run's own files stay as they are.

    Attributes:
        directory: Folder of a finished run.
        source: The run's problem.
        out: New or empty, or where the same was begun by a process that died: it begins again there. It gets an artifact,
            `comparison.json` and a manifest that counts what was read of the test set.
        workplace: Device, threads and layout of the training; a layout that is not settled is that of the run.
        learning: The way in which networks learn.
        epochs: Number of epochs.
        seeds: Root of its seeds.
        identity: Values that decide the result, besides what it is made of.
        notify: Called with each event.
        timing: Says what of finished networks is timed.
    """

    directory: Path
    source: ProblemSource
    out: Path
    workplace: Workplace
    learning: Learning
    epochs: float
    seeds: SeedTree
    identity: Mapping[str, Any]
    notify: Listener
    timing: TimingPlan

    @contextmanager
    def opened(self, made_of: Mapping[str, Any]) -> Iterator[OpenedAddition]:
        """The directory of the result, claimed, and the problem, seen to be the run's.

        Args:
            made_of: What it is made of, under one of the keys of this module.

        Raises:
            UsageError: There is no finished run, `out` holds something or another process is at work there, or the problem is not
                the run's.
            RunError: There was no room on the disk.
        """
        manifest = finished_manifest(self.directory)
        with telling_of_full_disk(self.out), _claimed(self.out, {**self.identity, **made_of}) as claim:
            with stage("data", self.notify):
                problem = self._problem(manifest, claim)
            self.notify(TaskOpened(**problem.task.card.to_json()))
            workplace = self.workplace
            if workplace.channels_last == "auto" and manifest.channels_last is not None:
                workplace = workplace.laid_out(channels_last=manifest.channels_last)
            workplace = settle_layout(workplace, problem, self.learning, claim, self.notify)
            problem = replace(problem, example_inputs=moved(problem.example_inputs, workplace.device))
            yield OpenedAddition(self, manifest, problem, workplace, claim)

    def _problem(self, manifest: Manifest, claim: Claim) -> Problem:
        problem = self.source.load(self.notify).keeping_given()
        _check_same_data(self.directory, manifest, problem)
        _check_same_metric(self.directory, problem)
        _check_same_loss(self.directory, manifest, problem)
        unsettled = self.workplace.laid_out(channels_last=False)
        guard = TrainingGuard(unsettled, claim, self.out, self.notify)
        uses = Uses(learns=self.epochs > 0, distills=self.learning.distillation is not None)
        try_a_batch(problem, guard, unsettled.device, uses)
        return problem


@dataclass(frozen=True)
class OpenedAddition:
    """An addition with its problem and its directory.

    Attributes:
        what: Says what it is made of, and how.
        manifest: The run's.
        problem: Problem of the run, with its example inputs on the device.
        workplace: Device, threads and layout, which is settled.
        claim: Holds the directory of the result.
    """

    what: Addition
    manifest: Manifest
    problem: Problem
    workplace: Workplace
    claim: Claim

    @property
    def guard(self) -> TrainingGuard:
        """What long trainings are done by."""
        return TrainingGuard(self.workplace, self.claim, self.claim.directory, self.what.notify)

    @property
    def judge(self) -> Judge:
        """Reads the test set."""
        return Judge(self.problem, self.workplace, self.claim, self.what.timing)

    def dense(self) -> nn.Module:
        """The problem's own network, with the weights that the run trained it to, on the device and in eval mode."""
        directory, model = self.what.directory, self.problem.model
        put_weights(model, stored_baseline(directory, self.manifest.baseline_sha256), str(directory / BASELINE))
        return self.workplace.place(model).eval()

    def train(self, model: nn.Module, training: Retraining) -> None:
        """Train `model` in place and leave it in eval mode.

        Raises:
            ConfigError: The loss is not finite.
            WorkerLostError: The training crashes however it is done.
        """
        learning = self.what.learning
        try:
            Retrainer(self.problem, self.workplace, learning, self.guard).train(model, training)
        except DivergedError as error:
            raise ConfigError(
                f"{training.name}: {error.message} with training.retrain_lr={learning.lr}", "lower --lr"
            ) from error

    def finish(self, comparison: Comparison) -> Comparison:
        """Keep what the models came to: with that, everything is written."""
        write_json(self.claim.directory / COMPARISON, comparison.to_json())
        self.claim.update(replace(self.claim.manifest, status=DONE))
        return comparison


@contextmanager
def _claimed(out: Path, identity: Mapping[str, Any]) -> Iterator[Claim]:
    """The directory of the result, held for this process; empty again after an error, unless the test set was read by then."""
    _refuse_results(out)
    claim = Claim(out, identity)
    try:
        yield claim
    except BaseException:
        if claim.manifest.test_set_reads is None:
            claim.withdraw((*ARTIFACT_FILES, COMPARISON))
        raise
    finally:
        claim.release()


def _refuse_results(out: Path) -> None:
    manifest = read_manifest(out / MANIFEST)
    if manifest is None:
        return
    made = _made(manifest)
    if manifest.done or made is None:
        raise UsageError(f"{out} is not empty: it holds {made or 'a run'}", "choose another --out; nothing was changed")


def _made(manifest: Manifest) -> str | None:
    return next((name for key, name in _MADE.items() if key in manifest.identity), None)


def _check_same_data(directory: Path, manifest: Manifest, problem: Problem) -> None:
    begun, now = manifest.pinned.get("data"), digests_of_data(problem.task)
    # Other data could bring what the model was tested on into its training.
    if begun is not None and begun != now:
        sets = [name for name in now if not isinstance(begun, dict) or begun.get(name) != now[name]]
        raise ReplayMismatchError(
            f"the data is not what the run in {directory} was begun with: {', '.join(sets)}",
            "restore it, or the recipe that makes it",
        )


def _check_same_metric(directory: Path, problem: Problem) -> None:
    begun, now = read_comparison(directory).metric, problem.task.card
    # The run's figures stand beside the new ones.
    if (begun.name, begun.unit, begun.maximize) != (now.name, now.unit, now.maximize):
        raise ReplayMismatchError(
            f"the run in {directory} was judged by {_of(begun)}, the task now by {_of(now)}",
            "restore the task's metric, or the recipe that makes it",
        )


def _check_same_loss(directory: Path, manifest: Manifest, problem: Problem) -> None:
    begun, now = manifest.pinned.get(LOSS), name_of_loss(problem.task.loss)
    if begun is not None and begun != now:
        raise ReplayMismatchError(
            f"the run in {directory} was trained by the loss {begun}, the task's is now {now}",
            "restore the task's loss, or the recipe that makes it",
        )
    begun, now = manifest.pinned.get(TRAIN_FN), name_of_train_fn(problem.task)
    if begun is not None and begun != now:
        raise ReplayMismatchError(
            f"the run in {directory} was trained by {begun or 'evoprune'}, the task is now by {now or 'evoprune'}",
            "restore the task's train_fn, or the recipe that makes it",
        )


def _of(card: MetricCard) -> str:
    unit = f" in {card.unit}" if card.unit else ""
    return f"{card.name}{unit}, {'higher' if card.maximize else 'lower'} is better"
