"""Train a finished model further: the pruned network of a run, masks held, as an artifact of its own beside the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from evoprune.errors import ConfigError, DivergedError, ReplayMismatchError, UsageError
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import train
from evoprune.events import Listener
from evoprune.execution.threads import torch_threads
from evoprune.mask_plan import MaskPlan
from evoprune.pruning.apply import AnyPlan
from evoprune.pruning.maskable import maskable_weights
from evoprune.pruning.weight_masks import masks_as_tensors
from evoprune.results import ModelReport
from evoprune.run.artifacts import ARTIFACT_FILES, MODEL, WEIGHTS, load_artifact, read_artifact_plan, save_artifact
from evoprune.run.assemble import place, resolve_device, retraining_schedule, to_device
from evoprune.run.claim import DONE, MANIFEST, Claim
from evoprune.run.config import Config, make_config
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.files import read_json, telling_of_full_disk, write_json
from evoprune.run.fingerprints import digests_of_data
from evoprune.run.finish import judge, report_on
from evoprune.run.manifest import read_manifest
from evoprune.run.mask_report import layers_document
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.recipe_runs import recipe_source
from evoprune.run.settings import read_config
from evoprune.run.stopwatch import stage
from evoprune.run.store import ARTIFACT, COMPARISON, CONFIG
from evoprune.seeding import SeedTree

FINETUNED: Final = "finetuned"
"""Folder in the run directory, unless another is named."""
SECTIONS: Final = ("training", "execution")
"""Settings that can be changed; what the run is about stays."""
FROM: Final = "from_weights_sha256"
"""In the identity of a fine-tuning, and of nothing else."""
READS: Final = "test_set_reads"


def finetune_run(
    directory: Path,
    config: Config,
    source: ProblemSource,
    out: Path,
    notify: Listener,
    *,
    before: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Train the finished model of a run further, and write the result to a directory of its own.

    It learns from train and select together, as the run's last retraining does: nothing is left to choose by select, and what a
    model has learnt from judges nothing. Pruned weights stay exactly zero. The run's own files stay as they are.

    Args:
        directory: Of a finished run, of masks or of channels.
        config: What `finetune_config` returned.
        source: The run's problem.
        out: New or empty, or where the same was begun by a process that died: it begins again there. It gets an artifact,
            `comparison.json` and a manifest that counts what was read of the test set.
        notify: Told of progress.
        before: The document of the run's `comparison.json`, seen to be sound: after the training is too late.

    Returns:
        The document of `comparison.json`: the run's `baseline` and `pruned`, and `finetuned`, with `layers` where it has masks.

    Raises:
        UsageError: There is no finished run in `directory`, `out` holds something or another process is at work there, or the
            problem is not the run's.
        StoreCorruptedError: A file of the run is damaged.
        RunError: There was no room on the disk.
    """
    manifest = _finished(directory)
    card = read_json(directory / ARTIFACT / MODEL)
    device = resolve_device(config.execution.device)
    with telling_of_full_disk(out), _claimed(out, _identity(config, card)) as claim:
        with stage("data", notify):
            problem = source.load(notify)
            _check_same_data(directory, manifest, problem)
        problem = replace(problem, example_inputs=to_device(problem.example_inputs, device))
        return _Finetuning(directory, card, before, config, problem, device, claim, notify).execute()


def finetune_config(
    directory: Path, *, epochs: float | None = None, lr: float | None = None, settings: Mapping[str, Any] | None = None
) -> Config:
    """The settings of a fine-tuning: the run's own, with those of its retraining changed.

    Args:
        directory: The run directory.
        epochs: As `training.retrain_epochs`; that of the run when None.
        lr: Peak rate, as `training.retrain_lr`; that of the run when None.
        settings: Others of `SECTIONS`, as nested mappings.

    Raises:
        UsageError: There is no finished run in the directory.
        ConfigError: A setting is wrong, or of no effect here.
    """
    _finished(directory)
    settings = settings or {}
    idle = sorted(settings.keys() - SECTIONS)
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: of no effect on fine-tuning, which searches nothing",
            f"what can be set is under {', '.join(SECTIONS)}",
        )
    given = {key: value for key, value in (("retrain_epochs", epochs), ("retrain_lr", lr)) if value is not None}
    return make_config(read_config(directory / CONFIG), settings, {"training": given})


def finetune_source(directory: Path, config: Config) -> ProblemSource:
    """Where the problem of a recipe's run comes from.

    Raises:
        UsageError: The run was started from Python, with a model and data that only its caller has.
    """
    if config.recipe is None:
        raise UsageError(
            f"{directory} was started from Python",
            "call evoprune.finetune(directory, model=..., task=..., example_inputs=...) with what it was started with",
        )
    return recipe_source(config)


def _finished(directory: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        UsageError: There is no run in the directory, or it isn't over.
    """
    if not (directory / MANIFEST).is_file():
        raise UsageError(f"{directory} is not a run directory: it has no {MANIFEST}", "name one that evoprune run made")
    manifest = read_manifest(directory / MANIFEST)
    if manifest.get("status") != DONE or not (directory / ARTIFACT).is_dir():
        raise UsageError(
            f"the run in {directory} is not over: there is no finished model yet", f"first: evoprune resume {directory}"
        )
    return manifest


def _identity(config: Config, card: Mapping[str, Any]) -> dict[str, Any]:
    settings = config.identity()
    return {"training": settings["training"], "seed": settings["run"]["seed"], FROM: card.get("weights_sha256")}


@contextmanager
def _claimed(out: Path, identity: Mapping[str, Any]) -> Iterator[Claim]:
    """The directory of the result, held for this process; empty again after an error, unless the test set was read by then."""
    _refuse_results(out)
    claim = Claim(out, identity)
    try:
        yield claim
    except BaseException:
        if claim.recall(READS) is None:
            claim.withdraw((*ARTIFACT_FILES, COMPARISON))
        raise
    finally:
        claim.release()


def _refuse_results(out: Path) -> None:
    manifest = read_manifest(out / MANIFEST) if (out / MANIFEST).is_file() else None
    if manifest is None:
        return
    ours = FROM in (manifest.get("identity") or ())
    if manifest.get("status") == DONE or not ours:
        what = "a finished fine-tuning" if ours else "a run"
        raise UsageError(f"{out} is not empty: it holds {what}", "choose another --out; nothing was changed")


def _check_same_data(directory: Path, manifest: Mapping[str, Any], problem: Problem) -> None:
    begun, now = manifest.get("pinned", {}).get("data"), digests_of_data(problem.task)
    # Other data could bring what the model was tested on into its training.
    if begun is not None and begun != now:
        sets = [name for name in now if not isinstance(begun, dict) or begun.get(name) != now[name]]
        raise ReplayMismatchError(
            f"the data is not what the run in {directory} was begun with: {', '.join(sets)}",
            "restore it, or the recipe that makes it",
        )


@dataclass(frozen=True)
class _Finetuning:
    directory: Path
    card: Mapping[str, Any]
    before: Mapping[str, Any]
    config: Config
    problem: Problem
    device: torch.device
    claim: Claim
    notify: Listener

    def execute(self) -> Mapping[str, Any]:
        artifact = self.directory / ARTIFACT
        plan = read_artifact_plan(artifact)
        model = place(load_artifact(artifact, factory=lambda: self.problem.model), self.config, self.device)
        with stage("finetune", self.notify, "the pruned network, on train and select"):
            self._train(model, plan)
        with stage("report", self.notify):
            out = self.claim.directory
            save_artifact(out, model, plan, factory=self.card.get("factory"), task=self.problem.task)
            # Before the test set is read: a count that is too high says more than one that is too low.
            self.claim.remember(READS, (self.claim.recall(READS) or 0) + 1)
            accuracy = judge(model, self.problem.task.test, self.problem, self.config, self.device)
            comparison = self._comparison(report_on(model, self.problem, accuracy=accuracy, latency_ms=None), plan)
            write_json(out / COMPARISON, comparison)
            self.claim.remember("status", DONE)
        return comparison

    def _train(self, model: nn.Module, plan: AnyPlan) -> None:
        task, training = self.problem.task, self.config.training
        both = task.train.joined(task.select)
        reporter = EpochReporter("finetune", model, task, both, None, self.config, self.device, self.notify)
        try:
            with torch_threads(self.config.execution.training_threads):
                train(
                    model,
                    both,
                    retraining_schedule(training, both, epochs=training.retrain_epochs),
                    loss=task.loss,
                    seeds=SeedTree(self.config.run.seed).child("finetune", str(self.card.get("weights_sha256"))),
                    device=self.device,
                    micro_batch=MicroBatch(training.batch_size, stage="fine-tuning", notify=self.notify),
                    on_step=reporter,
                    masks=masks_as_tensors(model, plan) if isinstance(plan, MaskPlan) else None,
                )
        except DivergedError as error:
            raise ConfigError(
                f"fine-tuning: {error.message} with training.retrain_lr={training.retrain_lr}", "lower --lr"
            ) from error
        model.eval()

    def _comparison(self, report: ModelReport, plan: AnyPlan) -> dict[str, Any]:
        document = {**{name: self.before[name] for name in ("baseline", "pruned")}, "finetuned": report.to_json()}
        if isinstance(plan, MaskPlan):
            document["finetuned"] |= {
                "size_bytes": (self.claim.directory / WEIGHTS).stat().st_size,
                "sparsity": plan.sparsity,
                "nonzero_params": report.params - (plan.size - plan.kept),
            }
            every = maskable_weights(self.problem.model, include_norm_scales=True)
            document["layers"] = layers_document(plan, [weight for weight in every if weight.name in plan.masks])
        return document
