"""Which memory layout the convolutions of a run have: decided once, kept, and the same for every network of the run."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import nn

from evoprune.caching import cache_directory
from evoprune.data.batches import as_batch
from evoprune.errors import StoreCorruptedError
from evoprune.events import Decision, Listener, ignore
from evoprune.execution.apart import ProcessDied, work_apart
from evoprune.nn_utils.layouts import Convolutions, Trial, convolutions_of
from evoprune.nn_utils.threads import torch_threads
from evoprune.run.problem import Problem
from evoprune.run.training_plan import Learning
from evoprune.run.workplace import Workplace
from evoprune.store.atomic import read_json, write_json
from evoprune.store.manifest import ManifestKeeper

FASTER: Final = 1.2
"""How many times faster channels last must be: below, a measurement that is repeated may come out the other way."""
SMALL: Final = 50_000_000
"""Multiply-accumulates of a batch's convolutions, a few milliseconds, below which there is nothing to gain."""


@dataclass(frozen=True)
class Layout:
    """A decision, and why it was taken; no reason where nobody needs one."""

    channels_last: bool
    why: str


def settle_layout(
    workplace: Workplace, problem: Problem, learning: Learning, keeper: ManifestKeeper, notify: Listener
) -> Workplace:
    """The workplace with its layout settled: as before at a resume, as asked, or as found out.

    Args:
        workplace: Workplace whose `channels_last` may be `auto`.
        problem: Network, on any device, and data.
        learning: Says how the network is trained.
        keeper: Keeps the decision.
        notify: Called with a decision.
    """
    channels_last = keeper.manifest.channels_last
    if channels_last is None:
        found = choose_layout(workplace, problem, learning)
        channels_last = found.channels_last
        # Not why: figures of a clock are no part of a manifest.
        keeper.update(replace(keeper.manifest, channels_last=channels_last))
        if found.why:
            notify(Decision("layout", f"{'channels last' if channels_last else 'plain'}: {found.why}"))
    return workplace.laid_out(channels_last=channels_last)


def choose_layout(workplace: Workplace, problem: Problem, learning: Learning) -> Layout:
    """Channels last where that is allowed, works, and is asked for or faster by a margin."""
    wanted, device = workplace.channels_last, workplace.device
    if wanted is False or not any(isinstance(module, nn.Conv2d) for module in problem.model.modules()):
        return Layout(False, "")
    model = problem.model.to(device)
    try:
        batch = as_batch(next(iter(problem.task.train.batches(learning.batch_size, device=device))))
        inputs, _ = batch
        seen = convolutions_of(model, inputs)
    except Exception:  # what it is will be said where the network is trained
        return Layout(False, "")
    if device.type == "cpu" and seen.strided_pointwise:
        # oneDNN to v3.12, as in torch 2.11 to 2.14, wherever fewer channels go in than a vector has numbers, with one thread
        # and with several (benchmarks/crashes has the cases). Pruning gets there from any width.
        return Layout(False, f"channels last, a {seen.strided_pointwise}, has wrong gradients or ends the process")
    if wanted == "auto" and seen.macs < SMALL:
        return Layout(False, "")
    return _tried_apart(workplace, Trial(model, batch, problem.task.loss, learning.precision), seen)


def _tried_apart(workplace: Workplace, trial: Trial, seen: Convolutions) -> Layout:
    if not workplace.works_apart(trial.model):
        return _tried(workplace, trial, seen)
    try:
        return work_apart(lambda _: _tried(workplace, trial, seen), ignore)
    except ProcessDied as death:
        return Layout(False, f"trying both layouts ended with {death}")


def _tried(workplace: Workplace, trial: Trial, seen: Convolutions) -> Layout:
    with torch_threads(workplace.training_threads):
        objection = trial.objection()
    if objection or workplace.channels_last is True:
        return Layout(not objection, objection)
    return _measured(workplace, trial, seen)


def _measured(workplace: Workplace, trial: Trial, seen: Convolutions) -> Layout:
    threads = sorted({workplace.training_threads, workplace.candidate_threads})
    kept = KeptMeasurement(
        {
            "network": repr(trial.model),
            "macs": seen.macs,
            "threads": threads,
            "precision": trial.precision,
            "machine": [platform.node(), _processor(workplace.device)],
            "torch": torch.__version__,
        }
    )
    speed_ups = kept.read()
    if speed_ups is None:
        speed_ups = [_speed_up(trial, count) for count in threads]
        kept.write(speed_ups)
    said = " and ".join(
        f"{value:.2f} times as fast with {count}" for value, count in zip(speed_ups, threads, strict=True)
    )
    return Layout(min(speed_ups) >= FASTER, f"channels last, a step is {said} torch threads; {FASTER:g} is asked for")


def _speed_up(trial: Trial, threads: int) -> float:
    with torch_threads(threads):
        return trial.speed_up()


class KeptMeasurement:
    """Speed-ups in the user's cache: a second run of one seed decides by the same figures, whatever the clock says that time.

    Args:
        identity: All that a measurement depends on, as JSON values.
    """

    def __init__(self, identity: dict[str, Any]) -> None:
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        self._path = cache_directory() / "layouts" / f"{name}.json"
        self._count = len(identity["threads"])

    def read(self) -> list[float] | None:
        """What was measured before, one number per number of threads; None where nothing was."""
        try:
            found = read_json(self._path).get("speed_ups")
        except StoreCorruptedError:
            return None
        sound = isinstance(found, list) and len(found) == self._count and all(type(one) is float for one in found)
        return found if sound else None

    def write(self, speed_ups: list[float]) -> None:
        """Keep what was measured; a cache that can't be written to is done without."""
        with suppress(OSError):
            write_json(self._path, {"speed_ups": speed_ups})


def _processor(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
