"""What the whole process shares and a block may change: it is as before when the block ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def patched_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set `values` inside the block. Other variables are left alone: other threads may be changing them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def kept_environment() -> Iterator[None]:
    """Undo after the block whatever a library did to the environment inside."""
    before = dict(os.environ)
    try:
        yield
    finally:
        _restore({name: before.get(name) for name in os.environ.keys() | before.keys()})


@contextmanager
def kept_sigterm_handler() -> Iterator[None]:
    """Put the handler of SIGTERM back after the block, which some libraries replace."""
    if threading.current_thread() is not threading.main_thread():  # others can't change handlers
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
