"""The trained dense network: from the run directory, the user's checkpoint, the cache, or training."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from evoprune.caching import cache_directory, remove_old_parts
from evoprune.data.tensors import TensorSource
from evoprune.errors import ConfigError, DivergedError, StoreCorruptedError
from evoprune.evaluation.user_training import train_for_task
from evoprune.events import Decision, Listener
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.weights import put_weights, read_weights, weight_bytes
from evoprune.objectives.accuracy import score
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.fingerprints import digest_of_model
from evoprune.run.guarded import TrainingGuard
from evoprune.run.problem import Problem
from evoprune.run.training_plan import Learning
from evoprune.run.workplace import SCORING_BATCH, Workplace
from evoprune.seeding import SeedTree
from evoprune.store.atomic import read_json, write_atomically, write_json
from evoprune.store.checkpoint import put_checkpoint
from evoprune.store.run_directory import BASELINE, RunStore

BASELINE_TRAINING: Final = "training the baseline"


@dataclass(frozen=True)
class BaselineTraining:
    """How a dense network comes by its weights.

    Attributes:
        problem: Problem whose network is trained in place.
        workplace: Device, threads and layout of the training.
        learning: The way in which it learns.
        epochs: Number of epochs; 0 when it comes trained.
        seeds: Root of the run's seeds.
        checkpoint: File of trained weights, which come before training.
    """

    problem: Problem
    workplace: Workplace
    learning: Learning
    epochs: float
    seeds: SeedTree
    checkpoint: Path | None = None


def prepare_baseline(
    training: BaselineTraining, store: RunStore, guard: TrainingGuard, data: dict[str, str], notify: Listener
) -> nn.Module:
    """Give the problem's network its trained weights, in place, and keep them in the run directory.

    The run directory's own copy wins, then the checkpoint, then a baseline that an earlier run trained from the same weights
    on the same data with the same settings, then training. A copy whose hash does not match is not used.

    Returns:
        The network, on `device`.

    Raises:
        UsageError: The checkpoint is of another architecture.
        StoreCorruptedError: The run directory's copy is damaged.
    """
    path = store.directory / BASELINE
    model, workplace = training.problem.model, training.workplace
    expected = store.manifest.baseline_sha256
    if expected is not None:
        put_weights(model, _verified(path, expected), str(path))
        return workplace.place(model)
    if training.checkpoint is not None:
        put_checkpoint(model, training.checkpoint)
        workplace.place(model)
    elif training.epochs > 0:
        _train_or_recall(training, data, notify, guard)
    else:
        workplace.place(model)
    content = weight_bytes(model)
    store.write(BASELINE, content)
    store.update(replace(store.manifest, baseline_sha256=hashlib.sha256(content).hexdigest()))
    return model


def _train_or_recall(training: BaselineTraining, data: dict[str, str], notify: Listener, guard: TrainingGuard) -> None:
    model, identity = training.problem.model, _training_identity(training, data)
    kept = None if identity is None else KeptBaseline(identity)
    known = None if kept is None else kept.read()
    training.workplace.place(model)
    if kept is not None and known is not None:
        notify(Decision("baseline", f"reused the one trained before, {kept.path}"))
        put_weights(model, known, str(kept.path))
        return
    guard.train(BASELINE_TRAINING, model, lambda heard: train_baseline(training, heard))
    if kept is None:
        return
    try:
        kept.write(weight_bytes(model))
    except OSError as error:
        notify(Decision("baseline", f"not kept for other runs: {error}"))


def stored_baseline(directory: Path, sha256: str | None) -> dict[str, torch.Tensor]:
    """The dense network's weights, as a run has kept them.

    Args:
        directory: The run directory.
        sha256: Digest in its manifest.

    Raises:
        StoreCorruptedError: They are missing, or are not what was written.
    """
    return _verified(directory / BASELINE, sha256)


def train_baseline(training: BaselineTraining, notify: Listener) -> None:
    """Train the problem's network, in place and on its device, whatever may be kept of earlier runs.

    The threads are the caller's affair.

    Raises:
        ConfigError: The training diverged.
    """
    model, task, device = training.problem.model, training.problem.task, training.workplace.device
    schedule = training.learning.over(task.train, training.epochs)
    on_step = EpochReporter(
        "baseline",
        training.learning.steps_per_epoch(task.train),
        schedule.steps,
        notify,
        lambda: score(model, task.select, task.metric, device=device, batch_size=SCORING_BATCH),
    )
    try:
        train_for_task(
            model,
            task,
            task.train,
            schedule,
            stage="baseline",
            seeds=training.seeds.child("baseline"),
            device=device,
            micro_batch=MicroBatch(None, stage=BASELINE_TRAINING, notify=notify),
            on_step=on_step,
        )
    except DivergedError as error:
        raise ConfigError(
            f"training the baseline: {error.message} with training.lr={training.learning.lr}",
            "lower training.lr, with another --out",
        ) from error


class KeptBaseline:
    """A trained baseline in the user's cache, under a name that says what it was trained from.

    Args:
        identity: Values that decide the trained weights.
    """

    def __init__(self, identity: dict[str, Any]) -> None:
        self._identity = identity
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        self.path = cache_directory() / "baselines" / f"{name}.safetensors"
        self._card = self.path.with_suffix(".json")

    def read(self) -> dict[str, torch.Tensor] | None:
        """The weights, or None when there are none or they are not what was written."""
        remove_old_parts(self.path.parent)
        try:
            return _verified(self.path, read_json(self._card).get("sha256"))
        except StoreCorruptedError:
            return None

    def write(self, content: bytes) -> None:
        """Keep the weights; the card with their hash comes last."""
        write_atomically(self.path, content)
        write_json(self._card, {"sha256": hashlib.sha256(content).hexdigest(), "trained_from": self._identity})


def _training_identity(training: BaselineTraining, data: dict[str, str]) -> dict[str, Any] | None:
    """Everything that decides the trained weights; None where it has no name: loaders' data, a function of the user's."""
    problem, workplace = training.problem, training.workplace
    try:
        loss = hashlib.sha256(pickle.dumps(problem.task.loss)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    if not isinstance(problem.task.train, TensorSource) or problem.task.train_fn is not None:
        return None
    return {
        "network": repr(problem.model),
        "initial_weights": digest_of_model(problem.model),
        "data": {name: data[name] for name in ("train", "select")},
        "training": {**asdict(training.learning), "epochs": training.epochs},
        "seed": training.seeds.root,
        "threads": workplace.training_threads,
        "channels_last": workplace.channels_last,
        "device": workplace.device.type,
        "torch": torch.__version__,
        "loss": loss,
    }


def _verified(path: Path, sha256: Any) -> dict[str, torch.Tensor]:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreCorruptedError(f"can't read the baseline {path}: {error}") from error
    if digest != sha256:
        raise StoreCorruptedError(f"the baseline {path} is not the file that was written", "restore it from a copy")
    return read_weights(path)
