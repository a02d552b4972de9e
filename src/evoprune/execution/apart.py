"""Work in a child that goes on with all that this process has in memory, so that its end is not the end of this process.

A fork has everything at once: models of a notebook, closures, data. It works in a fresh thread: GNU's OpenMP keeps its threads by
the thread that started them, and those of the parent are not there.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Final, TypeVar, cast

import torch
from torch import nn

from evoprune.errors import EvopruneError, RunError
from evoprune.events import Event, Listener, ignore

T = TypeVar("T")

CRASHES: Final = frozenset(
    number
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP")
    if (number := getattr(signal, name, None)) is not None
)
"""How the system ends a process for something that it did itself."""
_LOOK_AGAIN_S: Final = 1.0
_STARTS_WITHIN_S: Final = 60.0


class ProcessDied(Exception):  # noqa: N818 - not an error to be shown, but an answer to be dealt with
    """The child has ended without an answer.

    Attributes:
        code: Exit code of the process, or minus the number of a signal.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(ending(code))
        self.code = code

    @property
    def crashed(self) -> bool:
        """Whether it was its own doing, rather than somebody's who ended it."""
        return is_crash(self.code)


def is_crash(code: int | None) -> bool:
    """Whether a process that ended with this code crashed."""
    return code is not None and -code in CRASHES


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    with contextlib.suppress(ValueError, TypeError):
        return signal.Signals(-cast("int", code)).name
    return f"exit code {code}"


@cache
def can_work_apart() -> bool:
    """Whether this process can be forked and its child can train, found out once by trying.

    Elsewhere than on Linux, libraries of the system may not be used after a fork.
    """
    if sys.platform != "linux" or not hasattr(os, "fork") or multiprocessing.current_process().daemon:
        return False
    try:
        return work_apart(_tries_itself, ignore, patience_s=_STARTS_WITHIN_S)
    except (ProcessDied, TimeoutError, OSError, RuntimeError):
        return False


def work_apart(work: Callable[[Listener], T], notify: Listener, *, patience_s: float | None = None) -> T:
    """Call `work` in a child of this process.

    Args:
        work: Called with a listener whose events arrive here; its result has to be picklable.
        notify: Called with these events.
        patience_s: Seconds to wait for the answer; None: any number.

    Returns:
        What `work` returns. What else it changes stays in the child.

    Raises:
        ProcessDied: The child ended before it had an answer.
        TimeoutError: It took too long.
        Exception: Whatever `work` raises.
    """
    receiver, sender = Pipe(duplex=False)
    child = forked(_answer, receiver, sender, work)
    try:
        start_forked(child)
        sender.close()  # the child alone holds it, so that its death is the end of the pipe
        while True:
            message = _received(receiver, child, patience_s)
            if isinstance(message, Event):
                notify(message)
            elif isinstance(message, _Warned):
                warnings.warn_explicit(message.message, message.category, message.filename, message.lineno)
            elif isinstance(message, _Raised):
                raise message.error
            else:
                return cast("_Done", message).value  # type: ignore[no-any-return]
    finally:
        if child.pid is not None:
            child.kill()
            child.join()
        receiver.close()


def shielded(model: nn.Module, check: Callable[[], None]) -> None:
    """Make a check of `model` that runs it backward in a child, where convolutions might crash and there can be one.

    A crash is no answer to what is checked, and no reason to end: whatever trains the model will meet it again.

    Raises:
        Exception: Whatever the check raises.
    """
    if not (has_convolutions(model) and can_work_apart()):
        check()
        return
    with contextlib.suppress(ProcessDied):
        work_apart(lambda _: check(), ignore)


def has_convolutions(model: nn.Module) -> bool:
    """Whether there is a layer of the kind that was seen to crash."""
    return any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())


def forked(target: Callable[..., None], *arguments: Any) -> Any:
    """A process to be started by `start_forked`: a copy of this one that calls `target` with these very objects."""
    context: Any = multiprocessing.get_context("fork")
    return context.Process(target=target, args=arguments, name="evoprune-apart", daemon=True)


def start_forked(process: Any) -> None:
    """Start it; Ctrl-C, which reaches all processes of a terminal, comes to this one alone."""
    with interrupts_held_back(), warnings.catch_warnings():
        # Python 3.12 warns of forks while there are other threads, such as torch's; the child uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()


@contextlib.contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Processes started in the block never see Ctrl-C; here it comes when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_fresh_thread(work: Callable[[], None]) -> None:
    """In a forked child: do the work where OpenMP starts threads of its own, and end the process without its parent's ways."""
    # A data loader may start workers here, which end with their parent; a daemon's may not.
    vars(multiprocessing.current_process())["_config"].pop("daemon", None)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.disable()  # whoever waits for the child says what became of it, in a line
    threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    worker = threading.Thread(target=work, name="work", daemon=True)
    worker.start()
    worker.join()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a notebook's, or one that is closed
            stream.flush()
    os._exit(0)


def end_with_parent() -> None:
    """A child whose parent was killed is of no use, and in the way of the run that is resumed."""
    parent = parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


@dataclass(frozen=True)
class _Done:
    value: Any


@dataclass(frozen=True)
class _Warned:
    message: Warning | str
    category: type[Warning]
    filename: str
    lineno: int


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _answer(receiver: Connection, sender: Connection, work: Callable[[Listener], Any]) -> None:
    receiver.close()

    def send(message: Any) -> None:
        sender.send_bytes(pickle.dumps(message))

    def warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        send(_Warned(str(message), category, filename, lineno))

    warnings.showwarning = warn  # type: ignore[assignment]

    def answer() -> None:
        try:
            message: _Done | _Raised = _Done(work(send))
        except Exception as error:
            error.add_note(traceback.format_exc())
            message = _Raised(error)
        sender.send_bytes(_pickled(message))

    in_fresh_thread(answer)


def _pickled(message: _Done | _Raised) -> bytes:
    try:
        content = pickle.dumps(message)
        if isinstance(message, _Raised):
            pickle.loads(content)  # some errors can be taken apart but not put together again
    except Exception as error:
        what = message.error if isinstance(message, _Raised) else error
        hint = what.hint if isinstance(what, EvopruneError) else ""
        content = pickle.dumps(_Raised(RunError(f"a child can't send what came of its work: {what!r}", hint)))
    return content


def _received(receiver: Connection, child: Any, patience_s: float | None) -> Any:
    left = patience_s
    while True:
        # Children of a crashed child, such as a loader's workers, hold the pipes open for some seconds.
        wait_for_any([receiver, child.sentinel], _LOOK_AGAIN_S)
        if receiver.poll():
            try:
                return pickle.loads(receiver.recv_bytes())
            except (EOFError, OSError) as error:
                child.join(_LOOK_AGAIN_S)
                raise ProcessDied(child.exitcode) from error
        if child.exitcode is not None and not receiver.poll():
            raise ProcessDied(child.exitcode)
        left = None if left is None else left - _LOOK_AGAIN_S
        if left is not None and left <= 0:
            raise TimeoutError


def _tries_itself(notify: Listener) -> bool:
    """What a child can't do where something of the parent's is in its way: sum with several threads, and differentiate."""
    notify(Event())
    values = torch.ones(1 << 17, requires_grad=True)
    (values * 2).sum().backward()
    return values.grad is not None
