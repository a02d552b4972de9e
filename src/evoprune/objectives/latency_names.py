"""Names of latencies, which say how they are measured: `latency_ms@batch=64,threads=2,runtime=onnxruntime`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from evoprune.errors import ConfigError
from evoprune.nn_utils.runtimes.names import EAGER, RUNTIMES

OPTIONS: Final = r"@\w+(?:=[-\w]*)?(?:,\w+=[-\w]*)*"
"""Pattern of what may follow the name of an objective; `how_of` says what is wrong with it."""
LATENCY: Final = "latency_ms"
"""The objective that has such options."""

MOST_THREADS: Final = 1024
"""Threads that torch is asked for; at millions its process ends without a word."""

_NUMBER: Final = r"[1-9]\d{0,6}"
_PATTERN: Final = re.compile(rf"(?:batch=({_NUMBER}))?,?(?:threads=({_NUMBER}))?,?(?:runtime=([a-z]+))?")


@dataclass(frozen=True)
class LatencyHow:
    """How a latency is measured.

    Attributes:
        batch: Samples in a forward pass; those of the example inputs when None.
        threads: Number of threads; as many as candidates have when None.
        runtime: What runs the network.

    Raises:
        ConfigError: There are more threads than `MOST_THREADS`.
    """

    batch: int | None = None
    threads: int | None = None
    runtime: str = EAGER

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads > MOST_THREADS:
            raise ConfigError(f"a latency with {self.threads:,} threads can't be measured", f"at most {MOST_THREADS:,}")

    @property
    def name(self) -> str:
        """The name of the objective, in the one spelling that it has."""
        return f"{LATENCY}@{self.text}" if self.text else LATENCY

    @property
    def text(self) -> str:
        """The options alone."""
        parts = {
            "batch": self.batch,
            "threads": self.threads,
            "runtime": None if self.runtime == EAGER else self.runtime,
        }
        return ",".join(f"{key}={value}" for key, value in parts.items() if value is not None)


def is_latency(name: str) -> bool:
    """Whether an objective of this name is a latency."""
    return name.partition("@")[0] == LATENCY


def how_of(name: str) -> LatencyHow | None:
    """What the name of an objective says behind its `@`; None where it has none.

    Raises:
        ConfigError: It says something else, says it in another order, asks for too many threads, or the objective is no latency.
    """
    kind, at, rest = name.partition("@")
    if kind.partition("=")[0] in ("threads", "runtime"):
        raise ConfigError(
            f"{name!r} is part of a name that a comma has cut",
            f"put the whole name in quotes: '{LATENCY}@batch=64,{name}'",
        )
    if not at or ":" in name:
        return None
    match = _PATTERN.fullmatch(rest)
    if match is None:
        raise ConfigError(
            f"{name!r} is no latency: behind the @ stand batch=, threads= and runtime=, whole numbers but for the last",
            f"such as {LATENCY}@batch=64 or {LATENCY}@batch=64,threads=2,runtime=onnxruntime",
        )
    if kind != LATENCY:
        raise ConfigError(f"{name!r}: {kind} doesn't depend on how it is measured, {LATENCY} does", f"write {kind}")
    batch, threads, runtime = match.groups()
    if runtime not in (None, *RUNTIMES):
        raise ConfigError(f"{name!r}: runtime={runtime} is unknown", f"the runtimes are {', '.join(RUNTIMES)}")
    found = LatencyHow(int(batch) if batch else None, int(threads) if threads else None, runtime or EAGER)
    if found.name != name:
        raise ConfigError(f"{name!r} is another spelling of {found.name!r}", f"write {found.name}")
    return found
