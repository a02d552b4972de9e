"""Exporters of torch's print: what is wrong stands in their errors."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporters from printing, warning and logging; errors are raised as they are."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def mute() -> Iterator[None]:
    """`quiet`, for what writes past Python as well: TorchScript's exporter prints graphs that it can't finish."""
    with quiet(), Path(os.devnull).open("wb") as nowhere, contextlib.ExitStack() as stack:
        for stream in (sys.__stdout__, sys.__stderr__):
            stack.enter_context(_led_to(nowhere.fileno(), stream))
        yield


@contextlib.contextmanager
def _led_to(target: int, stream: TextIO | None) -> Iterator[None]:
    """Lead what is written to the file of `stream` elsewhere; nothing is done where it has none."""
    try:
        assert stream is not None
        stream.flush()
        number = stream.fileno()
        kept = os.dup(number)
    except (AssertionError, OSError, ValueError):
        yield
        return
    try:
        os.dup2(target, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:160]
