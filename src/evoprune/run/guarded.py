"""Long trainings done so that a crash inside torch is not the end of the run, nor of the program that called it."""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from torch import nn

from evoprune.errors import WorkerLostError
from evoprune.events import Caution, Listener
from evoprune.execution.apart import ProcessDied, ending, work_apart
from evoprune.nn_utils.layouts import arranged
from evoprune.nn_utils.network_state import put_state, state_of
from evoprune.nn_utils.threads import torch_threads
from evoprune.run.workplace import Workplace, convolutions_in
from evoprune.store.manifest import ManifestKeeper

T = TypeVar("T")

_RAN: Final = ("threads", "layout", "convolutions")
UNDER_WAY: Final = "crash.txt"
"""In the run directory, while a training is at work in the run's own process: what runs, and what Python says when it crashes."""


class TrainingGuard:
    """Trains networks of one run, each in a child of this process where that is possible.

    A training that crashes is done again in the plain layout with one thread, and so is every one after it. What crashed is kept,
    so that a resume goes the same way.

    Args:
        workplace: Device, threads and layout of the trainings.
        keeper: Keeps what crashed.
        directory: The run directory.
        notify: Called with each event.
    """

    def __init__(self, workplace: Workplace, keeper: ManifestKeeper, directory: Path, notify: Listener) -> None:
        self._workplace, self._keeper, self._notify = workplace, keeper, notify
        self._under_way = directory / UNDER_WAY
        self._learn_of_an_earlier_crash()

    def train(self, name: str, model: nn.Module, work: Callable[[Listener], T]) -> T:
        """Call `work`, which trains `model` in place and tells the listener that it is given; with the threads of training.

        Args:
            name: Name of the training, for messages and for what is kept.
            model: The one that is trained; nothing else that `work` changes need be seen here.
            work: Trains the model; it may be called again, with `model` as it was before.

        Raises:
            WorkerLostError: It crashes in the plain layout with one thread as well, or its process was ended from outside.
        """
        if not self._keeper.manifest.crashes:
            try:
                return self._attempt(name, model, work, careful=False)
            except ProcessDied as death:
                if not death.crashed:
                    raise _ended(name, death) from None
                self._keep(name, {**self._what_runs(model, careful=False), "ended": str(death)})
        try:
            return self._attempt(name, model, work, careful=True)
        except ProcessDied as death:
            raise _ended(name, death) from None

    def _attempt(self, name: str, model: nn.Module, work: Callable[[Listener], T], *, careful: bool) -> T:
        layout = self._workplace.channels_last is True
        arranged(model, channels_last=layout and not careful)
        threads = 1 if careful else self._workplace.training_threads
        try:
            with torch_threads(threads):
                if self._workplace.works_apart(model):
                    return self._apart(model, work)
                with self._watched(name, model, careful=careful):
                    return work(self._notify)
        finally:
            if careful:
                arranged(model, channels_last=layout)

    def _apart(self, model: nn.Module, work: Callable[[Listener], T]) -> T:
        result, state = work_apart(lambda notify: (work(notify), state_of(model)), self._notify)
        put_state(model, state)
        return result

    @contextmanager
    def _watched(self, name: str, model: nn.Module, *, careful: bool) -> Iterator[None]:
        """Have Python write a crash of this process to a file, which tells the next process what happened.

        A process that is killed leaves no word there: it is resumed as if nothing had happened.
        """
        enabled = faulthandler.is_enabled()
        try:
            with self._under_way.open("w") as file:
                file.write(json.dumps({"name": name, **self._what_runs(model, careful=careful)}) + "\n")
                file.flush()
                faulthandler.enable(file)
                try:
                    yield
                finally:
                    faulthandler.disable()
        finally:
            self._under_way.unlink(missing_ok=True)
            if enabled:
                with suppress(AttributeError, ValueError, OSError):  # there is no terminal to write to
                    faulthandler.enable(sys.__stderr__)  # type: ignore[arg-type]

    def _learn_of_an_earlier_crash(self) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            head, _, words = self._under_way.read_text(encoding="utf-8", errors="replace").partition("\n")
            if words.strip():
                name, *ran = (json.loads(head)[key] for key in ("name", *_RAN))
                ended = words.strip().partition("\n")[0]
                self._keep(str(name), {**dict(zip(_RAN, ran, strict=True)), "ended": ended})
        self._under_way.unlink(missing_ok=True)

    def _keep(self, name: str, what: dict[str, Any]) -> None:
        manifest = self._keeper.manifest
        self._keeper.update(replace(manifest, crashes={**manifest.crashes, name: what}))
        self._notify(
            Caution(
                "training",
                f"{name} crashed inside torch ({what['ended']}) with {what['threads']} threads, {what['layout']}, "
                f"of {what['convolutions'] or 'no convolutions'}; it is done again in the plain layout with one thread",
            )
        )

    def _what_runs(self, model: nn.Module, *, careful: bool) -> dict[str, Any]:
        return {
            "threads": 1 if careful else self._workplace.training_threads,
            "layout": "plain layout" if careful else self._workplace.layout,
            "convolutions": convolutions_in(model),
        }


def _ended(name: str, death: ProcessDied) -> WorkerLostError:
    hint = (
        "report it to torch with the shapes in run.log, or leave out the layer that does it"
        if death.crashed
        else "look for out-of-memory kills, then resume"
    )
    return WorkerLostError(f"{name}: the process that trained ended with {ending(death.code)}", hint)
