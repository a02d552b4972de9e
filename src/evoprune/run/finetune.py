"""Train a finished model further: the pruned network of a run, masks held, as an artifact of its own beside the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from evoprune.data.trees import moved
from evoprune.errors import ConfigError, DivergedError, ReplayMismatchError, UsageError
from evoprune.events import Listener, TaskOpened
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import masks_as_tensors
from evoprune.masks.maskable import maskable_weights
from evoprune.pruning import AnyPlan
from evoprune.results import ModelReport
from evoprune.run.final_report import Judge, save_finished
from evoprune.run.fingerprints import digests_of_data
from evoprune.run.guarded import TrainingGuard
from evoprune.run.layout import settle_layout
from evoprune.run.mask_figures import layer_figures, masked_figures
from evoprune.run.opened_run import try_a_batch
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.retraining import Retrainer, Retraining
from evoprune.run.stopwatch import stage
from evoprune.run.training_plan import Learning
from evoprune.run.workplace import Workplace
from evoprune.seeding import SeedTree
from evoprune.store.artifact import ARTIFACT_FILES, MODEL, load_artifact, read_artifact_plan
from evoprune.store.atomic import read_json, telling_of_full_disk, write_json
from evoprune.store.claim import MANIFEST, Claim
from evoprune.store.comparison import Comparison, LayerFigures, ModelFigures
from evoprune.store.manifest import DONE, Manifest, read_manifest
from evoprune.store.run_directory import ARTIFACT, COMPARISON

FINETUNED: Final = "finetuned"
"""Folder in the run directory, unless another is named."""
FROM: Final = "from_weights_sha256"
"""In the identity of a fine-tuning, and of nothing else."""


def finished_manifest(directory: Path) -> Manifest:
    """The manifest of a finished run.

    Raises:
        UsageError: There is no run in the directory, or it isn't over.
    """
    manifest = read_manifest(directory / MANIFEST)
    if manifest is None:
        raise UsageError(f"{directory} is not a run directory: it has no {MANIFEST}", "name one that evoprune run made")
    if not manifest.done or not (directory / ARTIFACT).is_dir():
        raise UsageError(
            f"the run in {directory} is not over: there is no finished model yet", f"first: evoprune resume {directory}"
        )
    return manifest


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
    ours = FROM in manifest.identity
    if manifest.done or not ours:
        what = "a finished fine-tuning" if ours else "a run"
        raise UsageError(f"{out} is not empty: it holds {what}", "choose another --out; nothing was changed")


def _check_same_data(directory: Path, manifest: Manifest, problem: Problem) -> None:
    begun, now = manifest.pinned.get("data"), digests_of_data(problem.task)
    # Other data could bring what the model was tested on into its training.
    if begun is not None and begun != now:
        sets = [name for name in now if not isinstance(begun, dict) or begun.get(name) != now[name]]
        raise ReplayMismatchError(
            f"the data is not what the run in {directory} was begun with: {', '.join(sets)}",
            "restore it, or the recipe that makes it",
        )


@dataclass(frozen=True)
class Finetuning:
    """One fine-tuning of the finished model of a run.

    Attributes:
        directory: Folder of a finished run, of masks or of channels.
        source: The run's problem.
        out: New or empty, or where the same was begun by a process that died: it begins again there. It gets an artifact,
            `comparison.json` and a manifest that counts what was read of the test set.
        workplace: Device, threads and layout of the training; a layout that is not settled is that of the run.
        learning: The way in which it learns.
        epochs: Number of epochs.
        seeds: Root of its seeds.
        identity: Values that decide the result besides the model.
        notify: Called with each event.
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

    def execute(self, before: Comparison) -> Comparison:
        """Train the model further, save it and compare it.

        It learns from train and select together, as the run's last retraining does: nothing is left to choose by select, and what
        a model has learnt from judges nothing. Pruned weights stay exactly zero. The run's own files stay as they are.

        Args:
            before: The run's comparison.

        Returns:
            The run's `baseline` and `pruned`, and `finetuned`, with `layers` where it has masks.

        Raises:
            UsageError: There is no finished run, `out` holds something or another process is at work there, or the problem is not
                the run's.
            StoreCorruptedError: A file of the run is damaged.
            RunError: There was no room on the disk.
        """
        manifest = finished_manifest(self.directory)
        card = read_json(self.directory / ARTIFACT / MODEL)
        identity = {**self.identity, FROM: card.get("weights_sha256")}
        with telling_of_full_disk(self.out), _claimed(self.out, identity) as claim:
            with stage("data", self.notify):
                problem = self._opened(manifest, claim)
            self.notify(TaskOpened(**problem.task.card.to_json()))
            workplace = self.workplace
            if workplace.channels_last == "auto" and manifest.channels_last is not None:
                workplace = workplace.laid_out(channels_last=manifest.channels_last)
            workplace = settle_layout(workplace, problem, self.learning, claim, self.notify)
            problem = replace(problem, example_inputs=moved(problem.example_inputs, workplace.device))
            return _Training(self, card, workplace, problem, claim).finish(before)

    def _opened(self, manifest: Manifest, claim: Claim) -> Problem:
        problem = self.source.load(self.notify).keeping_given()
        _check_same_data(self.directory, manifest, problem)
        unsettled = self.workplace.laid_out(channels_last=False)
        guard = TrainingGuard(unsettled, claim, self.out, self.notify)
        try_a_batch(problem, guard, unsettled.device, learns=self.epochs > 0)
        return problem


@dataclass(frozen=True)
class _Training:
    what: Finetuning
    card: Mapping[str, Any]
    workplace: Workplace
    problem: Problem
    claim: Claim

    def finish(self, before: Comparison) -> Comparison:
        what, out = self.what, self.claim.directory
        artifact = what.directory / ARTIFACT
        plan = read_artifact_plan(artifact)
        model = self.workplace.place(load_artifact(artifact, factory=self.problem.model))
        with stage("finetune", what.notify, "the pruned network, on train and select"):
            self._train(model, plan)
        with stage("report", what.notify):
            save_finished(out, model, plan, self.problem, what.notify, factory=self.card.get("factory"))
            report = Judge(self.problem, self.workplace, self.claim).report(model)
            comparison = self._comparison(before, report, plan)
            write_json(out / COMPARISON, comparison.to_json())
            self.claim.update(replace(self.claim.manifest, status=DONE))
        return comparison

    def _train(self, model: nn.Module, plan: AnyPlan) -> None:
        what, task = self.what, self.problem.task
        guard = TrainingGuard(self.workplace, self.claim, self.claim.directory, what.notify)
        training = Retraining(
            "fine-tuning",
            task.train.joined(task.select),
            what.epochs,
            what.seeds.child("finetune", str(self.card.get("weights_sha256"))),
            masks_as_tensors(model, plan) if isinstance(plan, MaskPlan) else None,
            stage="finetune",
        )
        try:
            Retrainer(self.problem, self.workplace, what.learning, guard).train(model, training)
        except DivergedError as error:
            raise ConfigError(
                f"fine-tuning: {error.message} with training.retrain_lr={what.learning.lr}", "lower --lr"
            ) from error

    def _comparison(self, before: Comparison, report: ModelReport, plan: AnyPlan) -> Comparison:
        figures = ModelFigures(report.to_json())
        layers: tuple[LayerFigures, ...] = ()
        if isinstance(plan, MaskPlan):
            figures = masked_figures(report, plan, self.claim.directory)
            every = maskable_weights(self.problem.model, include_norm_scales=True)
            layers = layer_figures(plan, [weight for weight in every if weight.name in plan.masks])
        return Comparison(before.baseline, before.pruned, self.problem.task.card, finetuned=figures, layers=layers)
