"""The trained dense network: from the run directory, the user's checkpoint, the cache, or training."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from evoprune.artifact import put_weights, read_weights, weight_bytes
from evoprune.caching import cache_directory, remove_old_parts
from evoprune.errors import ConfigError, DivergedError, StoreCorruptedError
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import train
from evoprune.events import Decision, Listener
from evoprune.execution.threads import torch_threads
from evoprune.run.assemble import place, training_schedule
from evoprune.run.checkpoint import read_checkpoint
from evoprune.run.config import Config
from evoprune.run.epoch_reporter import EpochReporter
from evoprune.run.files import read_json, write_atomically, write_json
from evoprune.run.fingerprints import digest_of_model
from evoprune.run.problem import Problem
from evoprune.run.store import BASELINE, RunStore
from evoprune.seeding import SeedTree
from evoprune.sources.tensors import TensorSource

TRAINING_KEYS: Final = ("batch_size", "epochs", "optimizer", "lr", "weight_decay", "precision")


def prepare_baseline(
    problem: Problem, config: Config, store: RunStore, *, data: dict[str, str], device: torch.device, notify: Listener
) -> nn.Module:
    """Give the problem's network its trained weights, in place, and keep them in the run directory.

    The run directory's own copy wins, then `data.checkpoint`, then a baseline that an earlier run trained from the same weights
    on the same data with the same settings, then training. A copy whose hash does not match is not used.

    Returns:
        The network, on `device`.

    Raises:
        UsageError: The checkpoint is of another architecture.
        StoreCorruptedError: The run directory's copy is damaged.
    """
    path = store.directory / BASELINE
    model = problem.model
    expected = store.recall("baseline_sha256")
    if expected is not None:
        put_weights(model, _verified(path, expected), str(path))
        return place(model, config, device)
    if config.data.checkpoint is not None:
        put_weights(model, read_checkpoint(config.data.checkpoint), str(config.data.checkpoint))
        place(model, config, device)
    elif config.training.epochs > 0:
        _train_or_recall(problem, config, data, device, notify)
    else:
        place(model, config, device)
    content = weight_bytes(model)
    store.write(BASELINE, content)
    store.remember("baseline_sha256", hashlib.sha256(content).hexdigest())
    return model


def _train_or_recall(
    problem: Problem, config: Config, data: dict[str, str], device: torch.device, notify: Listener
) -> None:
    identity = _training_identity(problem, config, data, device)
    kept = None if identity is None else KeptBaseline(identity)
    known = None if kept is None else kept.read()
    place(problem.model, config, device)
    if kept is not None and known is not None:
        notify(Decision("baseline", f"reused the one trained before, {kept.path}"))
        put_weights(problem.model, known, str(kept.path))
        return
    train_baseline(problem, config, device, notify)
    if kept is None:
        return
    try:
        kept.write(weight_bytes(problem.model))
    except OSError as error:
        notify(Decision("baseline", f"not kept for other runs: {error}"))


def train_baseline(problem: Problem, config: Config, device: torch.device, notify: Listener) -> None:
    """Train the problem's network, in place and on `device`, as the configuration says, whatever may be kept of earlier runs.

    Raises:
        ConfigError: The training diverged.
    """
    training, task = config.training, problem.task
    schedule = training_schedule(training, task.train, epochs=training.epochs, lr=training.lr)
    micro_batch = MicroBatch(training.batch_size, stage="training the baseline", notify=notify)
    on_step = EpochReporter("baseline", problem.model, task, task.train, task.select, config, device, notify)
    try:
        with torch_threads(config.execution.training_threads):
            train(
                problem.model,
                task.train,
                schedule,
                loss=task.loss,
                seeds=SeedTree(config.run.seed).child("baseline"),
                device=device,
                micro_batch=micro_batch,
                on_step=on_step,
            )
    except DivergedError as error:
        raise ConfigError(
            f"training the baseline: {error.message} with training.lr={training.lr}",
            "lower training.lr, with another --out",
        ) from error


class KeptBaseline:
    """A trained baseline in the user's cache, under a name that says what it was trained from.

    Args:
        identity: Everything that decides the trained weights.
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


def _training_identity(
    problem: Problem, config: Config, data: dict[str, str], device: torch.device
) -> dict[str, Any] | None:
    """Everything that decides the trained weights; None where it has no name: loaders' data, a loss defined in a function."""
    training = config.training.model_dump(mode="json")
    try:
        loss = hashlib.sha256(pickle.dumps(problem.task.loss)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    if not isinstance(problem.task.train, TensorSource):
        return None
    return {
        "network": repr(problem.model),
        "initial_weights": digest_of_model(problem.model),
        "data": {name: data[name] for name in ("train", "select")},
        "training": {key: training[key] for key in TRAINING_KEYS},
        "seed": config.run.seed,
        "threads": config.execution.training_threads,
        "channels_last": config.execution.channels_last,
        "device": device.type,
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
