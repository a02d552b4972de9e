"""Train a finished model further: the pruned network of a run, masks held, as an artifact of its own beside the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
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
from evoprune.run.artifacts import MODEL, WEIGHTS, load_artifact, read_artifact_plan, save_artifact
from evoprune.run.assemble import place, resolve_device, retraining_schedule, to_device
from evoprune.run.config import Config, make_config
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.files import read_json, write_json
from evoprune.run.fingerprints import digests_of_data
from evoprune.run.finish import judge, report_on
from evoprune.run.manifest import new_manifest, read_manifest
from evoprune.run.mask_report import layers_document
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.recipe_runs import recipe_source
from evoprune.run.settings import read_config
from evoprune.run.stopwatch import stage
from evoprune.run.store import ARTIFACT, COMPARISON, CONFIG, MANIFEST
from evoprune.seeding import SeedTree

FINETUNED: Final = "finetuned"
"""Folder in the run directory, unless another is named."""
SECTIONS: Final = ("training", "execution")
"""Settings that can be changed; what the run is about stays."""


def finetune_run(
    directory: Path, config: Config, source: ProblemSource, out: Path, notify: Listener
) -> Mapping[str, Any]:
    """Train the finished model of a run further, and write the result to a directory of its own.

    It learns from train and select together, as the run's last retraining does: nothing is left to choose by select, and what a
    model has learnt from judges nothing. Pruned weights stay exactly zero. The run's own files stay as they are.

    Args:
        directory: Of a finished run, of masks or of channels.
        config: What `finetune_config` returned.
        source: The run's problem.
        out: New or empty. It gets an artifact, `comparison.json` and a manifest that counts what was read of the test set.
        notify: Told of progress.

    Returns:
        The document of `comparison.json`: the run's `baseline` and `pruned`, and `finetuned`, with `layers` where it has masks.

    Raises:
        UsageError: There is no finished run in `directory`, `out` holds something, or the problem is not the run's.
        StoreCorruptedError: A file of the run is damaged.
    """
    manifest = _finished(directory)
    _take_place(out)
    device = resolve_device(config.execution.device)
    with stage("data", notify):
        problem = source.load(notify)
        _check_same_data(directory, manifest, problem)
    problem = replace(problem, example_inputs=to_device(problem.example_inputs, device))
    return _Finetuning(directory, config, problem, device, out, notify).execute()


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
    if manifest.get("status") != "done" or not (directory / ARTIFACT).is_dir():
        raise UsageError(
            f"the run in {directory} is not over: there is no finished model yet", f"first: evoprune resume {directory}"
        )
    return manifest


def _take_place(out: Path) -> None:
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} is not empty", "choose another --out; nothing was changed")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't write to {out}: {error.strerror}", "choose another --out") from error


def _check_same_data(directory: Path, manifest: Mapping[str, Any], problem: Problem) -> None:
    begun = manifest.get("pinned", {}).get("data")
    # Other data could bring what the model was tested on into its training.
    if begun is not None and begun != digests_of_data(problem.task):
        raise ReplayMismatchError(
            f"the data is not what the run in {directory} was begun with", "restore it, or the recipe that makes it"
        )


@dataclass(frozen=True)
class _Finetuning:
    directory: Path
    config: Config
    problem: Problem
    device: torch.device
    out: Path
    notify: Listener

    def execute(self) -> Mapping[str, Any]:
        artifact = self.directory / ARTIFACT
        plan = read_artifact_plan(artifact)
        model = place(load_artifact(artifact, factory=lambda: self.problem.model), self.config, self.device)
        with stage("finetune", self.notify, "the pruned network, on train and select"):
            self._train(model, plan)
        with stage("report", self.notify):
            save_artifact(self.out, model, plan, factory=self._card["factory"], task=self.problem.task)
            manifest = self._manifest()
            # Before the test set is read: a count that is too high says more than one that is too low.
            write_json(self.out / MANIFEST, manifest)
            accuracy = judge(model, self.problem.task.test, self.problem, self.config, self.device)
            comparison = self._comparison(report_on(model, self.problem, accuracy=accuracy, latency_ms=None), plan)
            write_json(self.out / COMPARISON, comparison)
            write_json(self.out / MANIFEST, {**manifest, "status": "done"})
        return comparison

    @cached_property
    def _card(self) -> Mapping[str, Any]:
        """What `model.json` of the run's artifact says."""
        return read_json(self.directory / ARTIFACT / MODEL)

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
                    seeds=SeedTree(self.config.run.seed).child("finetune", self._card["weights_sha256"]),
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

    def _manifest(self) -> dict[str, Any]:
        settings = self.config.identity()
        identity = {
            "training": settings["training"],
            "seed": settings["run"]["seed"],
            "from_weights_sha256": self._card["weights_sha256"],
        }
        return {**new_manifest(identity), "test_set_reads": 1}

    def _comparison(self, report: ModelReport, plan: AnyPlan) -> dict[str, Any]:
        before = read_json(self.directory / COMPARISON)
        document = {"baseline": before["baseline"], "pruned": before["pruned"], "finetuned": report.to_json()}
        if isinstance(plan, MaskPlan):
            document["finetuned"] |= {
                "size_bytes": (self.out / WEIGHTS).stat().st_size,
                "sparsity": plan.sparsity,
                "nonzero_params": report.params - (plan.size - plan.kept),
            }
            every = maskable_weights(self.problem.model, include_norm_scales=True)
            document["layers"] = layers_document(plan, [weight for weight in every if weight.name in plan.masks])
        return document
