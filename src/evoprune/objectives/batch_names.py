"""Names of objectives that say at which batch they are measured: `latency_ms@batch=256`."""

from __future__ import annotations

import re
from typing import Final

from evoprune.errors import ConfigError

BATCH: Final = r"@batch=[1-9]\d{0,6}"
"""Pattern of what may follow the name of an objective."""
LATENCY: Final = "latency_ms"
"""The objective that depends on the batch."""


def name_at(batch: int | None) -> str:
    """The name of the latency at a batch; of the example inputs where that is None."""
    return LATENCY if batch is None else f"{LATENCY}@batch={batch}"


def is_latency(name: str) -> bool:
    """Whether an objective of this name is a latency."""
    return name.partition("@")[0] == LATENCY


def batch_of(name: str) -> int | None:
    """The batch in the name of an objective; None where there is none in it.

    Raises:
        ConfigError: There is something else behind an `@`, or the objective is none that depends on a batch.
    """
    kind, at, rest = name.partition("@")
    if not at or ":" in name:
        return None
    if not re.fullmatch(BATCH, at + rest):
        raise ConfigError(f"{name!r} is no objective at a batch", f"write {LATENCY}@batch=256")
    if kind != LATENCY:
        raise ConfigError(f"{name!r}: {kind} doesn't depend on the batch, {LATENCY} does", f"write {kind}")
    return int(rest.partition("=")[2])
